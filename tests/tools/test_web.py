"""What the app reads of the web, and what it refuses to."""

from __future__ import annotations

import gzip
import itertools
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import Receive, Scope, Send

from tests import AT_ONCE
from tests.doubles.hub import FakeHub, Fault
from tools.problem import Problem, Stopped
from tools.services import Places
from tools.web import Gate, Web, is_public


def test_a_page_is_read_whole_and_the_second_time_from_memory(hub: FakeHub) -> None:
    web = Web(hub.places())
    first = web.get(f"{hub.url}/arxiv/html/2601.04242")
    assert first.status == 200
    assert "Easy First" in first.text
    assert web.get(f"{hub.url}/arxiv/html/2601.04242") == first
    assert len(hub.asked) == 1


def test_what_is_kept_is_bounded_in_bytes_and_time(hub: FakeHub) -> None:
    hub.faults.append(Fault("/arxiv/html/", status=200, body=b"x" * 1000))
    web = Web(hub.places(), cache_bytes=4_000)
    for n in (0, 1, 2, 3, 4, 4, 0):
        web.get(f"{hub.url}/arxiv/html/{n}")
    assert len(hub.asked) == 6
    short = Web(hub.places(), cache_seconds=0.0)
    for _ in range(2):
        short.get(f"{hub.url}/arxiv/html/0")
    assert len(hub.asked) == 8


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com",
        "",
        "https://",
        "https://a:b",
    ],
)
def test_a_host_that_is_not_among_the_places_is_refused(url: str) -> None:
    with pytest.raises(Problem):
        Web(Places()).get(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x.pdf",
        "https://localhost/x.pdf",
        "https://169.254.169.254/latest/meta-data/",
        "https://2130706433/x.pdf",
        "https://0x7f.1/x.pdf",
        "https://[::1]/x.pdf",
        "https://[::ffff:10.0.0.1]/x.pdf",
        "https://0.0.0.0/x.pdf",
        "http://93.184.216.34/x.pdf",
        "https://user:secret@93.184.216.34/x.pdf",
    ],
)
def test_an_address_that_is_not_public_is_refused_also_where_anywhere_is_allowed(url: str) -> None:
    with pytest.raises(Problem):
        Web(Places()).get(url, anywhere=True)


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "100.64.0.1", "fe80::1%eth0", "64:ff9b::a00:1", "2002:a00:1::", "ff02::1"]
)
def test_an_address_of_a_private_network_is_known_in_every_disguise(address: str) -> None:
    assert not is_public(address)


def test_a_redirect_to_a_private_address_is_not_followed(hub: FakeHub) -> None:
    hub.faults.append(Fault("/arxiv/pdf/", location="https://169.254.169.254/latest/meta-data/"))
    with pytest.raises(Problem, match="not on the public internet"):
        Web(hub.places()).get(f"{hub.url}/arxiv/pdf/1", anywhere=True)
    with pytest.raises(Problem, match="not a place this tool reads"):
        Web(hub.places()).get(f"{hub.url}/arxiv/pdf/2")


def test_a_circle_of_redirects_ends(hub: FakeHub) -> None:
    hub.faults.append(Fault("/arxiv/pdf/1", location="/arxiv/pdf/1"))
    with pytest.raises(Problem, match="redirects"):
        Web(hub.places()).get(f"{hub.url}/arxiv/pdf/1")


def test_a_redirect_within_a_place_is_followed(hub: FakeHub) -> None:
    hub.faults.append(Fault("/arxiv/html/old", location="/arxiv/html/2601.04242"))
    page = Web(hub.places()).get(f"{hub.url}/arxiv/html/old")
    assert page.url == f"{hub.url}/arxiv/html/2601.04242"


def test_an_answer_over_the_limit_is_refused(hub: FakeHub) -> None:
    with pytest.raises(Problem, match="larger than"):
        Web(hub.places()).get(f"{hub.url}/arxiv/html/2601.04242", limit_bytes=1000)


def test_a_small_answer_that_unpacks_to_a_huge_one_is_refused(hub: FakeHub) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    hub.faults.append(Fault("/arxiv/html/", status=200, body=bomb, headers={"content-encoding": "gzip"}))
    with pytest.raises(Problem, match="larger than"):
        Web(hub.places()).get(f"{hub.url}/arxiv/html/1")


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_an_answer_in_a_broken_or_unknown_encoding_is_a_problem(hub: FakeHub, encoding: str) -> None:
    hub.faults.append(Fault("/arxiv/html/", status=200, body=b"no such thing", headers={"content-encoding": encoding}))
    with pytest.raises(Problem, match="could not be read"):
        Web(hub.places()).get(f"{hub.url}/arxiv/html/1")


def test_a_packed_answer_is_unpacked(hub: FakeHub) -> None:
    packed = gzip.compress(b"hello")
    hub.faults.append(Fault("/arxiv/html/", status=200, body=packed, headers={"content-encoding": "gzip"}))
    assert Web(hub.places()).get(f"{hub.url}/arxiv/html/1").text == "hello"


def test_a_connection_that_breaks_off_is_a_problem(hub: FakeHub) -> None:
    hub.faults.append(Fault("/arxiv/html/", status=200, body=b"x" * 100, cut=True))
    with pytest.raises(Problem, match="could not be read"):
        Web(hub.places()).get(f"{hub.url}/arxiv/html/1")


def test_a_host_that_is_down_is_a_problem() -> None:
    with pytest.raises(Problem, match="could not be read"):
        Web(Places(arxiv_url="http://127.0.0.1:1")).get("http://127.0.0.1:1/html/1")


@pytest.mark.parametrize("fault", [Fault("/", delay=30), Fault("/", status=200, body=b"x" * 1000, drip=0.01)])
def test_stop_ends_a_request_at_once_while_the_host_is_silent_or_slow(hub: FakeHub, fault: Fault) -> None:
    hub.faults.append(fault)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    started = time.monotonic()
    with pytest.raises(Stopped):
        Web(hub.places()).get(f"{hub.url}/arxiv/html/1", check=check)
    assert time.monotonic() - started < AT_ONCE


def test_a_short_throttle_is_waited_for(hub: FakeHub) -> None:
    hub.faults.append(Fault("/arxiv/html/", status=429, headers={"retry-after": "0"}, times=1))
    assert Web(hub.places()).get(f"{hub.url}/arxiv/html/2601.04242").status == 200


def test_a_long_throttle_is_told_and_then_remembered(hub: FakeHub) -> None:
    hub.faults.append(Fault("/arxiv/html/", status=429, headers={"retry-after": "600"}))
    web = Web(hub.places())
    for _ in range(2):
        with pytest.raises(Problem, match="throttled until"):
            web.get(f"{hub.url}/arxiv/html/1")
    assert len(hub.asked) == 1


def test_requests_through_a_gate_keep_their_distance_and_never_overlap(hub: FakeHub) -> None:
    hub.faults.append(Fault("/arxiv/html/", status=200, delay=0.05))
    gate = Gate(0.15)
    webs = [Web(hub.places(), gates={"127.0.0.1": gate}) for _ in range(4)]
    threads = [threading.Thread(target=web.get, args=(f"{hub.url}/arxiv/html/{n}",)) for n, web in enumerate(webs)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = [asked.at for asked in hub.asked]
    assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(times))  # each is answered first
    assert times[-1] - began >= 3 * 0.15


def test_places_come_from_the_environment_and_must_be_addresses() -> None:
    places = Places.from_environ({"ARXIV_URL": "http://127.0.0.1:9/arxiv/", "HF_ENDPOINT": ""})
    assert places.arxiv_url == "http://127.0.0.1:9/arxiv"
    assert places.ar5iv_url == "http://127.0.0.1:9/arxiv/ar5iv"
    assert places.hf_endpoint == "https://huggingface.co"
    assert Places().arxiv_api_url == "https://export.arxiv.org/api/query"
    with pytest.raises(Problem, match="GITHUB_API_URL"):
        Places.from_environ({"GITHUB_API_URL": "api.github.com"})


def test_a_foreign_host_is_asked_at_the_address_that_was_judged_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = _certificate(tmp_path, "papers.example")
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"])[b"host"].decode())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%PDF-"})

    config = uvicorn.Config(app, port=0, ssl_certfile=certificate, ssl_keyfile=key, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    asked: list[str] = []

    async def judged(host: str, port: int) -> str:
        asked.append(host)
        return "127.0.0.1"

    try:
        page = Web(Places(), address_of=judged).get(f"https://papers.example:{port}/x.pdf", anywhere=True)
        with pytest.raises(Problem):  # another name does not fit the certificate
            Web(Places(), address_of=judged).get(f"https://other.example:{port}/x.pdf", anywhere=True)
    finally:
        server.should_exit = True
        thread.join(5)
    assert page.body == b"%PDF-"
    assert asked == ["papers.example", "other.example"]
    assert seen == [f"papers.example:{port}"]


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return folder / "cert.pem", folder / "key.pem"
