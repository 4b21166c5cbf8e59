"""Measurements found in what training scripts print."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.jobs.metrics import points


@pytest.mark.parametrize(
    ("line", "point"),
    [
        ("{'loss': 0.5, 'grad_norm': 1.25, 'learning_rate': 5e-05, 'epoch': 0.1}",
         {"loss": 0.5, "grad_norm": 1.25, "learning_rate": 5e-05, "epoch": 0.1}),
        ("{'loss': '0.5', 'learning_rate': '5e-05', 'epoch': '0.1'}", {"loss": 0.5, "learning_rate": 5e-05, "epoch": 0.1}),
        ('{"eval_loss": 2, "step": 10, "note": "good"}', {"eval_loss": 2.0, "step": 10.0}),
        ("INFO:root:{'loss': 0.5, 'global_step': 3}", {"loss": 0.5, "step": 3.0}),
        ("{'train_runtime': 3.2, 'train_samples_per_second': 1e3, 'train_loss': 0.25, 'epoch': 1.0}",
         {"train_runtime": 3.2, "train_samples_per_second": 1000.0, "train_loss": 0.25, "epoch": 1.0}),
        ("step=10 loss=0.5", {"step": 10.0, "loss": 0.5}),
        ("Epoch 1: loss 0.4", {"epoch": 1.0, "loss": 0.4}),
        ("Epoch 1/3, Step 20 - train loss: 0.4, val loss: 0.6, lr: 1e-4",
         {"epoch": 1.0, "step": 20.0, "train_loss": 0.4, "val_loss": 0.6, "lr": 1e-4}),
        ("iter 100: loss 1.2345, time 12ms", {"step": 100.0, "loss": 1.2345}),
        (" 10%|█         | 10/100 [00:01<00:09,  9.9it/s, loss=0.5, acc=.9]", {"step": 10.0, "loss": 0.5, "acc": 0.9}),
        ("accuracy: 0.91", {"accuracy": 0.91}),
        ("2026-11-23 12:00:00,001 INFO step 7 f1=0.5", {"step": 7.0, "f1": 0.5}),
        ("{'loss': nan, 'eval_loss': 0.3, 'step': 2}", {"eval_loss": 0.3, "step": 2.0}),
    ],
)  # fmt: skip
def test_a_line_with_a_measurement_makes_a_point(line: str, point: dict[str, float]) -> None:
    assert points(line) == (point,)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Loading weights: 100%|████| 10/10 [00:00<00:00, 99it/s]",
        "batch_size=32 lr=0.1 epochs=3",
        "{'batch_size': 32, 'lr': 0.1}",
        "{'loss': nan, 'step': 3}",
        "loss=inf",
        "loss=1e999",
        "{'a': {'loss': 1}}",
        "loss=0x10",
        "glossary 3",
        "the model took 3 s on 2 GPUs",
    ],
)
def test_a_line_without_one_makes_none(line: str) -> None:
    assert points(line) == ()


def test_points_keep_the_order_of_the_lines() -> None:
    assert [point["step"] for point in points("step=1 loss=3\nnoise\nstep=2 loss=2\n")] == [1.0, 2.0]


@given(st.text(alphabet="{}'\":,. loss=step-+e0123456789[/\n", max_size=400))
def test_whatever_is_printed_gives_finite_numbers_that_json_can_carry(text: str) -> None:
    json.dumps(points(text), allow_nan=False)


@pytest.mark.parametrize("piece", ["0", "{", "'a':", "loss ", "1.", "a" * 64 + " ", "train ", "1e+", "10/10 "])
def test_hostile_lines_cost_little(piece: str) -> None:
    began = time.process_time()
    points((piece * 4_096)[:4_095] + "\n" + piece * 100_000)
    assert time.process_time() - began < 2
