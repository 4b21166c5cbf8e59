"""Measurements found in what training scripts print."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.jobs.metrics import Alert, MetricReader, Progress, points
from tools.jobs.noise import folded, marked


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
        (" 10%|█         | 10/100 [00:01<00:09,  9.9it/s, loss=0.5, acc=.9]", {"step": 10.0, "loss": 0.5, "acc": 0.9, "total_steps": 100.0}),
        ("accuracy: 0.91", {"accuracy": 0.91}),
        ("2026-11-23 12:00:00,001 INFO step 7 f1=0.5", {"step": 7.0, "f1": 0.5}),
        ("{'loss': nan, 'eval_loss': 0.3, 'step': 2}", {"loss": None, "eval_loss": 0.3, "step": 2.0}),
        ("{'loss': 'nan', 'grad_norm': 'inf', 'epoch': '0.1'}", {"loss": None, "grad_norm": None, "epoch": 0.1}),
        ("loss=inf", {"loss": None}),
        ("loss=1e999", {"loss": None}),
        ('{"loss": NaN, "step": 3}', {"loss": None, "step": 3.0}),
        ('{"step": 4, "metrics": {"loss": 0.5, "lr": 1e-4}}', {"step": 4.0, "loss": 0.5, "lr": 1e-4}),
        ('{"level": "info", "train": {"loss": 2}, "step": 1}', {"train/loss": 2.0, "step": 1.0}),
        ("{'loss': tensor(0.25, device='cuda:0'), 'step': 1}", {"loss": 0.25, "step": 1.0}),
        ("{'loss': np.float64(0.25), 'step': 1}", {"loss": 0.25, "step": 1.0}),
        ("[rank0]: {'loss': 0.5, 'step': 2}", {"loss": 0.5, "step": 2.0}),
        ("[default0]:step=2 loss=0.5", {"loss": 0.5, "step": 2.0}),
        ("0: {'loss': 0.5, 'step': 2}", {"loss": 0.5, "step": 2.0}),
        ("7: loss 0.5", {"step": 7.0, "loss": 0.5}),
        ("Step 20/500: loss 0.5", {"step": 20.0, "loss": 0.5, "total_steps": 500.0}),
        ('{"step": 5, "loss": 1, "max_steps": 50}', {"step": 5.0, "loss": 1.0, "total_steps": 50.0}),
        ('{"gpu": ["0, 80, 1024, 81559", "1, 90 %, 1024 MiB, 81559 MiB"]}',
         {"gpu_percent": 85.0, "gpu_memory_gb": 2.15, "gpu_memory_total_gb": 171.04}),
        ('{"gpu": [[0, 80, 1000, 2000]]}',
         {"gpu_percent": 80.0, "gpu_memory_gb": 1.05, "gpu_memory_total_gb": 2.1}),
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
        "{'a': {'loss': 1}}",
        "loss=0x10",
        "glossary 3",
        "the model took 3 s on 2 GPUs",
        "[rank1]: {'loss': 0.5, 'step': 2}",
        "3: {'loss': 0.5, 'step': 2}",
        '{"gpu": "none"}',
        '{"gpu": [".", "0, ., ., ."]}',
        "[" * 4_000,
        '{"a":' * 800 + "1" + "}" * 800,
        '{"loss": ' + "9" * 4_000,
        "Evaluating: 100%|████| 10/10 [00:00<00:00, 99it/s]",
        "step=1e13 of no end",
    ],
)
def test_a_line_without_one_makes_none(line: str) -> None:
    assert points(line) == ()


def test_points_keep_the_order_of_the_lines() -> None:
    assert [point["step"] for point in points("step=1 loss=3\nnoise\nstep=2 loss=2\n")] == [1.0, 2.0]


def test_a_point_without_a_step_gets_the_last_one_of_the_progress_bar() -> None:
    reader = MetricReader()
    reader.read("  0%|          | 0/80 [00:00<?, ?it/s]\r 12%|█▏        | 10/80 [00:01<00:07,  9.80it/s]")
    found = reader.read(
        "\r                    \r{'loss': '0.5', 'epoch': '0.25'}\n 13%|█▎     | 11/80 [00:01<00:07, 9.80it/s]"
    )
    assert found.points == (
        {"step": 10.0, "loss": 0.5, "epoch": 0.25, "total_steps": 80.0},
        {"step": 11.0, "total_steps": 80.0},
    )
    assert found.progress == Progress(11.0, 80.0, per_second=9.8)


def test_the_bar_of_an_evaluation_is_not_taken_for_the_training() -> None:
    reader = MetricReader()
    reader.read(" 50%|█████     | 40/80 [00:01<00:01,  9.80it/s]\n 10%|█         | 2/20 [00:00<00:01, 15.00it/s]\n")
    assert reader.progress == Progress(40.0, 80.0, per_second=9.8)


def test_what_evaluates_after_the_last_step_does_not_begin_the_training_anew() -> None:
    reader = MetricReader()
    reader.read("100%|██████████| 30/30 [00:01<00:00, 34.70it/s]\n  0%|          | 0/8 [00:00<?, ?it/s]\x1b[A\n")
    assert reader.read("{'eval_loss': '0.5'}").points == ({"step": 30.0, "eval_loss": 0.5, "total_steps": 30.0},)


def test_bars_that_begin_again_after_their_end_count_on() -> None:
    reader = MetricReader()
    reader.read("100%|██████████| 50/50 [00:01<00:00, 34.70it/s]\n 20%|██        | 10/50 [00:00<00:01, 34.00it/s]\n")
    assert reader.progress == Progress(60.0, None, per_second=34.0)


def test_a_bar_for_each_epoch_counts_on() -> None:
    reader = MetricReader()
    bars = "".join(f"Epoch {n}/3: 100%|██████████| 50/50 [00:05<00:00,  2.00s/it]\n" for n in (1, 2))
    found = reader.read(bars + "Epoch 3/3:  20%|██        | 10/50 [00:01<00:04,  9.80it/s, loss=0.5]\n")
    assert found.progress == Progress(110.0, 150.0, per_second=9.8)
    assert found.points[-1]["step"] == 110.0


def test_where_only_epochs_are_told_they_are_the_progress() -> None:
    assert MetricReader().read("Epoch 2/5: loss 0.5\n").progress == Progress(2.0, 5.0, "epoch")


def test_what_trackio_alerts_is_data() -> None:
    told = "\x1b[93m[TRACKIO WARN]\x1b[0m Loss spike: loss is 9.3 (step 40)\n\x1b[91m[TRACKIO ERROR]\x1b[0m NaN\n"
    assert MetricReader().read(told).alerts == (Alert("warn", "Loss spike: loss is 9.3", 40), Alert("error", "NaN"))


def test_noise_is_one_line_with_a_count() -> None:
    log = (
        "Resolved 12 packages in 3ms\nDownloading torch (200.1MiB)\n Downloaded torch\nInstalled 12 packages in 1s\n"
        "start\nmodel.safetensors:  10%|█ | 1.0M/10M [00:01<00:09]\rmodel.safetensors: 100%|██| 10M/10M [00:02<00:00]\n"
        "  1%|  | 1/100 [00:01<01:39]\r  2%|  | 2/100 [00:02<01:38]\r  3%|  | 3/100 [00:03<01:37]\n"
        "{'loss': 0.5}\nerror: Failed to build flash-attn\n"
    )
    assert folded(log.splitlines()) == [
        "⋯ 4 lines of installing, the last: Installed 12 packages in 1s",
        "start",
        "⋯ 2 lines of downloading and loading, the last: model.safetensors: 100%|██| 10M/10M [00:02<00:00]",
        "⋯ 3 lines of progress, the last:   3%|  | 3/100 [00:03<01:37]",
        "{'loss': 0.5}",
        "error: Failed to build flash-attn",
    ]


def test_one_line_of_noise_stays_as_it_is() -> None:
    assert folded(["Resolved 12 packages in 3ms", "", "hello"]) == ["Resolved 12 packages in 3ms", "", "hello"]


@given(st.lists(st.sampled_from(["Resolved 1 packages in 3ms", "x", " 1%|  | 1/9 [00:01<01:39]", "error: no"])))
def test_folding_loses_no_line_that_is_no_noise(lines: list[str]) -> None:
    kept = ("x", "error: no")
    assert [line for line in folded(lines) if line in kept] == [line for line in lines if line in kept]


NOISE = ["Resolved 1 packages in 3ms", "Installed 1", "x", "", " 1%|  | 1/9 [00:01<01:39]", "error: no", "Updated \r"]


@given(st.lists(st.sampled_from(NOISE), max_size=12))
def test_a_screen_that_folds_by_the_marks_shows_what_the_model_reads(lines: list[str]) -> None:
    shown, at = [], 0
    for first, count, sort in marked("".join(f"{line}\n" for line in lines)):
        last = lines[first + count - 1]
        shown += [*lines[at:first], last if count == 1 else f"⋯ {count:,} lines of {sort}, the last: {last}"]
        at = first + count
    assert [*shown, *lines[at:]] == folded(lines)


def test_a_line_that_redraws_itself_is_noise_only_if_all_it_showed_is() -> None:
    bars = " 1%|  | 1/9 [00:01<01:39]\r 2%|  | 2/9 [00:02<01:38]"
    assert marked(f"{bars}\n{bars}\rerror: no space\r{bars}\n\r\n") == ((0, 1, "progress"),)
    assert marked("") == ()


@given(st.text(alphabet="{}'\":,. loss=step-+e0123456789[/\n", max_size=400))
def test_whatever_is_printed_gives_finite_numbers_that_json_can_carry(text: str) -> None:
    json.dumps(points(text), allow_nan=False)


@pytest.mark.parametrize("piece", ["0", "{", "'a':", "loss ", "1.", "a" * 64 + " ", "train ", "1e+", "10/10 "])
def test_hostile_lines_cost_little(piece: str) -> None:
    began = time.process_time()
    points((piece * 4_096)[:4_095] + "\n" + piece * 100_000)
    assert time.process_time() - began < 2


def test_a_loss_printed_beside_the_use_of_the_gpu_still_tells_of_how_many_steps_it_is() -> None:
    line = "{'loss': 0.5, 'step': 10, 'total_steps': 780, 'gpu_percent': 81}"
    assert MetricReader().read(line).points == ({"loss": 0.5, "step": 10.0, "gpu_percent": 81.0, "total_steps": 780.0},)
