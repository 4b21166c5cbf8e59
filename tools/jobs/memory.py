"""How much GPU memory a model needs to be trained or run, term by term. An estimate that shows its terms. Pure.

Bytes per parameter: bf16 weights 2, bf16 gradients 2, AdamW in fp32 8, fp32 master weights 4 (Rajbhandari et al. 2020,
arXiv:1910.02054, section 3.1). 4-bit weights 0.55 with their constants (Dettmers et al. 2023, arXiv:2305.14314).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tools.jobs.prices import Flavor

TOKENS = 4_096  # in one forward pass per GPU, gradients checkpointed at each layer
ADAPTER = 0.01  # of the parameters; rank 16 to 64 on all linear layers
FIXED_GB = 1.5  # CUDA context and fragments
USABLE = 0.94  # of what the card is sold with

_METHODS: Mapping[str, Mapping[str, float]] = {  # bytes per parameter
    "full": {"weights": 2, "gradients": 2, "optimizer": 12},
    "full-8bit": {"weights": 2, "gradients": 2, "optimizer": 2},
    "lora": {"weights": 2, "gradients": 2 * ADAPTER, "optimizer": 12 * ADAPTER},
    "qlora": {"weights": 0.55, "gradients": 2 * ADAPTER, "optimizer": 12 * ADAPTER},
    "inference": {"weights": 2},
}
_WORDS = (
    ("qlora", r"\bqlora\b|\b4.?bit\b"),
    ("lora", r"\blora\b|\bpeft\b|\badapters?\b"),
    ("full-8bit", r"\b8.?bit\b"),
    ("inference", r"\binference\b|\bserv\w+|\bgenerat\w+|\beval\w*"),
    ("full", r"\bfull\b|\bpre.?train\w*|\bfrom scratch\b|\bsft\b|\bfine.?tun\w+"),
)
_SIZE = re.compile(
    r"(?<![\w.])(\d{1,5}(?:\.\d{1,3})?)\s?([BbMm])(?![A-Za-z])|-(\d{1,5}(?:\.\d{1,3})?)([BbMm])(?![A-Za-z])"
)
_REPO = re.compile(r"(?<![\w/.-])\w[\w.-]{0,95}/\w[\w.-]{0,95}(?![\w/-])")


@dataclass(frozen=True)
class MemoryEstimate:
    """GB (1e9 bytes). split: terms that several GPUs share between them; each: what every GPU needs."""

    method: str
    parameters: float
    split: Mapping[str, float]
    each: Mapping[str, float]

    @property
    def total_gb(self) -> float:
        """On one GPU."""
        return sum(self.split.values()) + sum(self.each.values())

    def fits(self, flavor: Flavor) -> bool:
        """Whether each of the flavor's GPUs can hold its share. A flavor without GPUs never fits."""
        if not flavor.accelerators or not flavor.vram:
            return False
        share = sum(self.split.values()) / flavor.accelerators + sum(self.each.values())
        return share <= USABLE * flavor.vram / flavor.accelerators

    def words(self) -> str:
        terms = {**self.split, **self.each}
        return " + ".join(f"{name} {gb:.1f}" for name, gb in terms.items()) + f" = {self.total_gb:.1f} GB"


def estimate(parameters: float, method: str) -> MemoryEstimate:
    """parameters: all of them, also those of experts that rest. Raises KeyError for an unknown method."""
    width = 4096 * (parameters / 7e9) ** (1 / 3)  # of a dense transformer of that size
    layers = 32 * (parameters / 7e9) ** (1 / 3)
    words = 150_000 if parameters >= 1e9 else 50_000
    split = {name: size * parameters / 1e9 for name, size in _METHODS[method].items()}
    if method == "inference":
        each = {"cache": TOKENS * width * layers * 4 / 1e9}
    else:
        each = {
            "activations": TOKENS * width * (2 * layers + 34) / 1e9,  # one bf16 vector a layer kept, one layer redone
            "logits": TOKENS * words * 6 / 1e9,  # bf16, and fp32 for the loss
        }
    return MemoryEstimate(method, parameters, split, each | {"fixed": FIXED_GB})


def methods(need: str) -> tuple[str, ...]:
    """The methods that a text names; all that train, where it names none."""
    text = need.lower()
    found = next((name for name, pattern in _WORDS if re.search(pattern, text)), "")
    return (found,) if found else ("full", "lora", "qlora")


def size(need: str) -> float:
    """Parameters named in a text, as in "7B" or "Qwen3-0.6B"; 0: none. The largest counts."""
    found = [(a or c, b or d) for a, b, c, d in _SIZE.findall(need)]
    return max((float(number) * (1e9 if unit in "bB" else 1e6) for number, unit in found), default=0.0)


def repo(need: str) -> str:
    """The model id in a text; "" for none."""
    match = _REPO.search(need)
    return match[0].rstrip(".") if match else ""
