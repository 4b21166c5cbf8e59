"""What a worker may say, and nothing else. The worker is not trusted: every frame is checked against these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from agent.sandbox.inside.protocol import FROM_WORKER, HEADER
from agent.sandbox.seal import Slot


class WorkerBroken(Exception):
    """The worker said something that no worker of ours says, or says nothing any more."""


_ITEMS = 100_000  # values in one message: as Python objects they take a hundred times the bytes of "[],"
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_SHOWN = 1 << 20  # characters of a value or an error; a worker of ours sends far fewer


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Hello(_Message):
    """The limits are in force; nothing of the session is loaded yet."""

    type: Literal["hello"]
    facts: dict[str, JsonValue]


class LostName(_Message):
    name: str = Field(max_length=1000)
    why: str = Field(max_length=1000)


class Ready(_Message):
    """The variables of the session are loaded, except those in lost."""

    type: Literal["ready"]
    lost: tuple[LostName, ...] = Field(max_length=10_000)


class CallAsked(_Message):
    type: Literal["call"]
    id: int = Field(ge=0, lt=2**53)
    name: str = Field(max_length=200)
    args: tuple[JsonValue, ...]
    kwargs: dict[str, JsonValue]


class StepDone(_Message):
    """The step is over. saved: in which file its variables are; None: they could not be saved."""

    type: Literal["done"]
    value: str = Field(max_length=_SHOWN)
    error: str = Field(max_length=_SHOWN)
    final: bool
    answer: JsonValue
    saved: Slot | None


Message = Annotated[Hello | Ready | CallAsked | StepDone, Field(discriminator="type")]
_messages: TypeAdapter[Hello | Ready | CallAsked | StepDone] = TypeAdapter(Message)


class Splitter:
    """Bytes in any pieces -> messages, in order. Holds at most one frame of FROM_WORKER bytes."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Hello | Ready | CallAsked | StepDone]:
        """Raises WorkerBroken for an oversize frame and for anything that is not one of the messages."""
        self._bytes += data
        while len(self._bytes) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._bytes)
            if length > FROM_WORKER:
                raise WorkerBroken(f"a frame of {length:,} bytes")
            end = HEADER.size + length
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[HEADER.size : end])
            del self._bytes[:end]
            if _items(body) > _ITEMS:
                raise WorkerBroken(f"a message of more than {_ITEMS:,} values")
            try:
                yield _messages.validate_json(body)
            except ValidationError as error:
                raise WorkerBroken(f"a message of a wrong form ({error.errors()[0]['type']})") from None


def _items(body: bytes) -> int:
    """About how many values are in JSON, before any of them is made."""
    quick = sum(map(body.count, (b",", b"[", b"{")))
    if quick <= _ITEMS:
        return quick
    texts = (body.count(b'"') - body.count(b'\\"')) // 2
    if texts > _ITEMS:  # each a value or a name; to take them all out would cost what this is to save
        return texts
    return sum(map(_TEXT.sub(b"", body).count, (b",", b"[", b"{")))
