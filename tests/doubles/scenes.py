"""Events of a whole run, for the page: a plan, papers, a question of money, a job with a falling loss, an answer."""

from __future__ import annotations

import math
from collections.abc import Iterator

from agent.events import (
    ApprovalAsked,
    CodeWritten,
    Event,
    MoneyReserved,
    MoneySettled,
    OutputPrinted,
    ReasoningSaid,
    ReplyRestarted,
    RunEnded,
    SandboxReported,
    StepEnded,
    StepStarted,
    TextSaid,
    ToolEnded,
    ToolShowed,
    ToolStarted,
)
from agent.job_events import JobEnded, JobLogged, JobSubmitted, JobSubmitting
from tools.cards import FileMade, PaperRow, PapersFound, PlanMade, RepoRow, ReposFound, Spend, Todo
from tools.jobs.remote.words import JOBS

MODEL = "Qwen/Qwen3-Coder-480B-A35B-Instruct"
TODOS = ("Read recent papers", "Inspect the dataset", "Write the training script", "Train it", "Evaluate and publish")
SCRIPT = """\
# train.py: a small classifier, one epoch
from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

data = load_dataset("stanfordnlp/imdb")
model = AutoModelForSequenceClassification.from_pretrained("answerdotai/ModernBERT-base", num_labels=2)
arguments = TrainingArguments("out", per_device_train_batch_size=32, bf16=True, learning_rate=5e-5)
Trainer(model, arguments, train_dataset=data["train"]).train()
"""
ANSWER = """\
Done: accuracy **95.1 %** on the test split, for **$0.28** of the $0.75 that were held.

| model | accuracy | F1 | cost |
|:--|--:|--:|--:|
| ModernBERT-base, fine-tuned | 0.951 | 0.951 | $0.28 |
| majority class | 0.500 | 0.333 | $0.00 |

The model is in `you/modernbert-imdb`. Next I could distil it, or publish a demo.
"""
SPEND = Spend(
    title="Train on IMDB",
    where="jobs",
    place=JOBS,
    flavor="a10g-small",
    script=SCRIPT,
    dependencies=("transformers==5.23.0", "datasets"),
    secrets=("HF_TOKEN",),
    timeout_seconds=2700,
    price_micro_usd_per_hour=1_000_000,
)


def plan(done: int) -> PlanMade:
    states = ["completed"] * done + ["in_progress"] + ["pending"] * len(TODOS)
    return PlanMade(todos=tuple(Todo(text=text, status=state) for text, state in zip(TODOS, states, strict=False)))  # type: ignore[arg-type]


def research(run: str, step: int = 1) -> Iterator[Event]:
    """A step that fails once, thinks, searches and looks at a dataset. It stays open after its last event."""
    yield SandboxReported(level="full", facts={"network": True})
    yield StepStarted(run=run, step=step, model=MODEL)
    yield ReplyRestarted(step=step, reason="The model's server is busy (503)", attempt=2, wait_seconds=4.0)
    yield ReasoningSaid(
        step=step, text="The columns must be known before any code is written, and so must the licence."
    )
    thought = (
        "Research and data check\n\nI will look for recent **fine-tuning recipes** for compact encoders, then check the "
        "columns of `stanfordnlp/imdb` before writing any code, because wrong column names are the most common cause of "
        "failed jobs.\n\n```python\n"
    )
    code = 'papers = papers_search("small sentiment classifier")\ninfo = hub_info("dataset", "stanfordnlp/imdb")\nprint(info)'
    for start in range(0, len(thought + code), 6):
        yield TextSaid(step=step, text=(thought + code)[start : start + 6])
    yield TextSaid(step=step, text="\n```")
    yield CodeWritten(step=step, code=code)
    yield ToolStarted(call=f"c{step}-0", tool="plan", args={"todos": list(TODOS)}, by="agent", step=step)
    yield ToolShowed(call=f"c{step}-0", card=plan(0))
    yield ToolEnded(call=f"c{step}-0", why="done", result="{}", seconds=0.01)
    yield ToolStarted(
        call=f"c{step}-1", tool="papers_search", args={"query": "small sentiment classifier"}, by="agent", step=step
    )
    rows = tuple(
        PaperRow(
            id=f"2412.{13660 + n}",
            title=title,
            date="2024-12-18",
            authors="B. Warner, A. Chaffin, B. Clavié",
            upvotes=120 - n * 17,
            summary="We bring modern optimisations to encoder-only models.",
        )
        for n, title in enumerate(
            (
                "Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder",
                "How to Fine-Tune Small Encoders with Little Data",
                "Label Noise in Sentiment Benchmarks, Measured",
                "Strong Baselines for Text Classification",
                "Distilling Encoders Without Tears",
            )
        )
    )
    yield ToolShowed(
        call=f"c{step}-1",
        card=PapersFound(query="small sentiment classifier", source="Hugging Face Papers", papers=rows),
    )
    yield ToolEnded(call=f"c{step}-1", why="done", result='[{"id": "2412.13663"}]', seconds=0.8)
    yield ToolStarted(
        call=f"c{step}-2", tool="hub_info", args={"kind": "dataset", "id": "stanfordnlp/imdb"}, by="agent", step=step
    )


def research_end(step: int = 1) -> Iterator[Event]:
    row = RepoRow(
        id="stanfordnlp/imdb", url="https://huggingface.co/datasets/stanfordnlp/imdb", facts=("50k rows", "other")
    )
    yield ToolShowed(call=f"c{step}-2", card=ReposFound(repo_kind="dataset", query="", repos=(row,)))
    yield ToolEnded(call=f"c{step}-2", why="done", result='{"columns": ["text", "label"]}', seconds=0.4)
    yield OutputPrinted(step=step, text="columns: text (string), label (class)\n")
    yield step_end(step)


def step_end(step: int) -> StepEnded:
    return StepEnded(
        step=step,
        seconds=1.7,
        input_tokens=1640,
        output_tokens=200,
        provider="novita",
        observation="columns: text, label",
    )


def script_step(run: str, step: int = 2) -> Iterator[Event]:
    yield StepStarted(run=run, step=step, model=MODEL)
    yield TextSaid(step=step, text="Write train.py and run it\n\nThe recipe fits on one small GPU.\n")
    yield CodeWritten(step=step, code=f"job_run(script={SCRIPT!r}, flavor='a10g-small')")
    yield ToolStarted(call="plan-2", tool="plan", args={"todos": list(TODOS)}, by="agent", step=step)
    yield ToolShowed(call="plan-2", card=plan(3))
    yield ToolEnded(call="plan-2", why="done", result="{}", seconds=0.01)
    yield ToolStarted(
        call="train",
        tool="job_run",
        args={"script": SCRIPT, "flavor": "a10g-small", "timeout": "45m"},
        by="agent",
        step=step,
    )
    yield ApprovalAsked(approval="a1", call="train", request=SPEND)


def job_start() -> Iterator[Event]:
    yield MoneyReserved(hold="label-1", micro_usd=SPEND.hold_micro_usd)
    yield JobSubmitting(label="label-1", call="train", request=SPEND)
    url = "https://huggingface.co/jobs/you/69b2c7880357"
    yield JobSubmitted(label="label-1", job="69b2c7880357", call="train", where="jobs", title=SPEND.title, url=url)


def job_log(first: int, last: int) -> Iterator[Event]:
    for n in range(first, last):
        loss = 0.22 + 0.5 * math.exp(-n / 12) + 0.012 * math.sin(n * 2.3)
        text = f"{{'loss': {loss:.4f}, 'epoch': {n / 60:.2f}}}\n"
        yield JobLogged(
            job="69b2c7880357", offset=n * 40, text=text, points=({"step": n * 13, "loss": round(loss, 4)},)
        )


def job_end() -> Iterator[Event]:
    yield JobEnded(job="69b2c7880357", status="completed", exit_code=0, seconds=1008.0, files=("job/metrics.json",))
    yield MoneySettled(hold="label-1", micro_usd=280_000)
    yield ToolShowed(call="train", card=FileMade(path="job/metrics.json", bytes=54, job="69b2c7880357"))
    yield ToolEnded(call="train", why="done", result='{"status": "completed"}', seconds=1012.0)
    yield step_end(2)


def answer(run: str) -> Iterator[Event]:
    yield RunEnded(
        run=run,
        why="answered",
        answer=ANSWER,
        produced=("you/modernbert-imdb",),
        steps=2,
        seconds=1021.0,
        input_tokens=4800,
        output_tokens=400,
    )


def finished_steps(run: str, first: int, count: int) -> Iterator[Event]:
    """Steps that are over, each with a thought, code, a call and output."""
    for step in range(first, first + count):
        yield StepStarted(run=run, step=step, model=MODEL)
        yield TextSaid(
            step=step, text=f"Look at part {step}\n\nIt is the **next** thing to know, because of `{step}`.\n\n"
        )
        yield CodeWritten(step=step, code=f"result = hub_search('model', 'part {step}')\nprint(result)")
        yield ToolStarted(
            call=f"f{step}", tool="hub_search", args={"kind": "model", "query": f"part {step}"}, by="agent", step=step
        )
        yield ToolEnded(call=f"f{step}", why="done", result="[]", seconds=0.2)
        yield OutputPrinted(step=step, text="nothing\n")
        yield step_end(step)
