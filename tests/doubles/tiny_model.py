"""A real Llama that says what a test wants: one layer whose weights make each token follow a given one.

It is saved as any model is and loaded as any model is. Its tokens are bytes, so every word is split over tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SYSTEM_TOO = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DROPS_SYSTEM = (
    "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REFUSES_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + SYSTEM_TOO
BEGINS_TO_THINK = SYSTEM_TOO + "{% if add_generation_prompt %}<think>\n{% endif %}"
START, END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"


def tiny_model(
    folder: Path, says: str, *, for_ever: bool = False, template: str | None = SYSTEM_TOO, window: int = 4096
) -> str:
    """Save a model that answers every prompt that ends in a new line with what it says; returns the folder's name.

    says: no byte twice and no new line, as each byte has one successor. for_ever: it begins again at its end.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    path = list(says.encode())
    assert len(set(path)) == len(path)
    assert 10 not in path
    tokenizer = _tokenizer(template)
    end = tokenizer.convert_tokens_to_ids(END)
    size = 264
    config = LlamaConfig(
        vocab_size=size, hidden_size=size, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=window, tie_word_embeddings=False, eos_token_id=end,
        bos_token_id=None, pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    by_byte = {byte: tokenizer.convert_tokens_to_ids(_letters()[byte]) for byte in range(256)}
    tokens = [by_byte[10], *(by_byte[byte] for byte in path)]
    after = [*tokens[1:], tokens[1] if for_ever else end]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        for token, following in zip(tokens, after, strict=True):
            model.lm_head.weight[following, token] = 1.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _letters() -> dict[int, str]:
    """How byte-level tokenizers write each byte as a letter (Radford et al. 2019)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (chr(256 + n) for n in range(256))
    return {byte: chr(byte) if byte in kept else next(others) for byte in range(256)}


def _tokenizer(template: str | None) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {letter: n for n, letter in enumerate(_letters().values())}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=END, pad_token=PAD, additional_special_tokens=[START]
    )
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer
