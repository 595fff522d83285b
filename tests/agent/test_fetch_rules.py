"""What passes the proxy of the fetch phase, decided on bytes, names and addresses."""

from __future__ import annotations

import ssl

import pytest

from agent.adapters.fetch_rules import (
    Denied,
    Endpoint,
    Scope,
    admit,
    parse,
    permit,
    server_name,
)

ENDPOINTS = (
    Endpoint(host="index.example"),
    Endpoint(host=".files.example"),
    Endpoint(host="mirror.example", port=8443, scope=Scope.ANY),
    Endpoint(host="plain.example", port=80, tls=False),
    Endpoint(host="127.0.0.1", port=3141, tls=False, scope=Scope.ANY),
)


def decide(line: bytes, *headers: bytes) -> Endpoint:
    return permit(parse(b"\r\n".join([line, *headers]) + b"\r\n\r\n"), ENDPOINTS)


@pytest.mark.parametrize(
    ("line", "host"),
    [
        (b"CONNECT index.example:443 HTTP/1.1", "index.example"),
        (b"CONNECT INDEX.Example:443 HTTP/1.1", "index.example"),
        (b"CONNECT a.b.files.example:443 HTTP/1.1", ".files.example"),
        (b"CONNECT mirror.example:8443 HTTP/1.1", "mirror.example"),
        (b"GET http://plain.example/simple/x/ HTTP/1.1", "plain.example"),
        (b"HEAD http://127.0.0.1:3141/simple/ HTTP/1.1", "127.0.0.1"),
    ],
)
def test_what_is_configured_passes(line: bytes, host: str):
    assert decide(line).host == host


@pytest.mark.parametrize(
    "line",
    [
        # names that only look like one of the list
        b"CONNECT index.example.evil.test:443 HTTP/1.1",
        b"CONNECT evilindex.example:443 HTTP/1.1",
        b"CONNECT evilfiles.example:443 HTTP/1.1",
        b"CONNECT files.example:443 HTTP/1.1",
        b"CONNECT .files.example:443 HTTP/1.1",
        b"CONNECT a..files.example:443 HTTP/1.1",
        b"CONNECT -a.files.example:443 HTTP/1.1",
        b"CONNECT a_b.files.example:443 HTTP/1.1",
        b"CONNECT 10.files.example.:443 HTTP/1.1",
        b"CONNECT index.example.:443 HTTP/1.1",
        b"CONNECT evil.test:443 HTTP/1.1",
        # characters that resolvers and parsers read differently
        b"CONNECT evil.test\x00.files.example:443 HTTP/1.1",
        b"CONNECT evil.test%00.files.example:443 HTTP/1.1",
        b"CONNECT evil.test#.files.example:443 HTTP/1.1",
        b"CONNECT evil.test?.files.example:443 HTTP/1.1",
        b"CONNECT evil.test/.files.example:443 HTTP/1.1",
        b"CONNECT evil.test\\.files.example:443 HTTP/1.1",
        b"CONNECT user@index.example:443 HTTP/1.1",
        b"CONNECT index.example:443@evil.test:443 HTTP/1.1",
        "CONNECT ındex.example:443 HTTP/1.1".encode(),
        b"CONNECT index.example:443 HTTP/1.1\nX: y",
        b"CONNECT  index.example:443 HTTP/1.1",
        b"CONNECT\tindex.example:443 HTTP/1.1",
        # ports
        b"CONNECT index.example:80 HTTP/1.1",
        b"CONNECT index.example:22 HTTP/1.1",
        b"CONNECT index.example:0443x HTTP/1.1",
        b"CONNECT index.example: 443 HTTP/1.1",
        b"CONNECT index.example:-443 HTTP/1.1",
        b"CONNECT index.example HTTP/1.1",
        b"CONNECT mirror.example:443 HTTP/1.1",
        b"CONNECT 127.0.0.1:3141 HTTP/1.1",
        # addresses in every notation
        b"CONNECT 169.254.169.254:443 HTTP/1.1",
        b"CONNECT 2130706433:443 HTTP/1.1",
        b"CONNECT 0x7f000001:443 HTTP/1.1",
        b"CONNECT 0177.0.0.1:443 HTTP/1.1",
        b"CONNECT 127.1:443 HTTP/1.1",
        b"CONNECT [::1]:443 HTTP/1.1",
        b"CONNECT [::ffff:127.0.0.1]:443 HTTP/1.1",
        b"GET http://127.0.0.1/simple/ HTTP/1.1",
        b"GET http://127.0.0.1:3142/simple/ HTTP/1.1",
        b"GET http://localhost:3141/simple/ HTTP/1.1",
        # other methods, schemes and protocols
        b"GET http://index.example/ HTTP/1.1",
        b"GET https://index.example/ HTTP/1.1",
        b"GET ftp://plain.example/ HTTP/1.1",
        b"GET /simple/ HTTP/1.1",
        b"GET http://plain.example@evil.test/ HTTP/1.1",
        b"GET http://user:pw@plain.example/ HTTP/1.1",
        b"GET http://plain.example\\@evil.test/ HTTP/1.1",
        b"GET http://plain.example/a b HTTP/1.1",
        b"POST http://plain.example/ HTTP/1.1",
        b"PUT http://plain.example/ HTTP/1.1",
        b"OPTIONS http://plain.example/ HTTP/1.1",
        b"connect index.example:443 HTTP/1.1",
        b"CONNECT index.example:443 HTTP/2.0",
        b"CONNECT index.example:443",
        b"PRI * HTTP/2.0",
        b"\x05\x01\x00",
        b"",
    ],
)
def test_bypasses_are_refused(line: bytes):
    with pytest.raises(Denied):
        decide(line)


@pytest.mark.parametrize(
    "header", [b"no colon", b" folded: x", b"a b: x", b"a: \x00", b": x", b"a\r: x", b"a: x\ry"]
)
def test_malformed_headers_are_refused(header: bytes):
    with pytest.raises(Denied):
        decide(b"CONNECT index.example:443 HTTP/1.1", header)


def test_a_plain_request_is_written_anew():
    asked = parse(
        b"GET http://plain.example/simple/x/ HTTP/1.1\r\nHost: evil.test\r\nAccept: text/html\r\n"
        b"Content-Length: 40\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
    )
    assert asked.head == (
        b"GET /simple/x/ HTTP/1.1\r\nHost: plain.example\r\nConnection: close\r\n"
        b"Accept: text/html\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("address", "least"),
    [
        ("1.1.1.1", Scope.PUBLIC),
        ("2606:4700:4700::1111", Scope.PUBLIC),
        ("10.0.0.1", Scope.NETWORK),
        ("192.168.1.1", Scope.NETWORK),
        ("100.64.0.1", Scope.NETWORK),
        ("203.0.113.7", Scope.NETWORK),
        ("fd00::1", Scope.NETWORK),
        ("::ffff:10.0.0.1", Scope.NETWORK),
        ("2002:a00:1::", Scope.NETWORK),
        ("64:ff9b::a00:1", Scope.NETWORK),
        ("127.0.0.1", Scope.ANY),
        ("::1", Scope.ANY),
        ("::ffff:127.0.0.1", Scope.ANY),
        ("64:ff9b::7f00:1", Scope.ANY),
        ("169.254.169.254", Scope.ANY),
        ("fe80::1%eth0", Scope.ANY),
        ("0.0.0.0", None),
        ("::", None),
        ("224.0.0.1", None),
        ("ff02::1", None),
    ],
)
def test_addresses_and_the_least_scope_that_admits_them(address: str, least: Scope | None):
    admitted: list[Scope] = []
    for scope in Scope:
        try:
            admit(address, scope)
            admitted.append(scope)
        except Denied:
            continue
    scopes = list(Scope)
    assert admitted == (scopes[scopes.index(least) :] if least else [])


def hello(name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_the_name_in_a_real_greeting_is_found():
    assert server_name(hello("index.example")) == "index.example"
    assert server_name(hello(None)) == ""


def test_a_greeting_in_pieces_is_waited_for():
    whole = hello("index.example")
    assert all(server_name(whole[:size]) is None for size in range(len(whole)))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x16\x03\x01\x00\x04\x01\x00\x10\x00",
        b"SSH-2.0-x\r\n",
    ],
)
def test_what_is_no_greeting_is_refused(data: bytes):
    with pytest.raises(Denied):
        server_name(data)


def test_a_greeting_that_hides_its_name_is_refused():
    real = bytearray(hello("index.example"))
    at = real.index(b"index.example") - 9  # the type of the extension that holds it
    assert real[at : at + 2] == b"\0\0"
    real[at : at + 2] = b"\xfe\x0d"
    with pytest.raises(Denied, match="hides"):
        server_name(bytes(real))
