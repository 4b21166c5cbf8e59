"""What providers really sent, served again byte by byte and read through the real RouterModel.

The recordings live outside this repository: in $ML_INTERN_FIXTURES, or in shared/fixtures beside the checkout.
What is expected is read from each file by a second, plain reading of its JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.loop.parsing import parse_reply
from agent.models.router import Cancel, Delta, Done, Reasoning, RouterModel, Text, Usage
from tests import ROOT
from tests.doubles.model_server import ModelServer, Reply
from tools.problem import Problem

BESIDE = ROOT.parent / "shared" / "fixtures"
FIXTURES = Path(os.environ.get("ML_INTERN_FIXTURES") or BESIDE)
FOLDERS = [folder for name in ("providers-sse", "inference-router") if (folder := FIXTURES / name).is_dir()]
if not FOLDERS:
    pytest.skip(f"no recordings in {FIXTURES}; set ML_INTERN_FIXTURES", allow_module_level=True)

FILES = sorted(path for folder in FOLDERS for path in folder.iterdir() if not path.name.endswith(".request.json"))


def request(path: Path) -> dict[str, Any]:
    """The request that a recording answers, with the answer's status; empty where it was not kept."""
    kept = path.with_name(path.name.rpartition(".")[0] + ".request.json")
    content = json.loads(kept.read_bytes()) if kept.is_file() else {}
    assert isinstance(content, dict)
    return content


def content(path: Path) -> Any:
    return json.loads(path.read_bytes()) if path.suffix == ".json" else None


REFUSALS = [p for p in FILES if request(p).get("status", 200) >= 400]
STREAMS = [p for p in FILES if p.name.endswith((".sse", ".chunks.txt")) or isinstance(content(p), list)]
WHOLE = [p for p in FILES if p not in STREAMS + REFUSALS and "choices" in (content(p) or {})]
NO_CHAT = [p for p in FILES if request(p).get("method") == "GET" or p.name == "v1-models.docs.json"]
FAILURES = {
    "js_cerebras_stream_200_1.sse": "damaged",  # a line of the recording itself breaks off
    "vai_cohere-tool-call.chunks.txt": "no chat completion",  # Cohere's own form
    "pai_groq_tool_use_failed_stream.0.sse": "Tool call validation failed",
    "pai_openrouter_stream_error.sse": "Token limit reached",
}


@dataclass(frozen=True)
class Recording:
    """A file read plainly. calls: (name, decoded arguments)."""

    text: str
    reasoning: str
    usage: dict[str, Any]
    calls: list[tuple[str, Any]]


def chunks(path: Path) -> list[dict[str, Any]]:
    """The JSON of a recording, up to a line that is none and to an error."""
    if path.suffix == ".json":
        whole = content(path)
        return whole if isinstance(whole, list) else [whole]
    lines = [line.removeprefix("data:").strip() for line in path.read_text("utf-8").splitlines()]
    found: list[dict[str, Any]] = []
    for line in lines:
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                break
            if "error" in found[-1]:
                return found[:-1]
    return found


def plainly(path: Path) -> Recording:
    text = reasoning = ""
    usage: dict[str, Any] = {}
    calls: dict[Any, list[str]] = {}
    for chunk in chunks(path):
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"][:1]:
            said = choice.get("delta") or choice.get("message") or {}
            text += said.get("content") or ""
            reasoning += said.get("reasoning_content") or said.get("reasoning") or ""
            for number, call in enumerate(said.get("tool_calls") or []):
                known = calls.setdefault(call.get("index", number), ["", ""])
                known[0] = known[0] or call["function"].get("name") or ""
                arguments = call["function"]["arguments"]
                known[1] += arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Recording(text, reasoning, usage, [(name, json.loads(arguments)) for name, arguments in calls.values()])


def served(path: Path) -> Reply:
    """The recording as an answer. Where only its chunks were kept, they get their frame back."""
    if path in REFUSALS:
        return Reply(status=request(path)["status"], body=path.read_text("utf-8"))
    if path.suffix == ".sse":
        return Reply(raw=path.read_bytes(), raw_piece=997)
    if path in WHOLE:
        return Reply(raw=path.read_bytes(), headers={"content-type": "application/json"})
    framed = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks(path)) + "data: [DONE]\n\n"
    return Reply(raw=framed.encode(), raw_piece=997)


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    by_name = {path.name: path for path in FILES}
    with ModelServer(lambda asked: served(by_name[asked.user_texts[0]])) as server:
        yield server


def heard(server: ModelServer, path: Path) -> list[Delta]:
    model = RouterModel("recorded", server.base_url, attempts=1)
    return list(model.stream([{"role": "user", "content": path.name}], cancel=Cancel()))


@pytest.mark.parametrize("path", [p for p in STREAMS + WHOLE if p.name not in FAILURES], ids=lambda path: path.name)
def test_a_recorded_reply_is_read_to_the_letter(server: ModelServer, path: Path) -> None:
    told, expected = heard(server, path), plainly(path)
    assert "".join(d.text for d in told if isinstance(d, Text)) == expected.text
    assert "".join(d.text for d in told if isinstance(d, Reasoning)) == expected.reasoning
    done = told[-1]
    assert isinstance(done, Done)
    details = expected.usage.get("prompt_tokens_details") or {}
    counts = (
        expected.usage.get("prompt_tokens"),
        expected.usage.get("completion_tokens"),
        details.get("cached_tokens"),
    )
    assert done.usage == Usage(*counts)
    assert [(call.name, json.loads(call.arguments)) for call in done.tool_calls] == expected.calls


@pytest.mark.parametrize("path", [p for p in STREAMS + WHOLE if p.name not in FAILURES], ids=lambda path: path.name)
def test_a_recorded_reply_ends_in_code_in_text_or_in_a_line_to_the_model(server: ModelServer, path: Path) -> None:
    told = heard(server, path)
    done = told[-1]
    assert isinstance(done, Done)
    text = "".join(d.text for d in told if isinstance(d, Text))
    reply = parse_reply(text, [(call.name, call.arguments) for call in done.tool_calls])
    if done.tool_calls:
        assert (reply.code or "").startswith(f"print({done.tool_calls[0].name}(")
    elif "```python" not in text:
        assert reply.code is None
        assert reply.hint
        assert "\n" not in reply.hint
    assert "<think>" not in reply.thought


@pytest.mark.parametrize("path", [p for p in STREAMS if p.name in FAILURES], ids=lambda path: path.name)
def test_a_recording_that_is_no_whole_reply_is_told_up_to_its_break_and_ends_in_a_clear_problem(
    server: ModelServer, path: Path
) -> None:
    told: list[Delta] = []
    model = RouterModel("recorded", server.base_url, attempts=1)
    with pytest.raises(Problem, match=FAILURES[path.name]) as problem:
        told.extend(model.stream([{"role": "user", "content": path.name}], cancel=Cancel()))
    assert problem.value.hint
    native = any("choices" not in chunk for chunk in chunks(path))
    text, reasoning = ("", "") if native else (plainly(path).text, plainly(path).reasoning)
    assert "".join(d.text for d in told if isinstance(d, Text)) == text
    assert "".join(d.text for d in told if isinstance(d, Reasoning)) == reasoning
    assert native or text or reasoning


@pytest.mark.parametrize("path", REFUSALS, ids=lambda path: path.name)
def test_a_recorded_refusal_ends_in_the_servers_words_and_a_hint(server: ModelServer, path: Path) -> None:
    with pytest.raises(Problem) as problem:
        heard(server, path)
    assert problem.value.hint
    assert "\n" not in problem.value.message


def test_every_recording_is_read_as_what_it_is() -> None:
    assert len(STREAMS) > 50
    assert len(WHOLE) > 50
    assert len(REFUSALS) > 10
    assert FAILURES.keys() <= {path.name for path in STREAMS}
    assert sorted([*STREAMS, *WHOLE, *REFUSALS, *NO_CHAT]) == FILES


def test_the_recordings_hold_every_way_of_telling_the_usage() -> None:
    told = {path.name: [bool(chunk.get("usage")) for chunk in chunks(path)] for path in STREAMS}
    apart = [path for path in STREAMS if any(c.get("usage") and c.get("choices") == [] for c in chunks(path))]
    assert any(all(usages) and len(usages) > 2 for usages in told.values()), "in every chunk"
    assert any(usages[-1] and sum(usages) == 1 for usages in told.values()), "in the last one"
    assert any(not any(usages) for usages in told.values()), "never"
    assert apart, "in one without choices"
