"""Measurements in what a training script prints: {"step": 10, "loss": 0.5} per line that holds any. Pure.

A value that was printed and is no finite number is None, because JSON cannot carry it: a reader can tell "loss was not
a number" from "no loss was printed". Lines are read one by one in time linear in their length.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

LINE = 4_096  # characters; a longer line is no measurement
VALUES = 32  # per point
STEPS = 1e12  # a position beyond it is no count of steps

Point = dict[str, float | None]

_NUMBER = r"(?:[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)\b)"
_WRAPPED = r"(?:(?:tensor|np\.float\d\d|array)\(\s*)?"  # tensor(0.5, device='cuda:0'), np.float64(0.5)
_DICT = re.compile(r"\{[^{}]*\}")
_ITEM = re.compile(
    rf"""["']([\w/.@ -]{{1,64}})["']\s*:\s*{_WRAPPED}["']?({_NUMBER})["']?\s*(?=[,)}}])""", re.IGNORECASE
)
_PART = r"train|training|val|valid|validation|test|eval|learning"
_PAIR = re.compile(
    rf"\b(?:({_PART})[ _/-])?([A-Za-z][\w/@-]{{0,63}})(?:\s*[=:]\s*|\s+){_WRAPPED}({_NUMBER})(?![\w.]*[A-Za-z_])",
    re.IGNORECASE,
)
_MEASURE = re.compile(
    r"(?:^|[_/@.\s-])(?:\w*loss|\w*acc|accuracy|f1|precision|recall|perplexity|ppl|rewards?|bleu|rouge\w*|wer|cer|\w*auc"
    r"|mae|mse|rmse|error|map|m?iou|kl|entropy|score|nll|bpb|gpu_percent|mean_utilization)(?:$|[_/@.\s\d-])"
)
POSITIONS = {
    "step": "step",
    "steps": "step",
    "global_step": "step",
    "iter": "step",
    "iteration": "step",
    "epoch": "epoch",
}
TOTALS = {"total_steps", "max_steps", "num_training_steps", "total_optimization_steps"}
_BESIDE = {"lr", "learning_rate", "grad_norm"}  # told with a measurement, none by themselves
_ANSI = re.compile(r"\x1b\[[0-9;?]{0,32}[A-Za-z]")
_RANK = re.compile(r"^\s*\[(?:default|rank)?(\d{1,5})\]:?\s?")  # torchrun, torch.distributed
_LABEL = re.compile(r"^\s*(\d{1,12}):\s+(?=\S)")  # accelerate and srun: a rank; a script's own: a step
_OF = re.compile(r"\b(step|iter(?:ation)?|epoch)s?\s*[=:]?\s*\[?(\d{1,12})\s*(?:/|of)\s*(\d{1,12})\b", re.IGNORECASE)
_HEADER = re.compile(r"Total optimization steps\s*=\s*([\d,]{1,16})")
_ALERT = re.compile(r"^(?:\[\w+(?: \d+)?\]:? )?\[TRACKIO (INFO|WARN|ERROR)\] (.+?)(?: \(step (\d{1,12})\))?$")
_BAR = re.compile(r"\b(\d{1,12})/(\d{1,12}) \[(?:[\d:]+<[\d:?]+(?:, *([\d.]{1,12}) *(it/s|s/it))?)?")
_PERCENT = re.compile(r"\d{1,3}%\|")
_TRAINING = re.compile(r"train|epoch|step|iter|fine-?tun|optim", re.IGNORECASE)
_OTHER = re.compile(
    r"download|load|fetch|map|filter|token|generat|shard|sav|writ|upload|eval|valid|test|predict|pack|pad|add|convert",
    re.IGNORECASE,
)
_EPOCH_BAR = re.compile(r"epoch\W{0,3}(\d{1,6})(?:\s*/\s*(\d{1,6}))?", re.IGNORECASE)
_SIZE = r"\s*,\s*(\d{1,9}(?:\.\d{0,9})?)\s*"
_SMI = re.compile(rf"\s*\d{{1,4}}{_SIZE}%?{_SIZE}(?:MiB)?{_SIZE}(?:MiB)?\s*")


@dataclass(frozen=True)
class Progress:
    """How far a job has come. unit "epoch": it tells epochs only. per_second: what its own progress bar says."""

    step: float
    total: float | None
    unit: Literal["step", "epoch"] = "step"
    per_second: float | None = None


@dataclass(frozen=True)
class Alert:
    """What the script told by trackio.alert."""

    level: Literal["info", "warn", "error"]
    text: str
    step: int | None = None


@dataclass(frozen=True)
class Readings:
    """What some lines hold. progress: the newest known, None before any."""

    points: tuple[Point, ...]
    progress: Progress | None = None
    alerts: tuple[Alert, ...] = ()


class MetricReader:
    """Reads one job's log, piece by piece. A piece is whole lines; what redraws itself with \\r is many.

    A point without a step of its own gets the last step of the training's progress bar. Where that moved and nothing
    was measured, a piece's last point is the position alone.
    """

    def __init__(self) -> None:
        self._bar: tuple[int, int] | None = None  # (step, total) of the training's own bar
        self._label = ""
        self._before = 0  # steps of earlier bars, where each epoch draws one
        self._epochs: int | None = None
        self._rate: float | None = None
        self._step: float | None = None
        self._epoch: float | None = None
        self._total: float | None = None
        self._moved = False

    def read(self, text: str) -> Readings:
        self._moved = False
        points: list[Point] = []
        alerts: list[Alert] = []
        for raw in text.splitlines():
            line = _ANSI.sub("", raw) if "\x1b" in raw else raw
            if len(line) > LINE:
                continue
            if "[TRACKIO " in line[:40] and (said := _ALERT.match(line)):
                alerts.append(Alert(said[1].lower(), said[2], int(said[3]) if said[3] else None))  # type: ignore[arg-type]
            elif point := self._point(line):
                points.append(point)
                self._moved = self._moved and "step" not in point
        if self._moved and self._step is not None:
            at: Point = {"step": self._step}
            if self._total:
                at["total_steps"] = self._total
            points.append(at)
        return Readings(tuple(points), self.progress, tuple(alerts))

    @property
    def progress(self) -> Progress | None:
        if self._step is not None:
            return Progress(self._step, self._total, per_second=self._rate)
        return None if self._epoch is None else Progress(self._epoch, self._epochs, "epoch")

    def _point(self, line: str) -> Point | None:
        ranked = _RANK.match(line)
        if ranked:
            line = line[ranked.end() :]
        labelled = None if ranked else _LABEL.match(line)
        values = list(_values(line[labelled.end() :] if labelled else line))
        drawn = self._draw(line) if "/" in line else False
        self._count(line)
        point: Point = {}
        for name, number in values[:VALUES]:
            self._take(point, name, number)
        if not any(_MEASURE.search(name) for name in point):
            return None
        if labelled and "step" not in point and "epoch" not in point:
            point = dict([("step", float(labelled[1])), *point.items()])
        elif (ranked and ranked[1] != "0") or (labelled and labelled[1] != "0"):
            return None  # each process says the same: the first counts
        return self._placed(point, drawn)

    def _take(self, point: Point, name: str, number: float) -> None:
        last = name.rsplit("/", 1)[-1]
        if last in TOTALS:
            if 0 < number < STEPS:
                self._total = number
            return
        finite = math.isfinite(number)
        if last in POSITIONS and not (finite and 0 <= number < STEPS):
            return
        point.setdefault(POSITIONS.get(last, name), number if finite else None)

    def _placed(self, point: Point, drawn: bool) -> Point:
        step, epoch = point.get("step"), point.get("epoch")
        if step is not None:
            self._step = step
        elif self._step is not None and (epoch is None or not drawn) and self._bar:
            point = dict([("step", self._step), *point.items()])
        self._epoch = self._epoch if epoch is None else epoch
        measured = any(name not in ("step", "epoch") and not name.startswith("gpu") for name in point)
        if self._total and "step" in point and measured:
            point["total_steps"] = self._total
        return point

    def _count(self, line: str) -> None:
        """Totals that are told in words."""
        if header := _HEADER.search(line):
            self._total = float(header[1].replace(",", "") or 0) or None
        for unit, _, total in _OF.findall(line) if "/" in line or " of " in line else ():
            if unit.lower() != "epoch":
                self._total = float(total) or self._total
            elif int(total):
                self._epochs = int(total)

    def _draw(self, line: str) -> bool:
        """Follow the training's own progress bar; true when the line is a redraw of it."""
        found = _BAR.search(line)
        if not found:
            return False
        percent = _PERCENT.search(line)
        label = line[: percent.start()].strip(" :\t") if percent else ""
        if label and (_OTHER.search(label) or not _TRAINING.search(label)):
            return False
        step, total = int(found[1]), int(found[2])
        if not total or step > total:
            return False
        known, each = self._bar, _EPOCH_BAR.search(label)
        if known and known[1] != total and not each and (known[0] < known[1] or total < known[1]):
            return False  # an evaluation draws its own bar while the training's stands still, or after it
        if each and label != self._label:
            if known and self._label:
                self._before += known[1]
            self._epochs = int(each[2]) if each[2] else self._epochs
        elif known == (total, total) and step < total:  # one more epoch draws its bar
            self._before += total
        self._bar, self._label = (step, total), label
        self._rate = _rate(found[3], found[4])
        here = float(self._before + step)
        self._moved = self._moved or here != self._step
        self._step = here
        if not each:
            self._total = None if self._before else float(total)
        elif self._epochs:
            self._total = float(total * self._epochs)
        return True


def points(lines: str) -> tuple[Point, ...]:
    """One point per line with a measurement, in order; names as printed, in lower case; step and epoch are positions.

    Reads the dicts that Trainer prints (Python or JSON, numbers also as strings), JSON lines, `step=10 loss=0.5`,
    `Epoch 1: val loss 0.4`, tqdm's bars and postfixes, what processes of one training print with their rank before it,
    and the GPU use that our jobs print: {"gpu": ["0, 87, 1024, 81559"]}, nvidia-smi's index, %, MiB used, MiB in all.
    """
    return MetricReader().read(lines).points


def _rate(number: str | None, unit: str | None) -> float | None:
    try:
        value = float(number or "")
    except ValueError:
        return None
    if value <= 0 or not math.isfinite(value):
        return None
    return value if unit == "it/s" else 1 / value


def _values(line: str) -> Iterator[tuple[str, float]]:
    """Names with what was printed beside them, nan and inf among them."""
    start = line.find("{")
    if start >= 0:
        read = _json(line[start:])
        if read is not None:
            yield from read
            return
        inner = _DICT.search(line)
        if inner and line.count("{") == 1 and (items := _ITEM.findall(inner[0])):
            yield from ((name.lower(), float(number)) for name, number in items)
            return
    for part, name, number in _PAIR.findall(line):
        whole = f"{part}_{name}".lower() if part else name.lower()
        if _is_measure(whole):
            yield whole, float(number)


def _json(text: str) -> list[tuple[str, float]] | None:
    """The numbers of a JSON object, one level down too; None when it is none."""
    if '"' not in text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if "gpu" in value and (use := _gpu(value["gpu"])):
        return use
    found: list[tuple[str, float]] = []
    for name, inner in value.items():
        for below, number in inner.items() if isinstance(inner, dict) else ((None, inner),):
            whole = (
                name if below is None else below if name in {"metrics", "logs", "log", "data"} else f"{name}/{below}"
            )
            if isinstance(number, int | float | str) and not isinstance(number, bool) and len(whole) <= 64:
                try:
                    found.append((whole.lower(), float(number)))
                except (ValueError, OverflowError):
                    continue
    return found


def _gpu(rows: object) -> list[tuple[str, float]]:
    """Mean use and summed memory of a machine's GPUs, from nvidia-smi's rows."""
    read = [
        _SMI.fullmatch(", ".join(map(str, row[:4])) if isinstance(row, list) else str(row)[:200])
        for row in (rows if isinstance(rows, list) else [rows])[:64]
    ]
    use = [tuple(float(number) for number in row.groups()) for row in read if row]
    if not use:
        return []
    gigabytes = 1024**2 / 1e9  # of one MiB
    return [
        ("gpu_percent", round(sum(row[0] for row in use) / len(use), 1)),
        ("gpu_memory_gb", round(sum(row[1] for row in use) * gigabytes, 2)),
        ("gpu_memory_total_gb", round(sum(row[2] for row in use) * gigabytes, 2)),
    ]


def _is_measure(name: str) -> bool:
    return name in POSITIONS or name in _BESIDE or name in TOTALS or _MEASURE.search(name) is not None
