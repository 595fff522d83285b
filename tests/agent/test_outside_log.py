"""Logs of other CI systems: fetched from where the settings allow it, and from nowhere else."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.outside_log import OutsideLogs
from agent.errors import LogUnreadable
from agent.htmltext import HtmlText
from agent.joblog import JobLog
from agent.outside import allowed, place, prefix

CI = prefix("https://ci.example.com/logs/")


# --- which addresses


@pytest.mark.parametrize(
    "url",
    [
        "https://ci.example.com/logs/7",
        "https://CI.example.com:443/logs/7?raw=1",
        "https://ci.example.com./logs/a%20b/log.txt",
        "https://ci.example.com/logs",
    ],
)
def test_what_is_below_the_prefix_may_be_read(url: str):
    assert allowed(place(url), [CI]) == CI


@pytest.mark.parametrize(
    "url",
    [
        "https://ci.example.com/logsecret/7",
        "https://ci.example.com/",
        "http://ci.example.com/logs/7",
        "https://ci.example.com:8443/logs/7",
        "https://ci.example.com.evil.org/logs/7",
        "https://evil.org/logs/7?https://ci.example.com/logs/",
        "https://169.254.169.254/logs/",
    ],
)
def test_what_is_beside_it_may_not(url: str):
    assert allowed(place(url), [CI]) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://ci.example.com@evil.org/logs/7",
        "https://evil.org\\@ci.example.com/logs/7",
        "https://ci.example.com/logs/../admin",
        "https://ci.example.com/logs/%2e%2e/admin",
        "https://ci.example.com/logs/%2E./admin",
        "https://ci.example.com/logs/..;/admin",
        "https://ci.example.com/logs/..%2fadmin",
        "https://ci.example.com/logs/%252e%252e/admin",
        "https://ci.example.com/logs//evil",
        "https://ci.example.com/logs/\r\nHost: evil",
        "https://ci.example.com/logs/ 7",
        "https://ci.examp%6ce.com/logs/7",
        "https://[fe80::1%25eth0]/logs/7",
        "https://сi.example.com/logs/7",
        "https://ci.example.com:99999/logs/7",
        "https:///logs/7",
        "file:///etc/passwd",
        "gopher://ci.example.com/logs/7",
        "//ci.example.com/logs/7",
        "https://ci.example.com/logs/" + "7" * 3000,
    ],
)
def test_what_can_be_read_in_two_ways_is_no_address(url: str):
    with pytest.raises(ValueError, match=r"\w"):
        place(url)


@pytest.mark.parametrize(
    "url", ["http://ci.example.com/", "http://10.0.0.1/", "https://ci.example.com/?a", "ci/", ""]
)
def test_what_is_no_prefix(url: str):
    with pytest.raises(ValueError, match=r"\w"):
        prefix(url)


@given(st.text(max_size=80))
def test_nothing_but_the_prefix_s_own_host_is_ever_asked(text: str):
    for url in (text, f"https://{text}", f"https://ci.example.com/logs/{text}"):
        try:
            found = allowed(place(url), [CI])
        except ValueError:
            continue
        assert found is None or (place(url).host, place(url).port) == ("ci.example.com", 443)


# --- what is fetched


@dataclass(kw_only=True)
class Server:
    url: str = ""
    answer: Callable[[web.Request], Any] = lambda request: web.Response(text="calc.py: wrong\n")
    seen: list[web.Request] = field(default_factory=list[web.Request])


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()

    async def handle(request: web.Request) -> web.StreamResponse:
        made.seen.append(request)
        found = made.answer(request)
        return await found if asyncio.iscoroutine(found) else found

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def fetched(url: str, *below: str, seconds: float = 5.0) -> str:
    got: list[bytes] = []
    await OutsideLogs(seconds=seconds).read(url, [prefix(each) for each in below], got.append)
    return b"".join(got).decode()


async def refused(url: str, *below: str, seconds: float = 5.0) -> str:
    with pytest.raises(LogUnreadable) as caught:
        await fetched(url, *below, seconds=seconds)
    assert str(caught.value).endswith(".")
    return str(caught.value)


async def test_a_plain_log_is_read_without_any_credential(server: Server, monkeypatch: Any):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    text = await fetched(f"{server.url}/logs/7?raw=1", f"{server.url}/logs")
    assert text == "calc.py: wrong\n"
    (request,) = server.seen
    assert request.raw_path == "/logs/7?raw=1"
    names = {name.lower() for name in request.headers}
    assert names <= {"host", "accept", "accept-encoding", "user-agent"}


async def test_a_page_is_read_as_text(server: Server):
    page = "<html><head><style>p{}</style></head><p>a &lt; b<br>calc.py &amp; co</p></html>"
    server.answer = lambda _: web.Response(text=page, content_type="text/html")
    text = await fetched(f"{server.url}/7", server.url)
    assert [line for line in text.splitlines() if line] == ["a < b", "calc.py & co"]


async def test_without_its_prefix_nothing_is_asked(server: Server):
    assert "not among those" in await refused(f"{server.url}/7")
    assert "not among those" in await refused(f"{server.url}/7", f"{server.url}/logs/")
    assert "names a user" in await refused(server.url.replace("//", "//u:p@"), server.url)
    assert server.seen == []


async def test_a_redirect_stays_below_its_prefix(server: Server):
    to = {
        "/logs/1": "/logs/2",
        "/logs/3": "/admin",
        "/logs/4": "http://169.254.169.254/latest/meta-data/",
        "/logs/5": "/logs/../admin",
        "/logs/6": "//evil.example/logs/2",
        "/logs/7": "/logs/7",
        "/other/1": "/logs/2",
    }

    def answer(request: web.Request) -> web.Response:
        if where := to.get(request.path):
            return web.Response(status=302, headers={"Location": where})
        return web.Response(text="secret\n" if request.path == "/admin" else "log\n")

    server.answer = answer
    below = (f"{server.url}/logs/", f"{server.url}/other/")
    assert await fetched(f"{server.url}/logs/1", *below) == "log\n"
    for number in (3, 4, 6):
        assert "leads away" in await refused(f"{server.url}/logs/{number}", *below)
    assert "leads away" in await refused(f"{server.url}/other/1", *below)  # to another prefix
    assert "redirects" in await refused(f"{server.url}/logs/7", *below)
    await refused(f"{server.url}/logs/5", *below)
    assert "/admin" not in {request.path for request in server.seen}


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "169.254.169.254", "::1", "fe80::1", "fd00:ec2::254", "100.100.100.200"),
        *("0.0.0.0", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "224.0.0.1"),
    ],
)
async def test_a_name_that_leads_to_this_machine_or_its_credentials_is_not_followed(
    server: Server, monkeypatch: Any, address: str
):
    """The port is one that answers, so that a connection would be seen."""
    port = server.url.rpartition(":")[2]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", int(port)))
    bad = (family, socket.SOCK_STREAM, 6, "", (address, int(port)))
    loop = asyncio.get_running_loop()

    async def resolved(*_: Any, **__: Any) -> list[Any]:
        return [good, bad]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    url = f"https://ci.example.com:{port}/logs/7"
    told = await refused(url, f"https://ci.example.com:{port}/logs/")
    assert told.startswith("Its log is not fetched: the name leads ")
    assert server.seen == []


@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "127.1", "0x7f.0.0.1"])
async def test_an_address_in_disguise_is_a_name_that_leads_here(server: Server, host: str):
    port = server.url.rpartition(":")[2]
    await refused(f"https://{host}:{port}/", f"https://{host}:{port}/")
    assert server.seen == []


async def test_a_body_that_does_not_end_is_given_up(server: Server):
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        while True:
            await answer.write(b"calc.py: wrong\n" * 1000)
            await asyncio.sleep(0.01)

    server.answer = endless
    assert "not there in full" in await refused(f"{server.url}/7", server.url, seconds=0.5)


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Content-Type": "text/plain", "Content-Encoding": "gzip"}, 200, "compressed"),
        ({"Content-Type": "application/octet-stream"}, 200, "neither plain text"),
        ({"Content-Type": "text/plain"}, 403, "HTTP status 403"),
        ({"Content-Type": "text/plain"}, 302, "HTTP status 302"),
    ],
)
async def test_what_is_no_log_is_left(
    server: Server, headers: dict[str, str], status: int, said: str
):
    body = gzip.compress(b"x" * 1_000_000)
    server.answer = lambda _: web.Response(body=body, headers=headers, status=status)
    assert said in await refused(f"{server.url}/7", server.url)


async def test_a_server_that_is_not_there_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        assert "cannot be fetched" in await refused(url, url)


async def test_a_large_log_goes_through_the_same_reading_as_gitlab_s(server: Server):
    async def large(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        await answer.write(b"$ make test\n")
        for _ in range(20):
            await answer.write(b"ok\n" * 100_000)
        await answer.write(b'  File "calc.py", line 2\nE   assert 1 == 2\n')
        await answer.write_eof()
        return answer

    server.answer = large
    log = JobLog()
    await OutsideLogs().read(f"{server.url}/7", [prefix(server.url)], log.feed)
    found = log.excerpt(2000)
    assert "E   assert 1 == 2" in found.bare
    assert found.lines == 2_000_003


# --- pages


@given(
    st.lists(
        st.sampled_from(
            [
                *("<b>", "</b>", "<!-- x > y -->", "<script>if (a<b) c</script>", "<br>", "&amp;"),
                *("<p class='x'>", "<STYLE>p{}</STYLE>", "a", " < ", "&", "é", "<", "<1", "\n"),
            ]
        ),
        max_size=12,
    ),
    st.integers(1, 9),
)
def test_where_a_page_is_cut_makes_no_difference(parts: list[str], size: int):
    page = "".join(parts).encode()
    whole, pieces = HtmlText(), HtmlText()
    expected = whole.feed(page) + whole.end()
    got = b"".join(pieces.feed(page[n : n + size]) for n in range(0, len(page), size))
    assert got + pieces.end() == expected


def test_what_a_page_leaves_out_is_not_kept():
    page = HtmlText()
    for start in (b"<!--", b"<script>"):
        page = HtmlText()
        assert page.feed(start) == b""
        for _ in range(100):
            assert page.feed(b"x" * 10_000) == b""
        assert len(page._rest) < 50
