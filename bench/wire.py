"""Plain HTTP over a socket: the client must not cost more than what it measures, and every byte is counted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

LONGEST = 2**24  # bytes of an event or a head


async def request(
    port: int, method: str, path: str, *, headers: dict[str, str], body: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Send a request; returns the connection and the head of the answer. Raises RuntimeError for any but 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LONGEST)
    lines = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{method} {path} answered {answer.splitlines()[0].decode()}")
    return reader, writer, answer


async def ask(port: int, path: str, form: object = None) -> Any:
    """GET JSON, or POST a form as JSON as a page of this port does."""
    headers = {"Connection": "close", "Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
    body = b"" if form is None else json.dumps(form).encode()
    reader, writer, _ = await request(port, "GET" if form is None else "POST", path, headers=headers, body=body)
    try:
        return json.loads(await reader.read())
    finally:
        writer.close()
