"""Following a session over server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message

from agent.events import CodeWritten, StepStarted, TextSaid, UserSaid
from agent.journal import Header, Journal
from agent.session import Session
from agent.sessions import Sessions
from agent.settings import Settings
from tests.agent.living import tell
from tests.doubles import scenes
from tests.ui.serving import Caller, Site, listening, serving, until
from ui.login import Login
from ui.routes import PREFIX
from ui.stream import EventStream


class Watched(Journal):
    """A journal that counts who follows it and how often it is read."""

    readers = reads = 0

    def read(self, after: int, limit: int = 500) -> list[tuple[int, bytes]]:
        self.reads += 1
        return super().read(after, limit)

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        end = super().subscribe(wake)
        self.readers += 1

        def leave() -> None:
            self.readers -= 1
            end()

        return leave


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with closing(Sessions(settings)) as sessions, serving(sessions, Login()) as site:
        yield site


@pytest.fixture
def session(site: Site) -> Session:
    return site.sessions.create("local")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Watched]:
    header = Header(session="watched", owner="local", created=0.0)
    with closing(Watched(tmp_path / "watched.jsonl", header)) as journal:
        yield journal


@pytest.fixture
def stream(journal: Watched) -> Iterator[Caller]:
    """Where the journal is told from, compressed for who asks for that."""

    def answer(request: Request) -> Response:
        compress = "gzip" in request.headers.get("accept-encoding", "")
        return EventStream(journal, 0, compress)  # type: ignore[arg-type]  # a session's part that it reads

    with listening(Starlette(routes=[Route(f"{PREFIX}/events", answer)])) as port:
        yield Caller(port)


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


def programs(first: int, last: int, size: int = 1) -> list[CodeWritten]:
    """Events that nobody waits for to be on the disk."""
    return [CodeWritten(step=n, code=f"program {n};" * size) for n in range(first, last)]


def test_a_reader_gets_what_was_and_then_what_comes(site: Site, session: Session) -> None:
    session.set_budget(5_000_000)
    with site.reading("GET", f"events?session={session.id}&after=0") as response:
        assert response.getheader("content-type", "").startswith("text/event-stream")
        assert response.getheader("cache-control") == "no-store"
        assert response.getheader("x-accel-buffering") == "no"
        told = entries(response)
        assert next(told)["event"]["kind"] == "budget_set"
        tell(session, UserSaid(run="r", text="hello"))
        assert next(told)["event"] == {"kind": "user_said", "run": "r", "text": "hello", "files": []}


def test_a_reader_goes_on_after_the_last_it_saw(site: Site, session: Session) -> None:
    tell(session, *programs(0, 10))
    with site.reading("GET", f"events?session={session.id}&after=8") as response:
        assert next(entries(response))["seq"] == 9
    with site.reading("GET", f"events?session={session.id}&after=2", headers={"Last-Event-ID": "9"}) as response:
        assert next(entries(response))["seq"] == 10


@pytest.mark.parametrize("after", ["-1", "x", "1e3", "٣", "9" * 30])
def test_a_place_to_go_on_from_is_a_number(site: Site, session: Session, after: str) -> None:
    assert site.get(f"events?session={session.id}", Last_Event_ID=after.encode().decode("latin-1")).status == 422


def test_asking_only_for_the_head_follows_nothing(site: Site, session: Session) -> None:
    connection = HTTPConnection("127.0.0.1", site.port, timeout=10)
    with closing(connection):
        for method, path in (("HEAD", f"events?session={session.id}"), ("GET", "sessions")):
            connection.request(method, f"{PREFIX}/{path}")  # a stream without an end would hold the connection
            with connection.getresponse() as response:
                assert response.status == 200
                response.read()


def test_a_long_history_comes_whole_and_in_order(journal: Watched, stream: Caller) -> None:
    for event in programs(0, 1700):
        journal.append(event)
    with stream.reading("GET", "events") as response:
        told = entries(response)
        assert [next(told)["seq"] for _ in range(1700)] == list(range(1, 1701))


def test_a_reader_who_leaves_is_let_go_of_at_once(journal: Watched, stream: Caller) -> None:
    with stream.reading("GET", "events"):
        until(lambda: journal.readers == 1)
    until(lambda: journal.readers == 0)


def test_a_reader_who_does_not_read_is_not_read_for(journal: Watched, stream: Caller) -> None:
    for event in programs(0, 3000, size=1_500):
        journal.append(event)
    with stream.reading("GET", "events"):
        until(lambda: journal.reads > 0)
        held_back = 0
        while held_back != journal.reads:
            held_back = journal.reads
            time.sleep(0.3)
        assert held_back < 15  # of 30: what the sockets take, and one batch
        assert stream.get("nothing").status == 404  # others are answered
        assert journal.reads == held_back


def test_a_silent_sessions_reader_hears_that_it_is_still_there(journal: Watched) -> None:
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

        stream = EventStream(journal, 0, compress=False, keep_alive_seconds=0.05)  # type: ignore[arg-type]
        await stream({"type": "http"}, receive, send)

    asyncio.run(asyncio.wait_for(follow(), 20))
    assert b": still here\n\n" in heard
    assert journal.readers == 0


def test_many_readers_get_the_same(journal: Watched, stream: Caller) -> None:
    with stream.reading("GET", "events") as one, stream.reading("GET", "events") as two:
        until(lambda: journal.readers == 2)
        for event in programs(0, 20):
            journal.append(event)
        first, second = entries(one), entries(two)
        assert [next(first) for _ in range(20)] == [next(second) for _ in range(20)]


def test_a_run_of_twenty_long_steps_is_less_than_60_kb_on_the_wire(journal: Watched, stream: Caller) -> None:
    received = 0
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    text = b""
    words = ["the", "loss", "of", "a", "model", "falls", "with", "data", "and", "compute", "while", "prices", "rise"]
    with stream.reading("GET", "events", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.getheader("content-encoding") == "gzip"
        for step in range(1, 21):
            journal.append(StepStarted(run="r", step=step, model=scenes.MODEL))
            for piece in range(25):  # 200 tokens, 8 gathered at a time
                said = " ".join(words[(step * 7 + piece * 8 + n * n) % len(words)] for n in range(8)) + " "
                journal.append(TextSaid(step=step, text=said))
                while f'"seq":{journal.last_seq},'.encode() not in text:  # each comes as a write of its own
                    data = response.read1(65536)
                    received += len(data)
                    text = text[-4000:] + unpack.decompress(data)
            journal.append(scenes.step_end(step))
    assert received < 60_000


def test_each_entry_can_be_read_at_once_when_compressed(site: Site, session: Session) -> None:
    with site.reading("GET", f"events?session={session.id}", headers={"Accept-Encoding": "br, gzip"}) as response:
        unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
        text = b""
        for event in programs(0, 5):
            tell(session, event)
            while f"program {event.step};".encode() not in text:
                text += unpack.decompress(response.read1(65536))
