"""What a worker may say, and nothing else. The worker is not trusted: every frame is checked against these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from agent.sandbox.protocol import FROM_WORKER, HEADER


class Broken(Exception):
    """The worker said something that no worker of ours says, or says nothing any more."""


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


class Done(_Message):
    """The step is over and its variables are saved."""

    type: Literal["done"]
    value: str
    error: str
    final: bool
    answer: JsonValue


Message = Annotated[Hello | Ready | CallAsked | Done, Field(discriminator="type")]
_messages: TypeAdapter[Hello | Ready | CallAsked | Done] = TypeAdapter(Message)


class Splitter:
    """Bytes in any pieces -> messages, in order. Holds at most one frame of FROM_WORKER bytes."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Hello | Ready | CallAsked | Done]:
        """Raises Broken for an oversize frame and for anything that is not one of the messages."""
        self._bytes += data
        while len(self._bytes) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._bytes)
            if length > FROM_WORKER:
                raise Broken(f"a frame of {length:,} bytes")
            end = HEADER.size + length
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[HEADER.size : end])
            del self._bytes[:end]
            try:
                yield _messages.validate_json(body)
            except ValidationError as error:
                raise Broken(f"a message of a wrong form ({error.errors()[0]['type']})") from None
