"""The real thing on this machine: a small transformers model is fine-tuned on a small dataset, seen in a browser."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.doubles.hub import FakeHub
from tests.doubles.model_server import ModelServer, by_turn
from tests.journeys.acts import say
from tests.journeys.running import App
from tests.journeys.test_whole import code

pytest.importorskip("torch", reason="torch is not installed: make torch")
pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

STEPS = 160
TRAIN = """\
import json, random
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel, PreTrainedTokenizerFast

STEPS, BATCH, LENGTH, EVERY = 160, 16, 12, 2
GOOD, BAD, PLAIN = "good great lovely".split(), "bad awful poor".split(), "the film was a story of some people".split()
torch.manual_seed(7)
torch.set_num_threads(1)
chance = random.Random(7)


def review(label):
    words = chance.choices(PLAIN, k=9) + chance.choices(GOOD if label else BAD, k=3)
    chance.shuffle(words)
    return " ".join(words)


labels = [chance.randrange(2) for _ in range(600)]
data = Dataset.from_dict({"text": [review(label) for label in labels], "labels": labels})
words = {word: n for n, word in enumerate(["[PAD]", "[UNK]", *GOOD, *BAD, *PLAIN])}
raw = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
raw.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]")
data = data.map(lambda rows: tokenizer(rows["text"], padding="max_length", max_length=LENGTH), batched=True)
data = data.train_test_split(test_size=100, seed=7).with_format("torch", ["input_ids", "attention_mask", "labels"])

size = dict(hidden_size=96, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
BertModel(BertConfig(vocab_size=len(words), **size)).save_pretrained("base")  # instead of a download
model = AutoModelForSequenceClassification.from_pretrained("base", num_labels=2)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, STEPS)
print(f"  Total optimization steps = {STEPS}", flush=True)
for step in range(1, STEPS + 1):
    batch = data["train"][chance.sample(range(500), BATCH)]
    loss = model(**batch).loss
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    if step % EVERY == 0:
        rate = schedule.get_last_lr()[0]
        print({"loss": loss.item(), "grad_norm": norm.item(), "learning_rate": rate, "step": step}, flush=True)
model.eval()
test = data["test"][:]
with torch.no_grad():
    right = model(**test).logits.argmax(-1) == test["labels"]
accuracy = right.float().mean().item()
model.save_pretrained("tuned")
tokenizer.save_pretrained("tuned")
kept = load_file("tuned/model.safetensors")
json.dump({"eval_accuracy": accuracy, "tensors": len(kept)}, open("metrics.json", "w"))
print(f"accuracy={accuracy:.3f}")
"""
RUN = f"""\
script = '''{TRAIN}'''
end = job_run(script, title='Fine-tune a tiny BERT', where='here', timeout='3m',
              dependencies=['torch', 'transformers', 'datasets'])
accuracy = end['log'].split('accuracy=')[-1].strip()
print(end['status'], end['message'], end['log'][-600:], end['files'])"""

# What one look at the page finds while the job runs: where it is, its curve, and what is still to come.
UNDER_WAY = """() => {
    const job = document.querySelector("#ml-timeline-place .job");
    const shown = (name) => job?.querySelector(name)?.checkVisibility() ? job.querySelector(name).textContent : "";
    return shown(".chip") === "running" && /^In all, likely: /.test(shown(".job-forecast")) && job.querySelector(".bar").value > 0
        && shown(".numbers").includes("/160") && /L/.test(job.querySelector("svg path.line")?.getAttribute("d"));
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


def test_a_small_model_is_fine_tuned_on_this_machine(page: Page, tmp_path: Path) -> None:
    story = [code("I fine-tune.", RUN), code("I report.", "final_answer(f'Accuracy on held-out rows: {accuracy}')")]
    with (
        FakeHub() as hub,
        ModelServer(by_turn(story)) as server,
        App(tmp_path, MODEL_BASE_URL=server.base_url, **hub.environ()) as app,
    ):
        page.goto(app.url)
        say(page, "Fine-tune something small on this machine")
        asked = page.locator(".approval.pending")
        expect(asked).to_contain_text("this machine, without a fence around it")
        expect(asked.get_by_label("Dependencies")).to_have_value("torch\ntransformers\ndatasets")
        asked.get_by_role("button", name="Approve").click()

        job = page.locator("#ml-timeline-place .job")
        job.locator("summary", has_text="Log").click()
        log = job.get_by_label("Log")
        expect(log).to_contain_text(re.compile(r"Nothing is downloaded, these are installed here: torch==\d"))
        page.wait_for_function(UNDER_WAY, polling="raf", timeout=90_000)
        expect(page.locator(".end")).to_contain_text(re.compile(r"held-out rows: (0\.[89]|1\.)\d\d"), timeout=60_000)
        expect(job.locator(".chip")).to_have_text("completed")
        expect(job.locator(".job-forecast")).to_be_hidden()
        expect(job.locator(".numbers")).to_contain_text(f"step {STEPS}/{STEPS}")
        expect(job.locator(".curve-name", has_text=re.compile("^loss$"))).to_have_count(1)
        drawn = job.locator("svg path.line[d*='L']")
        expect(drawn.first).to_be_attached()
        expect(job.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"loss: from 0\.[67]\d* to 0\.[0-4]"))
        expect(log).to_contain_text("accuracy=")

        weights = page.request.get(_link(job, "tuned/model.safetensors")).body()
        (header,) = struct.unpack("<Q", weights[:8])
        assert "classifier.weight" in json.loads(weights[8 : 8 + header])
        told = page.request.get(_link(job, "metrics.json")).json()
        assert 0.8 <= told["eval_accuracy"] <= 1.0
        assert "Traceback" not in app.log

    events = _journal(tmp_path)
    assert [one["status"] for one in events if one["kind"] == "job_ended"] == ["completed"]
    assert any(one["kind"] == "job_forecast" and one["seconds_low"] <= one["seconds_high"] for one in events)
    losses = {
        point["step"]: point["loss"]
        for one in events
        if one["kind"] == "job_logged"
        for point in one["points"]
        if "loss" in point
    }
    assert list(losses) == list(range(2, STEPS + 1, 2))
    assert losses[STEPS] < losses[2] / 1.5
    assert "job_alarm" not in {one["kind"] for one in events}


def _link(job: Any, name: str) -> str:
    return str(job.locator(f".files a[href*='{name}']").first.evaluate("a => a.href"))


def _journal(data: Path) -> list[dict[str, Any]]:
    (journal,) = data.rglob("*.jsonl")
    return [json.loads(line)["event"] for line in journal.read_text("utf-8").splitlines()[1:]]
