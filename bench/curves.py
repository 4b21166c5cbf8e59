"""Small trainings that really run on this machine's CPU, honest ones and ones with a planted fault, and what they print.

A millisecond of training stands for a second of a job, so that runs of a second have the rhythm of jobs of a quarter of an
hour. Time is the process's own: what it computes, and what it waits for, which is added to its clock and not waited for; what
else the machine does has no part in it.
A run is known by its kind and its seed.
"""

from __future__ import annotations

import io
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

SCALE = 1000.0  # seconds of a job per second of training
FAULTS = ("lr too high", "lr jumps", "frozen", "random labels", "hang", "slows down")


@dataclass
class Curve:
    """What a run printed, and when. Times are seconds of the job."""

    kind: str  # "honest" or one of FAULTS
    seed: int
    traits: dict[str, Any]
    total_steps: int
    lines: list[tuple[float, str]] = field(default_factory=list)
    end: float = 0.0  # when the process ended; of a hang, when it was last heard of
    fault_step: int = 0  # from which step on the fault acts
    took: bool = True  # whether the planted fault did its harm, judged from the whole curve


def record(kind: str, seed: int) -> Curve:
    """Run one training to its end."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return _Run(kind, random.Random(f"{kind}-{seed}")).curve(seed)


class _Run:
    def __init__(self, kind: str, dice: random.Random) -> None:
        self.kind, self.dice = kind, dice
        self.task = dice.choice(["classes", "classes", "regression", "letters", "parity"])
        if kind != "honest" and self.task == "parity":
            self.task = "classes"  # a parity looks like a fault until it is learned: it is for honest runs
        self.steps = dice.randrange(150, 500)
        self.log_every = dice.choice([1, 2, 5, 5, 10])
        self.batch = dice.choice([4, 8, 16, 32, 64])
        self.eval_every = dice.choice([0, 0, self.steps // 3, self.steps // 5, self.steps // 10])
        self.eval_batches = dice.randrange(4, 40)
        self.save_every = dice.choice([0, 0, self.steps // 4, self.steps // 6])
        self.schedule = dice.choice(["constant", "cosine", "linear", "warm-up", "restarts", "long warm-up"])
        self.starting = dice.uniform(0.02, 0.4)  # seconds before the first step: packages and weights
        self.first_step = dice.choice([0.0, 0.0, 0.03, 0.1])  # compiling
        self.drift = dice.choice([0.0, 0.0, 0.0, 1.0, -0.5])  # how the work of a step grows or shrinks over the run
        self.wobble = dice.choice([0.0, 0.0, 0.1, 0.3])  # of the pace, in long waves: what shares the machine
        self.uneven = dice.choice([0.0, 0.0, 0.5, 1.0])  # spread of the work of a step: lengths of texts
        self.label_noise = dice.choice([0.0, 0.0, 0.1, 0.3])
        self.form = dice.choice(["json", "dict", "pairs"])
        self.slower = dice.uniform(2.5, 4.0)
        self.waited = self.wave = 0.0
        optimizer, low, high = dice.choice(
            [("sgd", 0.02, 0.2), ("momentum", 0.005, 0.05), ("adam", 5e-4, 5e-3), ("adamw", 5e-4, 5e-3)]
        )
        self.optimizer, self.lr = optimizer, math.exp(dice.uniform(math.log(low), math.log(high)))
        if self.task == "parity":
            self.optimizer, self.lr, self.batch, self.label_noise = "adam", dice.uniform(5e-3, 1e-2), 64, 0.0
            self.schedule, self.steps = "constant", dice.randrange(400, 700)
        if self.task == "regression":
            self.lr *= 0.5
        if self.task == "letters":
            self.steps, self.batch = dice.randrange(150, 300), min(self.batch, 16)
        self.at = round(self.steps * dice.uniform(0.15, 0.7))  # where a fault of the middle begins
        if kind == "lr too high":
            self.lr *= 10 ** dice.uniform(2.0, 4.0)
            self.schedule = "constant"

    def curve(self, seed: int) -> Curve:
        kept = (
            "task",
            "optimizer",
            "lr",
            "batch",
            "schedule",
            "log_every",
            "eval_every",
            "save_every",
            "drift",
            "uneven",
            "wobble",
        )
        curve = Curve(self.kind, seed, {name: getattr(self, name) for name in kept}, self.steps)
        began = time.process_time()

        def say(step: int, values: dict[str, float]) -> None:
            curve.lines.append(((time.process_time() - began + self.waited) * SCALE, self._line(step, values)))

        self._wait(self.starting)
        model, sample, loss_of = self._task()
        optimizer = self._optimizer(model)
        faulty = self.kind in {"hang", "slows down", "lr jumps"}
        curve.fault_step = self.at if faulty else 0
        losses: list[float] = []
        for step in range(1, self.steps + 1):
            if self.kind == "hang" and step > self.at:
                self._wait(0.1)
                break
            losses.append(self._step(step, model, sample, loss_of=loss_of, optimizer=optimizer))
            if step % self.log_every == 0:
                mean = sum(losses[-self.log_every :]) / self.log_every
                say(step, {"loss": mean, "learning_rate": self._rate(step)})
            self._pause(step, model, sample, loss_of=loss_of, say=say)
        curve.end = (time.process_time() - began + self.waited) * SCALE
        curve.took = self._took(losses)
        return curve

    def _step(
        self, step: int, model: nn.Module, sample: Any, *, loss_of: Any, optimizer: torch.optim.Optimizer
    ) -> float:
        started = time.process_time()
        if step == 1:
            self._wait(self.first_step)
        for group in optimizer.param_groups:
            group["lr"] = self._rate(step)
        part = step / self.steps
        work = 2 * (1 + self.drift * (part if self.drift > 0 else part - 1)) + self.uneven * 2 * self.dice.random()
        inputs, targets = sample(self.batch)
        loss = loss_of(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        if self.kind != "frozen":
            optimizer.step()
        for _ in range(int(work + self.dice.random()) - 1):  # longer texts: more of the same
            with torch.no_grad():
                model(inputs)
        took = time.process_time() - started
        if self.kind == "slows down" and step > self.at:  # a noisy neighbour, a data loader that starves
            self._wait(took * (self.slower - 1))
        self.wave = 0.98 * self.wave + 0.2 * self.dice.gauss(0, 1)
        if self.wobble:
            self._wait(took * self.wobble * max(0.0, 1 + self.wave))
        return float(loss.detach())

    def _wait(self, seconds: float) -> None:
        self.waited += seconds

    def _pause(self, step: int, model: nn.Module, sample: Any, *, loss_of: Any, say: Callable[..., None]) -> None:
        if self.eval_every and step % self.eval_every == 0:
            with torch.no_grad():
                found = [float(loss_of(model(x), y)) for x, y in (sample(64) for _ in range(self.eval_batches))]
            say(step, {"eval_loss": sum(found) / len(found)})
        if self.save_every and step % self.save_every == 0:
            for _ in range(10):
                torch.save(model.state_dict(), io.BytesIO())

    def _rate(self, step: int) -> float:
        part = step / self.steps
        if self.kind == "lr jumps" and step > self.at:
            return self.lr * 10 ** self._jump()
        match self.schedule:
            case "cosine":
                return self.lr * (0.5 + 0.5 * math.cos(math.pi * part))
            case "linear":
                return self.lr * (1 - 0.95 * part)
            case "warm-up":
                return self.lr * min(1.0, part / 0.06)
            case "long warm-up":
                return self.lr * min(1.0, (part / 0.25) ** 2)
            case "restarts":
                return self.lr * (0.5 + 0.5 * math.cos(math.pi * (part * 4 % 1)))
        return self.lr

    def _jump(self) -> float:
        return 2.0 + self.slower / 2

    def _line(self, step: int, values: dict[str, float]) -> str:
        if self.form == "dict":
            return str({name: f"{value:.4g}" for name, value in values.items()} | {"step": step})
        if self.form == "pairs":
            return f"step={step} " + " ".join(f"{name}={value:.5g}" for name, value in values.items())
        return json.dumps({"step": step} | values)

    def _took(self, losses: list[float]) -> bool:
        """Judged with what no watchdog has: the whole curve. Honest runs must have learned."""
        tenth = max(3, len(losses) // 10)
        first, last = sorted(losses[:3])[1], sum(losses[-tenth:]) / tenth
        if self.kind == "lr too high":
            return not math.isfinite(last) or last > 0.8 * first
        if self.kind == "lr jumps":
            best = min(sum(losses[n : n + tenth]) / tenth for n in range(0, len(losses) - tenth + 1, tenth))
            return not math.isfinite(last) or last > max(0.95 * first, 1.5 * best)
        if self.kind in {"frozen", "random labels"}:
            return last > 0.8 * first
        return self.kind != "honest" or last < 0.9 * first

    def _optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        parameters = model.parameters()
        match self.optimizer:
            case "sgd":
                return torch.optim.SGD(parameters, self.lr)
            case "momentum":
                return torch.optim.SGD(parameters, self.lr, momentum=0.9)
            case "adamw":
                return torch.optim.AdamW(parameters, self.lr)
        return torch.optim.Adam(parameters, self.lr)

    def _task(self) -> tuple[nn.Module, Any, Any]:
        match self.task:
            case "regression":
                return _regression(self.kind == "random labels")
            case "letters":
                return _letters(self.kind == "random labels")
            case "parity":
                return _parity()
        return _classes(self.label_noise, self.kind == "random labels")


def _classes(noise: float, at_random: bool) -> tuple[nn.Module, Any, Any]:
    """Ten clusters in 32 dimensions."""
    centres = torch.randn(10, 32) * 0.6
    model = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))

    def sample(size: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(10, (size,))
        inputs = centres[labels] + torch.randn(size, 32)
        wrong = torch.rand(size) < (1.0 if at_random else noise)
        return inputs, torch.where(wrong, torch.randint(10, (size,)), labels)

    return model, sample, nn.functional.cross_entropy


def _regression(at_random: bool) -> tuple[nn.Module, Any, Any]:
    """What a small random network says, with noise."""
    teacher = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 1))
    model = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))

    def sample(size: int) -> tuple[Tensor, Tensor]:
        inputs = torch.randn(size, 16)
        with torch.no_grad():
            targets = 3 * teacher(inputs) + 0.1 * torch.randn(size, 1)
        return inputs, torch.randn(size, 1) if at_random else targets

    return model, sample, nn.functional.mse_loss


def _parity() -> tuple[nn.Module, Any, Any]:
    """The product of three of sixteen signs: nothing is learned for a while, then all of it."""
    model = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 1))

    def sample(size: int) -> tuple[Tensor, Tensor]:
        inputs = torch.randint(2, (size, 16)).float() * 2 - 1
        return inputs, (inputs[:, 0] * inputs[:, 1] * inputs[:, 2] + 1)[:, None] / 2

    return model, sample, nn.functional.binary_cross_entropy_with_logits


class _Letters(nn.Module):
    """A transformer of one layer over 24 letters."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(24, 32)
        self.place = nn.Parameter(torch.randn(1, 16, 32) * 0.1)
        self.layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(32, 24)
        self.mask = nn.Transformer.generate_square_subsequent_mask(16)

    def forward(self, letters: Tensor) -> Tensor:
        hidden = self.layer(self.embed(letters) + self.place, src_mask=self.mask, is_causal=True)
        told: Tensor = self.head(hidden)
        return told


def _letters(at_random: bool) -> tuple[nn.Module, Any, Any]:
    """Texts of a Markov chain."""
    chain = torch.softmax(torch.randn(24, 24) * 2, dim=1)

    def sample(size: int) -> tuple[Tensor, Tensor]:
        size = min(size, 16)
        texts = [torch.randint(24, (size,))]
        for _ in range(16):
            texts.append(torch.multinomial(chain[texts[-1]], 1)[:, 0])
        text = torch.stack(texts, dim=1)
        targets = torch.randint(24, (size, 16)) if at_random else text[:, 1:]
        return text[:, :-1], targets

    def loss_of(told: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(told.reshape(-1, 24), targets.reshape(-1))

    return _Letters(), sample, loss_of


def warm_up() -> None:
    """Load what torch loads with its first use, so that no run pays for it."""
    for task in (_letters(False), _classes(0.0, False)):
        model, sample, loss_of = task
        inputs, targets = sample(2)
        loss_of(model(inputs), targets).backward()
        torch.optim.AdamW(model.parameters()).step()


def wanted(honest: int, each_fault: int, first_seed: int) -> Iterator[tuple[str, int]]:
    """Which runs to make: kind and seed."""
    yield from (("honest", first_seed + n) for n in range(honest))
    for kind in FAULTS:
        yield from ((kind, first_seed + n) for n in range(each_fault))
