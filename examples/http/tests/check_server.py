#!/usr/bin/python3
# Asks a server of this folder for good things and bad ones. Must not know how it answers them.
# SPDX-License-Identifier: MIT
"""usage: check_server.py PROGRAM [OPTION...]"""

import email.utils
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

from serving import LONG, Reply, replies, receive_all, serving

INDEX = b"<p>hello</p>\n"
TEXT = bytes(range(256)) * 4
LARGE = os.urandom(1_500_000)
SECRET = b"not for anybody"


def fill(root):
    (root / "index.html").write_bytes(INDEX)
    (root / "text.txt").write_bytes(TEXT)
    (root / "large.bin").write_bytes(LARGE)
    (root / "empty").write_bytes(b"")
    (root / "sub dir").mkdir()
    (root / "sub dir" / "index.html").write_bytes(b"sub")
    (root / "sub dir" / "50%.txt").write_bytes(b"half")
    (root / "..dots").write_bytes(b"dots")
    (root.parent / "secret").write_bytes(SECRET)
    (root / "link").symlink_to(root / "text.txt")
    (root / "out").symlink_to(root.parent / "secret")
    os.mkfifo(root / "pipe")


def get(target, *fields, method="GET", version="HTTP/1.1", host="Host: a"):
    lines = [f"{method} {target} {version}", *([host] if host else []), *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def check_files(server):
    for target, body, kind in [
            ("/", INDEX, "text/html"), ("/index.html", INDEX, "text/html"),
            ("/text.txt", TEXT, "text/plain"), ("/empty", b"", "application/octet-stream"),
            ("/large.bin", LARGE, "application/octet-stream"), ("/sub%20dir/", b"sub", "text/html"),
            ("/sub%20dir/50%25.txt", b"half", "text/plain"), ("//text.txt", TEXT, "text/plain"),
            ("/%74ext.txt?a=b&c=%00%zz", TEXT, "text/plain"), ("/..dots", b"dots", "application/"),
            ("http://other/text.txt", TEXT, "text/plain"), ("HTTP://other", INDEX, "text/html"),
            ("http://other?/text.txt", INDEX, "text/html")]:
        [reply] = replies(server.ask(get(target)))
        assert reply.status == 200 and reply.body == body, (target, reply.status)
        assert reply.fields["content-type"].startswith(kind), reply.fields
        assert reply.fields["connection"] == "keep-alive"
        assert abs(email.utils.parsedate_to_datetime(reply.fields["date"]).timestamp()
                   - time.time()) < 60
        [head] = replies(server.ask(get(target, method="HEAD")), heads={0})
        del head.fields["date"], reply.fields["date"]
        assert head.status == 200 and head.fields == reply.fields, (head.fields, reply.fields)


# What each request is answered with; 0: the connection ends without a reply.
BAD = {
    "missing": (get("/nothing"), 404),
    "directory": (get("/sub%20dir"), 404),
    "pipe": (get("/pipe"), 404),
    "symbolic link": (get("/link"), 404),
    "symbolic link out": (get("/out"), 404),
    "beneath a file": (get("/text.txt/x"), 404),
    "device": (get("/dev/zero"), 404),
    "long name": (get("/" + "a" * 300), 404),
    "dots": (get("/../secret"), 400),
    "dots at the end": (get("/sub%20dir/.."), 400),
    "dots further down": (get("/sub%20dir/../../secret"), 400),
    "encoded dots": (get("/%2e%2e/secret"), 400),
    "encoded slash": (get("/%2e%2e%2fsecret"), 400),
    "encoded twice": (get("/%252e%252e/secret"), 404),
    "backslash": (get("/..\\secret"), 404),
    "dot": (get("/./text.txt"), 400),
    "encoded zero": (get("/text.txt%00.html"), 400),
    "encoded line end": (get("/text.txt%0d%0aX:y"), 400),
    "half a code": (get("/text.txt%4"), 400),
    "no code": (get("/text.txt%"), 400),
    "bad code": (get("/%zz"), 400),
    "signed code": (get("/%+1%-1"), 400),
    "high byte": (get("/\xff"), 400),
    "fragment": (get("/text.txt#a"), 400),
    "no slash": (get("text.txt"), 400),
    "star": (get("*"), 400),
    "no host in the target": (get("http:///text.txt"), 400),
    "nothing in the target": (get("http://"), 400),
    "fragment behind a host": (get("http://a#/text.txt"), 400),
    "other scheme": (get("ftp://a/text.txt"), 400),
    "long path": (get("/" + "a/" * 600), 414),
    "long line": (get("/" + "a" * 5000), 414),
    "endless line": (b"GET /" + b"a" * 8192, 414),
    "endless method": (b"A" * 8192, 414),
    "endless fields": (get("/", *["A: " + "a" * 1000] * 9), 431),
    "many fields": (get("/", *["a: b"] * 70), 431),
    "long field": (get("/", "A: " + "a" * 5000), 431),
    "endless empty lines": (b"\r\n" * 4096, 431),
    "method": (get("/", method="BREW"), 501),
    "method in lower case": (get("/", method="get"), 501),
    "method not allowed": (get("/", method="DELETE"), 405),
    "body": (get("/", "Content-Length: 5") + b"abcde", 413),
    "post": (get("/", "Content-Length: 5", method="POST") + b"abcde", 405),
    "chunks": (get("/", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 413),
    "chunks and length": (get("/", "Transfer-Encoding: chunked", "Content-Length: 5"), 400),
    "chunks in 1.0": (get("/", "Transfer-Encoding: chunked", version="HTTP/1.0"), 400),
    "two lengths": (get("/", "Content-Length: 0", "Content-Length: 0"), 400),
    "negative length": (get("/", "Content-Length: -1"), 400),
    "signed length": (get("/", "Content-Length: +1"), 400),
    "list of lengths": (get("/", "Content-Length: 1, 1"), 400),
    "long length": (get("/", "Content-Length: " + "9" * 100), 413),
    "version 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "version 0.9": (b"GET /\r\n\r\n", 400),
    "version without a number": (get("/", version="HTTP/x.y"), 400),
    "version in lower case": (get("/", version="http/1.1"), 400),
    "long version": (get("/", version="HTTP/1.10"), 400),
    "no version": (b"GET / \r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space before": (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tab": (b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no host": (get("/", host=None), 400),
    "two hosts": (get("/", "Host: b"), 400),
    "bad host": (get("/", host="Host: a b"), 400),
    "zero in the target": (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "zero in a field": (get("/", "A: \0"), 400),
    "zero in a name": (get("/", "A\0: b"), 400),
    "line feeds only": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "carriage returns only": (b"GET / HTTP/1.1\rHost: a\r\r", 400),
    "carriage return in a field": (get("/", "A: b\rC: d"), 400),
    "folded field": (get("/", "A: b\r\n c"), 400),
    "space before the colon": (get("/", "A : b"), 400),
    "no colon": (get("/", "nonsense"), 400),
    "no name": (get("/", ": a"), 400),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + bytes(200), 400),
    "nothing": (b"", 0),
    "half a request": (b"GET / HTTP/1.1\r\nHost", 0),
    "half a line end": (b"GET / HTTP/1.1\r", 0),
    "noise": (bytes(i * 7919 % 256 for i in range(5000)), 400),
}


def check_bad(server):
    for name, (request, status) in BAD.items():
        found = replies(server.ask(request))
        assert [reply.status for reply in found] == ([status] if status else []), (name, found)
        assert all(SECRET not in reply.body for reply in found), name
        [good] = replies(server.ask(get("/")))
        assert good.body == INDEX, f"after {name}"


def check_kept(server):
    """Several requests on one connection, whole, in pieces and at once."""
    three = get("/text.txt") + get("/nothing") + get("/sub%20dir/")
    found = replies(server.ask(three))
    assert [reply.status for reply in found] == [200, 404, 200] and found[2].body == b"sub"
    found = replies(server.ask(b"\r\n" + get("/") + b"\r\n\r\n" + get("/text.txt")))
    assert [reply.body for reply in found] == [INDEX, TEXT]
    # As many as the input holds, and more; and replies that fill the socket's buffer.
    found = replies(server.ask(get("/") * 400))
    assert len(found) == 400 and all(reply.body == INDEX for reply in found)
    found = replies(server.ask(get("/large.bin") * 8))
    assert len(found) == 8 and all(reply.body == LARGE for reply in found)
    # What follows a request after which the connection ends is not answered.
    for last in (get("/", "Connection: x, Close"), get("/", version="HTTP/1.0"),
                 get("/", "Content-Length: 50"), get("/\xff") + b"x" * 20000 + get("/", "A : b")):
        found = replies(server.ask(last + get("/text.txt")))
        closed = [reply.fields["connection"] for reply in found]
        assert "close" in closed and all(reply.body != TEXT for reply in found), last
    found = replies(server.ask(get("/", "Connection: keep-alive", version="HTTP/1.0") * 2))
    assert len(found) == 2
    with server.connect() as link:
        for byte in get("/text.txt"):
            link.sendall(bytes([byte]))
        link.shutdown(socket.SHUT_WR)
        assert replies(receive_all(link))[0].body == TEXT


def check_slow(server):
    """Clients that are too slow are left; others do not notice."""
    slow = [server.connect() for _ in range(20)]
    try:
        for link in slow[:10]:
            link.sendall(b"GET / HTTP/1.1\r\n")
        lazy = server.connect()
        slow.append(lazy)
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        lazy.sendall(get("/large.bin") * 20)  # More than buffers hold.
        begin = time.monotonic()
        alive = list(slow[:10])
        while alive:
            [good] = replies(server.ask(get("/")))
            assert good.body == INDEX
            assert time.monotonic() - begin < LONG, "a slow client is served for ever"
            time.sleep(0.05)
            # A byte from time to time buys no more time.
            for link in list(alive):
                try:
                    link.sendall(b"A")
                except ConnectionError:
                    alive.remove(link)
        for link in slow[:20]:
            assert receive_all(link) == b""
        while server.sockets() > 1:  # Besides the one that listens.
            assert time.monotonic() - begin < LONG, "an unread reply is kept for ever"
            time.sleep(0.05)
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        assert len(receive_all(lazy)) < 20 * len(LARGE)
    finally:
        for link in slow:
            link.close()


def check_changes(server):
    """Files that change while they are sent, and clients that leave while they get them."""
    changing = server.directory / "changing"
    before = server.descriptors()
    for name, change in [("shorter", lambda: os.truncate(changing, 10)), ("gone", changing.unlink),
                         ("another", lambda: (server.directory / "empty").replace(changing))]:
        changing.write_bytes(LARGE * 10)
        with server.connect() as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            link.sendall(get("/changing"))
            got = link.recv(1000)
            change()
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            link.shutdown(socket.SHUT_WR)
            got += receive_all(link)
            if name == "shorter":
                assert len(Reply(got).rest) <= len(LARGE * 10)  # And then the connection ended.
            else:
                assert replies(got)[0].body == LARGE * 10, name
    for request in (get("/large.bin"), get("/large.bin") * 20, get("/\xff") + b"x" * 9000, b"GET"):
        for size in (0, 1, 70000):
            with server.connect() as link:
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                link.sendall(request)
                if size > 0 and request.startswith(b"GET /"):
                    link.recv(size)
    begin = time.monotonic()
    while server.descriptors() > before:
        assert time.monotonic() - begin < LONG, "descriptors are left"
        time.sleep(0.05)
    [good] = replies(server.ask(get("/")))
    assert good.body == INDEX


def check_crowd(program, *options):
    """More connections than there are descriptors for wait until others are closed."""
    with serving(program, "--threads", "1", "--timeout", "1500", *options, limit=200) as server:
        fill(server.directory)
        idle = [server.connect() for _ in range(150)]
        try:
            # What is asked for is found, whoever else is there.
            idle[0].sendall(get("/", "Connection: close"))
            assert replies(receive_all(idle[0]))[0].body == INDEX
            assert server.descriptors() < 150, "all have been accepted"
            waiting = server.connect()
            waiting.sendall(get("/", "Connection: close"))
            assert replies(receive_all(waiting))[0].body == INDEX
            waiting.close()
        finally:
            for link in idle:
                link.close()
        assert server.end() == ""


def check_clients(server):
    curl, wrk = shutil.which("curl"), shutil.which("wrk")
    if curl:
        def run(*arguments):
            return subprocess.run([curl, "-s", "-S", "-m", str(LONG), *arguments], check=True,
                                  stdout=subprocess.PIPE).stdout
        url = server.url
        assert run(url) == INDEX
        assert run(url + "large.bin", url + "text.txt") == LARGE + TEXT
        assert run("-r", "10-19", url + "text.txt") == TEXT[10:20]
        assert b"200 OK" in run("-I", url + "text.txt")
        assert run("--path-as-is", url + "../secret") == b"400 Bad Request\n"
        assert run("-d", "x=y", url) == b"405 Method Not Allowed\n"
        assert run("--http1.0", url) == INDEX
        tag = server.directory.parent / "tag"
        assert run("--etag-save", str(tag), url + "text.txt") == TEXT
        code = ("-o", os.devnull, "-w", "%{http_code}")
        assert run("--etag-compare", str(tag), *code, url + "text.txt") == b"304"
        assert run("--etag-compare", str(tag), *code, url + "large.bin") == b"200"
        last = int(os.stat(server.directory / "text.txt").st_mtime)
        modified = email.utils.formatdate(last, usegmt=True)
        later = email.utils.formatdate(last + 1, usegmt=True)
        assert run("-z", modified, *code, url + "text.txt") == b"304"
        assert run("-z", "1 Jan 2000", *code, url + "text.txt") == b"200"
        assert run("-z", "-" + later, *code, url + "text.txt") == b"200"
        assert run("-z", "-1 Jan 2000", *code, url + "text.txt") == b"412"
        copy = server.directory.parent / "copy"
        run("-R", "-o", str(copy), url + "text.txt")  # As old as the server says it is.
        assert int(copy.stat().st_mtime) == int((server.directory / "text.txt").stat().st_mtime)
        assert run("-r", "0-1,3-4", url + "text.txt") == TEXT[0:5]
        assert run("-r", "0-1,500-501", url + "text.txt").count(b"Content-Range: bytes ") == 2
        assert run("-r", "-7", url + "text.txt") == TEXT[-7:]
        assert run("-r", "5000-", *code, url + "text.txt") == b"416"
        part = server.directory.parent / "part"
        part.write_bytes(LARGE[:1000])
        run("-C", "-", "-o", str(part), url + "large.bin")
        assert part.read_bytes() == LARGE
    if wrk:
        done = subprocess.run([wrk, "-t1", "-c8", "-d1", server.url + "text.txt"], check=True,
                              stdout=subprocess.PIPE, encoding="utf-8").stdout
        assert "Non-2xx" not in done and "Socket errors" not in done and "requests in" in done, done
    missing = [name for name, path in (("curl", curl), ("wrk", wrk)) if not path]
    print(f"without {', '.join(missing)}" if missing else "with curl and wrk")


def main(program, *options):
    with serving(program, "--threads", "2", "--timeout", "1500", *options) as server:
        fill(server.directory)
        server.wait_for_validators("text.txt")
        for check in (check_files, check_bad, check_kept, check_clients, check_slow, check_changes):
            begin = time.monotonic()
            check(server)
            print(f"{check.__name__}: {time.monotonic() - begin:.1f} s")
        errors = server.end()
        assert errors == "", errors
    check_crowd(program, *options)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
