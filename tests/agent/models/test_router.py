"""RouterModel against a real, scripted server: what arrives, what is retried, how it stops, what stays secret."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from smolagents import ChatMessage, MessageRole

from agent.models.faults import wait_asked_for
from agent.models.router import (
    Cancel,
    Delta,
    Done,
    NativeCall,
    Reasoning,
    Restarted,
    RouterModel,
    Text,
    Usage,
    plain_messages,
)
from tests import AT_ONCE
from tests.doubles.model_server import Asked, ModelServer, Reply, by_turn, by_words, in_order, script_from
from tools.problem import Problem, Stopped

KEY = "hf_aVerySecretKey"
SOON = {"retry-after": "0"}
HELLO = [{"role": "user", "content": "hello"}]


def ask(
    server: ModelServer, *, cancel: Cancel | None = None, stop_words: Sequence[str] = (), **model: Any
) -> list[Delta]:
    said = RouterModel("org/model", server.base_url, KEY, **model)
    return list(said.stream(HELLO, stop_words=stop_words, cancel=cancel or Cancel()))


def text(deltas: Sequence[Delta]) -> str:
    """What counts of a reply: the text since it was last restarted."""
    said = ""
    for delta in deltas:
        said = "" if isinstance(delta, Restarted) else said + delta.text if isinstance(delta, Text) else said
    return said


def done(deltas: Sequence[Delta]) -> Done:
    assert [type(delta) for delta in deltas].count(Done) == 1
    last = deltas[-1]
    assert isinstance(last, Done)
    return last


def raw(*events: str, end: str = "data: [DONE]\n\n", piece: int = 2**20) -> Reply:
    return Reply(raw=("".join(f"data: {event}\n\n" for event in events) + end).encode(), raw_piece=piece)


def chunk(content: str, finish: str = "null") -> str:
    return f'{{"choices":[{{"index":0,"delta":{{"content":{content}}},"finish_reason":{finish}}}]}}'


# --- what arrives ---------------------------------------------------------------------------------


def test_a_reply_is_told_as_it_is_said_and_ends_with_what_is_known_of_it() -> None:
    with ModelServer([Reply(tokens=["Hel", "lo"], reasoning="hm", provider="groq", delay=0.01)]) as server:
        told = ask(server)
    assert told == [Reasoning("hm"), Text("Hel"), Text("lo"), Done("stop", Usage(100, 3), "groq")]


def test_the_request_carries_model_messages_stop_words_and_who_pays() -> None:
    with ModelServer([Reply("ok")]) as server:
        ask(server, stop_words=["</code>"], bill_to="acme", session_id="s1")
    asked = server.requests[0]
    assert asked.body == {
        "model": "org/model",
        "messages": HELLO,
        "stream": True,
        "stream_options": {"include_usage": True},
        "stop": ["</code>"],
    }
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (asked.headers["x-hf-bill-to"], asked.headers["x-hf-session-id"]) == ("acme", "s1")


def test_headers_that_are_not_set_are_not_sent() -> None:
    with ModelServer([Reply("ok")]) as server:
        list(RouterModel("m", server.base_url).stream(HELLO, cancel=Cancel()))
    assert not {"authorization", "x-hf-bill-to", "x-hf-session-id", "cookie"} & server.requests[0].headers.keys()


def test_one_users_cookie_never_goes_along_with_anothers_request() -> None:
    with ModelServer([Reply("ok", headers={"set-cookie": "user=ada; Path=/"}), Reply("ok")]) as server:
        ask(server)
        ask(server)
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize("usage", ["last", "every", "separate"])
def test_the_last_usage_counts_wherever_it_stands(usage: Any) -> None:
    with ModelServer([Reply(tokens=list("abcde"), usage=usage)]) as server:
        assert done(ask(server)).usage == Usage(100, 5)


def test_a_provider_that_counts_nothing_has_counted_nothing() -> None:
    with ModelServer([Reply("ok", usage="none")]) as server:
        assert done(ask(server)).usage == Usage(None, None, None)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "thinking"])
def test_reasoning_is_its_own_kind_under_each_of_its_names(field: str) -> None:
    with ModelServer([Reply("ok", reasoning="hm", reasoning_field=field)]) as server:
        assert ask(server)[:2] == [Reasoning("hm"), Text("ok")]


def test_reasoning_that_is_sent_under_two_names_is_told_once() -> None:
    both = '{"choices":[{"delta":{"reasoning":"hm","reasoning_content":"hm"},"finish_reason":"stop"}]}'
    with ModelServer([raw(both)]) as server:
        assert ask(server)[0] == Reasoning("hm")


def test_tool_calls_come_whole_or_in_pieces() -> None:
    def piece(call: str) -> str:
        return f'{{"choices":[{{"delta":{{"tool_calls":[{call}]}}}}]}}'

    pieces = raw(
        piece('{"index":0,"id":"a","function":{"name":"search","arguments":"{\\"q\\":"}}'),
        piece('{"index":1,"id":"b","function":{"name":"read","arguments":{"id":"x"}}}'),
        piece('{"index":0,"id":"","function":{"name":"","arguments":"1}"}}'),
        chunk("null", '"tool_calls"'),
    )
    with ModelServer([Reply(tool_calls=[("search", '{"q": 1}')]), pieces]) as server:
        assert done(ask(server)).tool_calls == (NativeCall("search", '{"q": 1}'),)
        assert done(ask(server)).tool_calls == (NativeCall("search", '{"q":1}'), NativeCall("read", '{"id": "x"}'))


def test_an_answer_that_is_no_stream_is_understood() -> None:
    whole = Reply("hello", reasoning="hm", tool_calls=[("f", "{}")], stream=False, provider="local")
    with ModelServer([whole]) as server:
        told = ask(server)
    assert told == [Reasoning("hm"), Text("hello"), Done("stop", Usage(100, 2), "local", (NativeCall("f", "{}"),))]


@pytest.mark.parametrize("piece", [1, 2, 7, 4096])
def test_a_stream_may_be_cut_anywhere(piece: int) -> None:
    body = (
        "\ufeff: hello\r\n\r\nevent: message\r\nid: 1\r\ndata: "
        + chunk('"wörld"')
        + '\r\n\r\ndata:{"choices":\rdata: [{"delta":{"content":" 🙂"},\ndata: "finish_reason":"eos"}]}\n\n'
        + 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}}\n\n'
    )
    with ModelServer([Reply(raw=body.encode(), raw_piece=piece)]) as server:
        told = ask(server)
    assert text(told) == "wörld 🙂"
    assert done(told) == Done("eos", Usage(3, 2, 1))


def test_content_in_parts_is_joined() -> None:
    parts = (
        '[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"},"b",{"type":"image"}]'
    )
    with ModelServer([raw(chunk(parts, '"stop"'))]) as server:
        assert ask(server)[:-1] == [Reasoning("hm"), Text("ab")]


def test_odd_fields_are_passed_over() -> None:
    odd = [
        "[]", "3", '{"choices":[null]}', '{"choices":[{"delta":null}]}', '{"choices":[{"delta":{"content":5}}]}',
        '{"choices":[{"delta":{"tool_calls":[null,{"function":null},{"function":{"name":7,"arguments":null}}]}}]}',
        '{"choices":[],"usage":{"prompt_tokens":"many","completion_tokens":-1}}', chunk('"ok"', '"stop"'),
    ]  # fmt: skip
    with ModelServer([raw(*odd)]) as server:
        assert ask(server) == [Text("ok"), Done("stop")]


def test_a_server_that_keeps_the_stream_open_after_the_end_does_not_hold_up_the_reply() -> None:
    open_end = Reply(raw=raw(chunk('"ok"', '"stop"')).raw, delay=30)
    with ModelServer([open_end]) as server:
        started = time.monotonic()
        assert text(ask(server)) == "ok"
        assert time.monotonic() - started < 10


# --- what is retried ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_a_failure_that_may_pass_is_met_with_another_attempt_that_is_told(status: int) -> None:
    with ModelServer([Reply(status=status, headers=SOON, body={"error": {"message": "busy"}}), Reply("ok")]) as server:
        told = ask(server)
    restarted = told[0]
    assert isinstance(restarted, Restarted)
    assert (restarted.attempt, restarted.wait_seconds) == (2, 0.0)
    assert "busy" in restarted.reason
    assert text(told) == "ok"


@pytest.mark.parametrize("breaks", ["reset", "end", "error"])
def test_what_was_said_before_a_break_does_not_count(breaks: Any) -> None:
    with ModelServer([Reply("lost words", break_after=2, breaks=breaks), Reply("kept")]) as server:
        told = ask(server)
    assert isinstance(told[0], Text)
    assert sum(isinstance(delta, Restarted) for delta in told) == 1
    assert text(told) == "kept"


def test_a_silent_server_is_asked_again() -> None:
    with ModelServer([Reply("late", silence=30), Reply("ok")]) as server:
        told = ask(server, idle_seconds=0.2)
        assert server.requests[0].left.wait(60)
    assert isinstance(told[0], Restarted)
    assert "silent for 0.2 s" in told[0].reason
    assert text(told) == "ok"


def test_a_damaged_reply_is_asked_for_again() -> None:
    with ModelServer([raw(chunk('"a"'), '{"choices": [{'), Reply("ok")]) as server:
        assert text(ask(server)) == "ok"


def test_after_the_last_attempt_the_problem_says_what_failed_and_what_to_do() -> None:
    with ModelServer([Reply(status=503, headers=SOON, body="overloaded")] * 3) as server:
        with pytest.raises(Problem, match=r"failed \(503\).*overloaded.*pick another") as problem:
            ask(server, attempts=3)
        assert len(server.requests) == 3
    assert problem.value.hint


def test_a_server_that_is_not_there_is_a_problem_that_names_it() -> None:
    with pytest.raises(Problem, match=r"127\.0\.0\.1:9 cannot be reached"):
        list(RouterModel("m", "http://127.0.0.1:9/v1", attempts=1).stream(HELLO, cancel=Cancel()))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "refused"), (401, "did not accept the key"), (402, "credits"), (403, "may not use"),
        (404, "does not know this model"), (413, "too long"), (422, "refused"),
    ],
)  # fmt: skip
def test_a_failure_that_will_not_pass_is_told_at_once_in_clear_words(status: int, words: str) -> None:
    with ModelServer([Reply(status=status, body={"error": f"no, {KEY}! " + "x" * 5000}), Reply("never")]) as server:
        with pytest.raises(Problem, match=words) as problem:
            ask(server)
        assert len(server.requests) == 1
    assert KEY not in str(problem.value)
    assert "***" in str(problem.value)
    assert len(str(problem.value)) < 700


def test_a_spent_quota_is_not_asked_again_though_it_comes_as_429() -> None:
    with ModelServer([Reply(status=429, body={"error": {"message": "pay", "type": "insufficient_quota"}})]) as server:
        with pytest.raises(Problem, match="pay"):
            ask(server)
        assert len(server.requests) == 1


def test_an_error_in_the_stream_that_is_our_own_is_not_retried() -> None:
    error = {"message": "Token limit reached", "code": 400}
    with ModelServer([Reply("some text", break_after=1, breaks="error", error=error)]) as server:
        with pytest.raises(Problem, match="Token limit reached"):
            ask(server)
        assert len(server.requests) == 1


@pytest.mark.parametrize("field", ["stop", "stream_options"])
def test_a_field_that_the_server_refuses_is_left_out_from_then_on(field: str) -> None:
    refusal = Reply(status=400, body={"error": {"message": f"Unsupported parameter: '{field}'", "param": field}})
    with ModelServer([refusal, Reply("one"), Reply("two")]) as server:
        model = RouterModel("m", server.base_url)
        told = [list(model.stream(HELLO, stop_words=["x"], cancel=Cancel())) for _ in range(2)]
    assert [text(deltas) for deltas in told] == ["one", "two"]
    assert not any(isinstance(delta, Restarted) for deltas in told for delta in deltas)
    assert [field in asked.body for asked in server.requests] == [True, False, False]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(raw=b"<html>Sign in</html>", headers={"content-type": "text/html"}), "text/html that is no chat"),
        (Reply(raw=b'{"models": []}', headers={"content-type": "application/json"}), "no chat completion"),
        (Reply(status=307, headers={"location": "http://127.0.0.1:9/"}), "sends requests on to"),
        (raw('{"type":"message-start"}'), "no chat completion"),
    ],
)
def test_something_else_than_a_chat_endpoint_is_named_as_such(reply: Reply, words: str) -> None:
    with ModelServer([reply]) as server, pytest.raises(Problem, match=words):
        ask(server)


def test_a_reply_without_an_end_is_cut_off() -> None:
    endless = raw(chunk('"' + "x" * 1_000_000 + '"'), end="").raw or b""
    with (
        ModelServer([Reply(raw=endless * 6)]) as server,
        pytest.raises(Problem, match="more than 4,000,000 characters"),
    ):
        ask(server)


def test_a_line_without_an_end_is_cut_off() -> None:
    with ModelServer([Reply(raw=b"data: " + b"x" * 9_000_000)]) as server, pytest.raises(Problem, match="more than"):
        ask(server)


def test_retry_after_is_seconds_or_a_date_and_never_long() -> None:
    in_ten = format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True)
    assert wait_asked_for("1.5") == 1.5
    assert 8 < (wait_asked_for(in_ten) or 0) <= 10
    assert [wait_asked_for(odd) for odd in ("86400", "inf", "nan", "-3")] == [60, 60, 60, 0]
    assert wait_asked_for("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert [wait_asked_for(odd) for odd in ("", "soon", "Wed, 99 Foo 2015 07:28:00 GMT")] == [None, None, None]


# --- how it stops ---------------------------------------------------------------------------------


def stopped(server: ModelServer, when: Callable[[Iterator[Delta]], object]) -> float:
    """Read until `when` returns, have another thread set cancel; seconds until Stopped came."""
    cancel = Cancel()
    told = RouterModel("m", server.base_url).stream(HELLO, cancel=cancel)
    when(told)
    at: list[float] = []

    def stop() -> None:
        at.append(time.monotonic())
        cancel.set()

    timer = threading.Timer(0.1, stop)
    timer.start()
    with pytest.raises(Stopped):
        for _ in told:
            pass
    return time.monotonic() - at[0]


def test_stop_ends_a_stream_and_the_server_sees_it() -> None:
    with ModelServer([Reply("word " * 1000, delay=0.02)]) as server:
        assert stopped(server, next) < AT_ONCE
        assert server.requests[0].left.wait(60)


def test_stop_ends_the_wait_for_a_silent_server() -> None:
    with ModelServer([Reply("late", silence=60)]) as server:
        assert stopped(server, lambda told: None) < AT_ONCE
        assert server.requests[0].left.wait(60)


def test_stop_ends_the_wait_before_another_attempt() -> None:
    with ModelServer([Reply(status=503, headers={"retry-after": "50"})]) as server:
        assert stopped(server, next) < AT_ONCE
        assert len(server.requests) == 1


def test_a_run_that_was_stopped_before_asks_nothing() -> None:
    cancel = Cancel()
    cancel.set()
    with ModelServer([Reply("ok")]) as server:
        with pytest.raises(Stopped):
            ask(server, cancel=cancel)
        assert not server.requests


def test_a_reader_who_goes_away_ends_the_request_too() -> None:
    with ModelServer([Reply("word " * 1000, delay=0.02)]) as server:
        told = RouterModel("m", server.base_url).stream(HELLO, cancel=Cancel())
        next(told)
        told.close()  # type: ignore[attr-defined]
        assert server.requests[0].left.wait(60)


def test_cancel_wakes_all_who_wait_and_those_who_come_late() -> None:
    cancel, woken = Cancel(), []
    with cancel.waking(lambda: woken.append("early")):
        with cancel.waking(lambda: woken.append("gone")):
            pass
        cancel.set()
    with cancel.waking(lambda: woken.append("late")):
        assert woken == ["early", "late"]
    assert cancel.is_set()
    assert cancel.event.is_set()


# --- many at once, and smolagents' own doors ------------------------------------------------------


def test_many_sessions_stream_at_once_and_none_hears_another() -> None:
    names = [f"session-{i:02}" for i in range(20)]
    scripts = {name: in_order([Reply(tokens=[name] * 30, delay=0.005)]) for name in names}

    with ModelServer(by_words(scripts)) as server:
        model = RouterModel("m", server.base_url)

        def read(name: str) -> str:
            return text(list(model.stream([{"role": "user", "content": name}], cancel=Cancel())))

        with ThreadPoolExecutor(20) as pool:
            assert list(pool.map(read, names)) == [name * 30 for name in names]


def test_messages_are_flattened_and_neighbours_joined() -> None:
    messages = [
        ChatMessage(MessageRole.SYSTEM, [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]),
        ChatMessage(MessageRole.USER, "hi"),
        ChatMessage(MessageRole.ASSISTANT, ""),
        ChatMessage(MessageRole.TOOL_RESPONSE, [{"type": "text", "text": "saw"}]),
        ChatMessage(MessageRole.TOOL_CALL, "call"),
        {"role": "assistant", "content": "more"},
    ]
    assert plain_messages(messages) == [
        {"role": "system", "content": "be\nbrief"},
        {"role": "user", "content": "hi\nsaw"},
        {"role": "assistant", "content": "call\nmore"},
    ]


def test_text_that_is_no_unicode_can_still_be_sent() -> None:
    with ModelServer([Reply("ok")]) as server:
        list(RouterModel("m", server.base_url).stream([{"role": "user", "content": "a\ud800b"}], cancel=Cancel()))
    assert server.requests[0].user_texts == ["a?b"]


# --- what stays secret ----------------------------------------------------------------------------


def test_the_key_is_in_no_repr() -> None:
    model = RouterModel("m", "http://127.0.0.1:9/v1", KEY)
    assert KEY not in repr(model)


def test_a_key_that_breaks_the_header_is_refused_without_being_shown() -> None:
    with pytest.raises(Problem) as problem:
        RouterModel("m", "http://127.0.0.1:9/v1", KEY + "\nX-Evil: 1")
    assert KEY not in str(problem.value)
    RouterModel("m", "http://127.0.0.1:9/v1", f" {KEY}\n")  # a line break from copying is no harm


@pytest.mark.parametrize(
    "address", ["", "router", "ftp://x/v1", "http://", "http://a:b@host/v1", "http://[::1/v1", "http://h/v1?key=1"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(Problem, match="no plain http or https address"):
        RouterModel("m", address)


# --- the double itself ----------------------------------------------------------------------------


def test_a_script_by_turn_follows_each_conversation() -> None:
    script = by_turn([Reply("first"), Reply("second")])
    asked = Asked({}, {"messages": [*HELLO, {"role": "assistant", "content": "first"}, *HELLO]})
    assert script(asked).text == "second"
    assert script(Asked({}, {"messages": HELLO})).text == "first"


def test_a_script_that_is_at_its_end_says_so() -> None:
    with ModelServer([]) as server, pytest.raises(Problem, match="script is at its end"):
        ask(server)


def test_a_script_can_be_written_as_json() -> None:
    spec = {"by_words": {"ada": [{"text": "for ada"}], "": {"by_turn": [{"tokens": ["for", " all"]}]}}}
    with ModelServer(script_from(spec)) as server:
        model = RouterModel("m", server.base_url)
        said = [text(list(model.stream([{"role": "user", "content": t}], cancel=Cancel()))) for t in ("hi", "ada!")]
    assert said == ["for all", "for ada"]
