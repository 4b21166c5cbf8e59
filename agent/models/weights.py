"""A transformers model in memory: loaded once, given a conversation as ids, asked for one reply as a stream.

torch and transformers are imported when a model is loaded and not before: without one, the app needs neither.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from jinja2 import TemplateError
from spaces.config import Config as SpacesConfig

from agent.models.faults import TooLong
from agent.models.router import plain_messages
from agent.models.speech import Decoder, Until
from tools.problem import Problem

log = logging.getLogger(__name__)

LARGEST_WINDOW = 32_768  # tokens; more would take longer to read than anyone waits, and memory that others need
LEAST_REPLY = 256  # tokens that must be left of the window for the reply
HEARTBEAT_SECONDS = 0.2  # the longest silence of a reply: by then it can be ended from outside

Piece = tuple[str, int, str]  # new text, tokens generated so far, finish reason ("" until the last piece)


class Halt(threading.Event):
    """Ends one reply. In its own process the next token sees it. Pickled into a fork it arrives as another one, not set:
    there the reply is ended by closing its generator, which sets that one."""

    def __reduce__(self) -> tuple[type[Halt], tuple[()]]:
        return Halt, ()


@dataclass(frozen=True)
class Weights:
    """A model that is ready. window: tokens of prompt and reply together."""

    model_id: str
    tokenizer: Any
    model: Any
    window: int

    def encode(self, messages: Sequence[dict[str, str]]) -> tuple[list[int], str]:
        """The prompt's ids, and what of the reply the prompt has begun already: "<think>", or "".

        messages: as plain_messages makes them. Their text cannot forge a turn: special tokens in it are read as text.
        Raises TooLong, and Problem when the model has no template for conversations.
        """
        if not self.tokenizer.chat_template:
            raise Problem(f"{self.model_id} has no chat template.", "Set EMBEDDED_MODEL to a model made for chats.")
        try:
            kept, prompt = self._rendered(messages)
        except TemplateError as error:
            raise Problem(
                f"The chat template of {self.model_id} does not take this conversation: {error}", "Pick another model."
            ) from None
        ids = self._ids(kept)
        if len(ids) + LEAST_REPLY > self.window:
            raise TooLong(
                f"The conversation is too long for {self.model_id}: {len(ids):,} tokens of {self.window:,}, and "
                f"{LEAST_REPLY} must be left for the reply.",
                "Start a new session, or pick a model with a larger window.",
            )
        return ids, "<think>" if prompt.rstrip().endswith("<think>") else ""

    def _rendered(self, messages: Sequence[dict[str, str]]) -> tuple[Sequence[dict[str, str]], str]:
        """The messages as this template takes them, and its text. Some refuse the system role, some drop it unsaid."""
        system = [message["content"].strip() for message in messages if message["role"] == "system"]
        try:
            prompt = self._text(messages)
            if all(text in prompt for text in system):
                return messages, prompt
        except TemplateError:
            if not system:
                raise
        folded = plain_messages([m | {"role": "user"} if m["role"] == "system" else m for m in messages])
        return folded, self._text(folded)

    def _text(self, messages: Sequence[dict[str, str]]) -> str:
        return str(self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))

    def _ids(self, messages: Sequence[dict[str, str]]) -> list[int]:
        return list(
            self.tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, sanitize_control_tokens=True, return_dict=False
            )
        )

    def reply(
        self, ids: Sequence[int], stop_words: Sequence[str], limit: int, *, seconds: float, halt: Halt
    ) -> Generator[Piece]:
        """Generate: a piece per token, and one per heartbeat of silence. Closing this ends the generation and its thread.

        limit: tokens. After seconds the reply ends as if it had reached its limit; reading the prompt is not cut short.
        """
        import torch

        torch.seed()  # a fork inherits the state of chance: without this each would say the same again
        listener = _Listener(
            self.tokenizer, len(ids), stop_words, ends=self._ends(), until=time.monotonic() + seconds, halt=halt
        )
        thread = threading.Thread(
            target=self._generate, args=(list(ids), limit, listener), name="embedded-reply", daemon=True
        )
        thread.start()
        try:
            while True:
                try:
                    piece = listener.pieces.get(timeout=HEARTBEAT_SECONDS)
                except Empty:
                    piece = ("", listener.tokens, "")
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if piece[2]:
                    return
        finally:
            halt.set()
            thread.join()

    def _generate(self, ids: list[int], limit: int, listener: _Listener) -> None:
        import torch

        try:
            prompt = torch.tensor([ids], device=self.model.device)
            self.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=limit,
                pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id or 0,
                stopping_criteria=[listener],
            )
            listener.close()
        except Exception as error:
            listener.pieces.put(error)

    def _ends(self) -> frozenset[int]:
        """The tokens by which the model says that it has finished."""
        named = [self.tokenizer.eos_token_id, getattr(self.model.generation_config, "eos_token_id", None)]
        flat = [one for name in named for one in (name if isinstance(name, list) else [name])]
        return frozenset(one for one in flat if one is not None)


class _Listener:
    """Hears one reply token by token and says when it is over: transformers' stopping criterion.

    A streamer hears a token only after the criteria have judged it, and on a GPU later still; this one judges what it
    has just heard, so nothing is generated after a stop word. Lives in the thread that generates.
    """

    def __init__(
        self, tokenizer: Any, prompt: int, stop_words: Sequence[str], *, ends: frozenset[int], until: float, halt: Halt
    ) -> None:
        def decode(ids: Sequence[int]) -> str:
            return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

        self.pieces: SimpleQueue[Piece | Exception] = SimpleQueue()
        self.tokens = 0
        self._decoder, self._words = Decoder(decode), Until(stop_words)
        self._prompt, self._ends, self._until, self._halt = prompt, ends, until, halt
        self._finished = self._over = False

    def __call__(self, input_ids: Any, _scores: Any, **_: Any) -> Any:
        import torch

        if not self._over:  # where the check is deferred, a token or two come after the end and are undone
            for token in input_ids[0, self._prompt + self.tokens :].tolist():
                self.tokens += 1
                self._finished = token in self._ends
                self.pieces.put((self._words.feed(self._decoder.feed(token)), self.tokens, ""))
            ended = self._finished or self._words.met
            self._over = ended or self._halt.is_set() or time.monotonic() >= self._until
        return torch.full((1,), self._over, device=input_ids.device, dtype=torch.bool)

    def close(self) -> None:
        """The generation has ended: tell what was held back, and why it ended."""
        text = self._words.feed(self._decoder.end()) + self._words.end()
        ended = self._finished or self._words.met
        self.pieces.put((text, self.tokens, "stop" if ended else "length"))


_loading = threading.Lock()
_loaded: dict[str, Weights] = {}
_failed: dict[str, Problem] = {}


def on_zerogpu() -> bool:
    """Whether this is a Space on ZeroGPU, where a GPU is there only inside a decorated function."""
    return bool(SpacesConfig.zero_gpu)


def loaded(model_id: str) -> Weights | None:
    return _loaded.get(model_id)


def load(model_id: str, device: str = "") -> Weights:
    """The model, loaded now if it is not yet: a name on the Hub that anyone may read, or a folder. device: "": the best.

    Raises Problem. On ZeroGPU a model can be loaded in the main thread before the page opens and never again, so what
    failed then has failed for good; elsewhere the next call tries again.
    """
    with _loading:
        if weights := _loaded.get(model_id):
            return weights
        if failed := _failed.get(model_id):
            raise failed
        try:
            _loaded[model_id] = _read(model_id, device or _best_device())
        except Exception as error:
            log.warning("loading %s failed", model_id, exc_info=True)
            words = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            hint = "Check EMBEDDED_MODEL and the way to the Hub, or pick another model."
            if on_zerogpu():
                hint += " Then restart the Space."
            problem = Problem(f"The embedded model {model_id} could not be loaded: {words}", hint)
            if on_zerogpu():
                _failed[model_id] = problem
            raise problem from None
        return _loaded[model_id]


def _best_device() -> str:
    import torch

    return "cuda" if on_zerogpu() or torch.cuda.is_available() else "cpu"


def _read(model_id: str, device: str) -> Weights:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_id, token=False)
    model = AutoModelForCausalLM.from_pretrained(
        model_id,
        token=False,
        dtype=torch.bfloat16 if device == "cuda" else "auto",
        use_safetensors=True,  # the other form is a pickle, and a pickle is a program
    )
    model = model.to(device).eval()
    known = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return Weights(model_id, tokenizer, model, min(known or LARGEST_WINDOW, LARGEST_WINDOW))
