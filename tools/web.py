"""Every outgoing request but the Hub's: which hosts, how much, how long, how often. No token ever goes through here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import socket
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx2

from tools.problem import Problem
from tools.services import Places as Places
from tools.services import origin

MB = 1_000_000
SECONDS_IN_ALL = 60.0  # for one request, redirects included, waiting for the gate not
SECONDS_OF_SILENCE = 15.0
SECONDS_AT_THE_GATE = 20.0
LONGEST_WAIT = 6.0  # seconds a 429 may hold a tool up
REDIRECTS = 5
_USER_AGENT = "ml-intern (https://huggingface.co/spaces)"
_T = TypeVar("_T")


@dataclass(frozen=True)
class WebPage:
    """What a URL answered. url is the last one after redirects; body is whole, never cut."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8; what is no UTF-8 becomes U+FFFD. The sender's word on its encoding is not trusted."""
        return self.body.decode("utf-8", errors="replace")


class Gate:
    """One request at a time, and no two starts closer than this many seconds. For all threads of the process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._open_at = 0.0

    @contextlib.asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(SECONDS_AT_THE_GATE):
                await self._turn.acquire()
        except TimeoutError:
            raise Problem(f"{host} is being asked by others all the time.", "Try again in a minute.") from None
        try:
            await asyncio.sleep(max(0.0, self._open_at - time.monotonic()))
            self._open_at = time.monotonic() + self._seconds
            yield
        finally:
            self._turn.release()


_ARXIV = Gate(3.0)
GATES: Mapping[str, Gate] = {"arxiv.org": _ARXIV, "export.arxiv.org": _ARXIV}
"""arXiv's terms of use: one request per three seconds, one connection, for all its old APIs together."""


@dataclass
class _Cache:
    """Answers of the last minutes, by bytes. The one used longest ago goes first."""

    seconds: float
    bytes_in_all: int
    _pages: OrderedDict[str, tuple[float, WebPage]] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: str) -> WebPage | None:
        with self._lock:
            at, page = self._pages.get(key, (0.0, None))
            if page is None or time.monotonic() - at > self.seconds:
                return None
            self._pages.move_to_end(key)
            return page

    def put(self, key: str, page: WebPage) -> None:
        if len(page.body) > self.bytes_in_all // 4:
            return
        with self._lock:
            if old := self._pages.pop(key, None):
                self._bytes -= len(old[1].body)
            self._pages[key] = (time.monotonic(), page)
            self._bytes += len(page.body)
            while self._bytes > self.bytes_in_all:
                _, (_, gone) = self._pages.popitem(last=False)
                self._bytes -= len(gone.body)


async def public_address(host: str, port: int) -> str:
    """Look a host up and return an address that is on the public internet. Raises Problem when any of them is not."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Problem(f"There is no host {host!r}.", "Check the address.") from None
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not is_public(address):
            raise Problem(f"{host!r} is not on the public internet.", "Upload the file instead.")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also when an IPv4 address hides in an IPv6 one."""
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in ipaddress.ip_network("64:ff9b::/96") or ip in ipaddress.ip_network("64:ff9b:1::/48"):
            return False
        ip = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None) or ip
    return ip.is_global and not ip.is_multicast


class Web:
    """A polite and careful reader of the web. Safe to share between threads and between users.

    address_of: gives the address to connect to for a host that is not among the places, or raises Problem.
    cache_seconds, cache_bytes: how long and how much of what was read with status 200 is kept in memory.
    """

    def __init__(
        self,
        places: Places,
        *,
        gates: Mapping[str, Gate] = GATES,
        address_of: Callable[[str, int], Awaitable[str]] = public_address,
        cache_seconds: float = 600.0,
        cache_bytes: int = 64 * MB,
    ) -> None:
        self.places = places
        self._gates = gates
        self._address_of = address_of
        self._cache = _Cache(cache_seconds, cache_bytes)
        self._throttled_until: dict[str, float] = {}  # host -> Unix time
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(SECONDS_OF_SILENCE, connect=10.0),
            headers={"user-agent": _USER_AGENT, "accept-encoding": "gzip"},
            follow_redirects=False,
        )

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        accept: str = "",
        limit_bytes: int = 25 * MB,
        anywhere: bool = False,
        fresh: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> WebPage:
        """Read a URL to its end; any status but 429 is returned for the caller to judge.

        anywhere: also hosts that are not among the places, by https and at public addresses only.
        fresh: do not answer from memory; for those who keep what they read themselves.
        check: called often while waiting; what it raises ends the request at once.
        Raises Problem when the address is not allowed, the host unreachable or silent, the answer too big or too slow,
        or when the host says that it is asked too much and a short wait does not help.
        """
        full = str(httpx2.URL(url, params=dict(params))) if params else url
        key = f"{accept} {full}"
        if not fresh and (page := self._cache.get(key)):
            return page
        page = _run(self._get(full, accept, limit_bytes, anywhere=anywhere), check)
        if page.status == 200 and not fresh:
            self._cache.put(key, page)
        return page

    def tell(self, url: str, said: Mapping[str, Any]) -> int:
        """Post JSON to an address that the operator named; returns the status. What is answered is not read.

        Raises Problem when nobody answers. The address may be a secret and is in no message.
        """
        return _run(self._tell(url, said), lambda: None)

    async def _tell(self, url: str, said: Mapping[str, Any]) -> int:
        try:
            async with (
                asyncio.timeout(SECONDS_OF_SILENCE),
                self._client.stream("POST", url, json=dict(said)) as response,
            ):
                return response.status_code
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, UnicodeError, ValueError) as error:
            raise Problem(f"The webhook could not be reached ({type(error).__name__}).", "Check WEBHOOK_URL.") from None

    async def _get(self, url: str, accept: str, limit_bytes: int, *, anywhere: bool) -> WebPage:
        host = urlsplit(url).hostname or ""
        for last in (False, True):
            self._refuse_while_throttled(host)
            gate = self._gates.get(host)
            async with gate.turn(host) if gate else contextlib.nullcontext():
                page = await self._follow(url, accept, limit_bytes, anywhere=anywhere)
            if page.status != 429:
                return page
            wait = _retry_after(page.headers)
            if last or wait > LONGEST_WAIT:
                self._throttled_until[host] = time.time() + wait
                self._refuse_while_throttled(host)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    def _refuse_while_throttled(self, host: str) -> None:
        until = self._throttled_until.get(host, 0.0)
        if until > time.time():
            at = time.strftime("%H:%M:%S", time.gmtime(until))
            raise Problem(f"{host} is throttled until {at} UTC.", "Use another source, or try again after that.")

    async def _follow(self, url: str, accept: str, limit_bytes: int, *, anywhere: bool) -> WebPage:
        host = urlsplit(url).hostname or ""
        try:
            async with asyncio.timeout(SECONDS_IN_ALL):
                for _ in range(REDIRECTS + 1):
                    page = await self._ask(url, accept, limit_bytes, anywhere=anywhere)
                    if page.status not in (301, 302, 303, 307, 308) or "location" not in page.headers:
                        return page
                    url = urljoin(url, page.headers["location"])
            raise Problem(f"{host} sent more than {REDIRECTS} redirects.", "Check the address.")
        except (TimeoutError, httpx2.TimeoutException):
            raise Problem(f"{host} did not answer in time.", "Try again later, or use another source.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError, zlib.error) as error:
            raise Problem(f"{host} could not be read ({type(error).__name__}).", "Try another source.") from None

    async def _ask(self, url: str, accept: str, limit_bytes: int, *, anywhere: bool) -> WebPage:
        request = await self._request(url, accept, anywhere)
        response = await self._client.send(request, stream=True)
        try:
            headers = {name.lower(): value for name, value in response.headers.items()}
            unpack = _unpacker(headers.get("content-encoding", ""))
            body = bytearray()
            async for chunk in response.aiter_raw(65536):
                body += unpack(chunk, limit_bytes + 1 - len(body))
                if len(body) > limit_bytes:
                    size = f"{limit_bytes / MB:.1f} MB"
                    raise Problem(f"{url} is larger than {size}.", "Use another source, or a smaller file.")
        finally:
            await response.aclose()
        return WebPage(url, response.status_code, headers, bytes(body))

    async def _request(self, url: str, accept: str, anywhere: bool) -> httpx2.Request:
        """Judge the URL, and pin a foreign host to the address that was judged, so that a second lookup cannot differ."""
        try:
            scheme, host, port = origin(url)
        except ValueError:
            raise Problem(f"{url!r} is no web address.", "Check it.") from None
        headers = {"accept": accept} if accept else {}
        if (scheme, host, port) in self.places.origins:
            return self._client.build_request("GET", url, headers=headers)
        if not anywhere:
            raise Problem(f"{host or url!r} is not a place this tool reads.", "Give a paper's id, or an https PDF.")
        if scheme != "https" or not host or "@" in urlsplit(url).netloc:
            raise Problem(f"{url!r} is not allowed.", "Use a plain https address.")
        address = await self._address_of(host, port)
        # A pinned connection is not kept: another host at the same address must not find it in the pool.
        headers |= {"host": urlsplit(url).netloc, "connection": "close"}
        pinned = httpx2.URL(url).copy_with(host=address)
        return self._client.build_request("GET", pinned, headers=headers, extensions={"sni_hostname": host})


def _unpacker(encoding: str) -> Callable[[bytes, int], bytes]:
    """A function (packed, most) -> unpacked that never makes more than most bytes: a small answer may unpack to a huge one."""
    if encoding in ("", "identity"):
        return lambda packed, _most: packed
    if encoding == "gzip":
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress
    raise httpx2.DecodingError(f"unasked encoding {encoding!r}")


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a 429 asks to wait; a minute when it does not say, never more than an hour."""
    said = headers.get("retry-after", "")
    return min(float(said), 3600.0) if said.isascii() and said.isdigit() else 60.0


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """The one event loop, in its own thread, that all requests of the process run in."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="web", daemon=True).start()
    return loop


def _run(work: Coroutine[Any, Any, _T], check: Callable[[], None]) -> _T:
    """Wait for work in the loop; when check raises, the work is cancelled and its connection closed."""
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        while True:
            check()
            try:
                return future.result(timeout=0.05)
            except NotYet:
                if future.done():  # the work's own TimeoutError, not ours
                    raise
    finally:
        future.cancel()
