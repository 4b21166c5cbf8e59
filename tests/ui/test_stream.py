"""Following a session over server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from agent.events import StepStarted, TextSaid, UserSaid
from tests.doubles import scenes
from tests.doubles.sessions import ToldSession, ToldSessions
from tests.ui.serving import Site, serving, until
from ui.login import Login
from ui.stream import EventStream


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(ToldSessions(tmp_path_factory.mktemp("sessions")), Login()) as site:
        yield site


@pytest.fixture
def site(served: Site) -> Site:
    served.sessions.all.clear()
    return served


@pytest.fixture
def session(site: Site) -> ToldSession:
    return site.sessions.create("local")


def entries(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    """Each entry as it comes in; checks that id: is its seq."""
    id = ""
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "id":
            id = value
        elif name == "data":
            entry = json.loads(value)
            assert str(entry["seq"]) == id
            yield entry


def test_a_reader_gets_what_was_and_then_what_comes(site: Site, session: ToldSession) -> None:
    with site.reading("GET", f"events?session={session.id}&after=0") as response:
        assert response.getheader("content-type", "").startswith("text/event-stream")
        assert response.getheader("cache-control") == "no-store"
        assert response.getheader("x-accel-buffering") == "no"
        told = entries(response)
        assert next(told)["event"]["kind"] == "budget_set"
        session.tell(UserSaid(run="r", text="hello"))
        assert next(told)["event"] == {"kind": "user_said", "run": "r", "text": "hello", "files": []}


def test_a_reader_goes_on_after_the_last_it_saw(site: Site, session: ToldSession) -> None:
    session.tell(*(UserSaid(run=str(n), text=f"message {n}") for n in range(9)))
    with site.reading("GET", f"events?session={session.id}&after=8") as response:
        assert next(entries(response))["seq"] == 9
    with site.reading("GET", f"events?session={session.id}&after=2", headers={"Last-Event-ID": "9"}) as response:
        assert next(entries(response))["seq"] == 10


@pytest.mark.parametrize("after", ["-1", "x", "1e3", "٣", "9" * 30])
def test_a_place_to_go_on_from_is_a_number(site: Site, session: ToldSession, after: str) -> None:
    assert site.get(f"events?session={session.id}", Last_Event_ID=after.encode().decode("latin-1")).status == 422


def test_asking_only_for_the_head_follows_nothing(site: Site, session: ToldSession) -> None:
    assert site.ask("HEAD", f"events?session={session.id}", None, {}).status == 200
    assert session.readers == 0


def test_a_long_history_comes_whole_and_in_order(site: Site, session: ToldSession) -> None:
    session.tell(*(UserSaid(run=str(n), text=str(n)) for n in range(1700)))
    with site.reading("GET", f"events?session={session.id}") as response:
        told = entries(response)
        assert [next(told)["seq"] for _ in range(1701)] == list(range(1, 1702))


def test_a_reader_who_leaves_is_let_go_of_at_once(site: Site, session: ToldSession) -> None:
    with site.reading("GET", f"events?session={session.id}"):
        until(lambda: session.readers == 1)
    until(lambda: session.readers == 0, seconds=3)


def test_a_reader_who_does_not_read_is_not_read_for(site: Site, session: ToldSession) -> None:
    session.tell(*(UserSaid(run=str(n), text="x" * 20_000) for n in range(3000)))
    with site.reading("GET", f"events?session={session.id}"):
        until(lambda: session.reads > 0)
        time.sleep(0.5)
        held_back = session.reads
        assert held_back < 15  # of 30: what the sockets take, and one batch
        assert site.get("sessions").status == 200
        assert session.reads == held_back


def test_a_silent_sessions_reader_hears_that_it_is_still_there(tmp_path: Path) -> None:
    session = ToldSession("local", tmp_path / "session")
    heard: list[bytes] = []

    async def follow() -> None:
        silent = asyncio.Event()

        async def receive() -> Message:
            await silent.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            heard.append(message.get("body", b""))
            if b": still here\n\n" in heard:
                silent.set()

        stream = EventStream(session, 0, compress=False, keep_alive_seconds=0.05)  # type: ignore[arg-type]
        await stream({"type": "http"}, receive, send)

    asyncio.run(asyncio.wait_for(follow(), 5))
    assert b": still here\n\n" in heard
    assert session.readers == 0


def test_many_readers_get_the_same(site: Site, session: ToldSession) -> None:
    with (
        site.reading("GET", f"events?session={session.id}&after=1") as one,
        site.reading("GET", f"events?session={session.id}&after=1") as two,
    ):
        until(lambda: session.readers == 2)
        session.tell(*(UserSaid(run=str(n), text=str(n)) for n in range(20)))
        first, second = entries(one), entries(two)
        assert [next(first) for _ in range(20)] == [next(second) for _ in range(20)]


def test_a_run_of_twenty_long_steps_is_less_than_60_kb_on_the_wire(site: Site, session: ToldSession) -> None:
    received = 0
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    text = b""
    headers = {"Accept-Encoding": "gzip"}
    words = ["the", "loss", "of", "a", "model", "falls", "with", "data", "and", "compute", "while", "prices", "rise"]
    with site.reading("GET", f"events?session={session.id}", headers=headers) as response:
        assert response.getheader("content-encoding") == "gzip"
        for step in range(1, 21):
            session.tell(StepStarted(run="r", step=step, model=scenes.MODEL))
            for piece in range(25):  # 200 tokens, 8 gathered at a time
                said = " ".join(words[(step * 7 + piece * 8 + n * n) % len(words)] for n in range(8)) + " "
                session.tell(TextSaid(step=step, text=said))
                while f'"seq":{session.last_seq},'.encode() not in text:  # each comes as a write of its own
                    data = response.read1(65536)
                    received += len(data)
                    text = text[-4000:] + unpack.decompress(data)
            session.tell(scenes.step_end(step))
    assert received < 60_000


def test_each_entry_can_be_read_at_once_when_compressed(site: Site, session: ToldSession) -> None:
    with site.reading("GET", f"events?session={session.id}", headers={"Accept-Encoding": "br, gzip"}) as response:
        unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
        text = b""
        for n in range(5):
            session.tell(UserSaid(run=str(n), text=f"message {n}"))
            while f"message {n}".encode() not in text:
                text += unpack.decompress(response.read1(65536))
