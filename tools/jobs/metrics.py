"""Measurements in what a training script prints: {"step": 10, "loss": 0.5} per line that holds any. Pure.

Not-a-number and infinite values are left out of a point, because JSON cannot carry them; the log itself still shows
them. A line without a finite measurement makes no point.
"""

from __future__ import annotations

import math
import re

LINE = 4_096  # characters; a longer line is no measurement
VALUES = 32  # per point

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_DICT = re.compile(r"\{[^{}]*\}")
_ITEM = re.compile(rf"""["']([\w/.@ -]{{1,64}})["']\s*:\s*["']?({_NUMBER})["']?\s*(?=[,}}])""")
_PART = r"train|training|val|valid|validation|test|eval|learning"
_PAIR = re.compile(
    rf"\b(?:({_PART})[ _/-])?([A-Za-z][\w/@-]{{0,63}})(?:\s*[=:]\s*|\s+)({_NUMBER})(?![\w.]*[A-Za-z_])", re.IGNORECASE
)
_BAR = re.compile(r"\b(\d+)/\d+ \[")  # tqdm: 10/100 [00:01<00:09, …]
_MEASURE = re.compile(
    r"(?:^|[_/@.\s-])(?:\w*loss|\w*acc|accuracy|f1|precision|recall|perplexity|ppl|rewards?|bleu|rouge\w*|wer|cer|\w*auc"
    r"|mae|mse|rmse|error|map|m?iou|kl|entropy|score|nll|bpb)(?:$|[_/@.\s\d-])"
)
_POSITION = {
    "step": "step",
    "steps": "step",
    "global_step": "step",
    "iter": "step",
    "iteration": "step",
    "epoch": "epoch",
}
_BESIDE = {"lr", "learning_rate", "grad_norm"}  # told with a measurement, none by themselves


def points(lines: str) -> tuple[dict[str, float], ...]:
    """One point per line with a measurement, in order; names as printed, in lower case; step and epoch are positions.

    Reads the dicts that Trainer prints (Python or JSON, numbers also as strings), `step=10 loss=0.5`,
    `Epoch 1: val loss 0.4` and tqdm's postfixes.
    """
    found = (_point(line) for line in lines.splitlines() if len(line) <= LINE)
    return tuple(point for point in found if point)


def _point(line: str) -> dict[str, float] | None:
    inner = _DICT.search(line)
    if inner and line.count("{") == 1 and (items := _ITEM.findall(inner[0])):
        values = [(name.lower(), number) for name, number in items]
    else:
        values = [(name, number) for name, number in _pairs(line) if _told(name)]
        if "epoch" not in (bar := dict(values)) and "step" not in bar and (at := _BAR.search(line)):
            values.insert(0, ("step", at[1]))
    point: dict[str, float] = {}
    for name, number in values[:VALUES]:
        if math.isfinite(value := float(number)):
            point.setdefault(_POSITION.get(name, name), value)
    return point if any(_MEASURE.search(name) for name in point) else None


def _pairs(line: str) -> list[tuple[str, str]]:
    return [(f"{part}_{name}".lower() if part else name.lower(), number) for part, name, number in _PAIR.findall(line)]


def _told(name: str) -> bool:
    return name in _POSITION or name in _BESIDE or _MEASURE.search(name) is not None
