# Runs a server of this folder on a directory of its own, and talks to it byte by byte.
# Must not know what its replies should be.
# SPDX-License-Identifier: MIT
"""What the tests of the HTTP server share."""

import contextlib
import pathlib
import os
import re
import resource
import socket
import subprocess
import tempfile
import time

SKIPPED = 77
LONG = 30  # Seconds after which something hangs.


class Server:
    def __init__(self, program, directory, *options, limit=None):
        def limit_descriptors():
            if limit:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        self.process = subprocess.Popen(
            [program, "--port", "0", *options, str(directory)], preexec_fn=limit_descriptors,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        self.said = []
        while (said := self.process.stdout.readline()) and not said.startswith("listening"):
            self.said.append(said)
        found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)/\n", said)
        if not found:
            _, why = self.process.communicate(timeout=LONG)
            if "no_kvm" in why:
                print(f"skipped: {why.strip()}")
                raise SystemExit(SKIPPED)
            raise AssertionError(f"the server does not start: {why}")
        self.port = int(found[1])
        self.directory = directory
        self.url = f"http://127.0.0.1:{self.port}/"

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=LONG)

    def ask(self, request):
        """Sends bytes and says there are no more; returns all that comes back."""
        with self.connect() as link:
            with contextlib.suppress(ConnectionError):
                link.sendall(request)
                link.shutdown(socket.SHUT_WR)
            return receive_all(link)

    def wait_for_validators(self, *names):
        """Waits until the server says what tells these files' contents from others."""
        begin = time.monotonic()
        for name in names:
            request = f"GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
            while "etag" not in Reply(self.ask(request)).fields:
                assert time.monotonic() - begin < LONG, f"{name} never gets an entity tag"
                time.sleep(0.05)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def sockets(self):
        """How many there are: other descriptors come and go with the machines of a pool."""
        count = 0
        for name in os.listdir(f"/proc/{self.process.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(f"/proc/{self.process.pid}/fd/{name}").startswith("socket:")
        return count

    def end(self):
        """Stops the server; returns what it wrote about requests that failed."""
        self.process.terminate()
        _, errors = self.process.communicate(timeout=LONG)
        assert self.process.returncode == 0, f"the server ended with {self.process.returncode}"
        return errors


def receive_all(link):
    got = []
    with contextlib.suppress(ConnectionError):
        while part := link.recv(1 << 20):
            got.append(part)
    return b"".join(got)


class Reply:
    def __init__(self, data):
        head, self.separator, self.rest = data.partition(b"\r\n\r\n")
        first, *fields = head.decode("ascii").split("\r\n")
        self.status = int(re.fullmatch(r"HTTP/1\.1 (\d{3}) [A-Za-z ]+", first)[1])
        self.fields = dict(line.split(":", 1) for line in fields)
        self.fields = {name.lower(): value.strip() for name, value in self.fields.items()}
        assert len(self.fields) == len(fields), f"a field occurs twice: {head}"
        self.body = b""


def replies(data, heads=()):
    """Takes apart all replies in `data`; those whose index is in `heads` have no body."""
    found = []
    while data:
        reply = Reply(data)
        assert reply.separator, f"not a whole reply: {data[:200]}"
        has_body = len(found) not in heads and reply.status != 304
        size = int(reply.fields["content-length"]) if has_body else 0
        reply.body, data = reply.rest[:size], reply.rest[size:]
        assert len(reply.body) == size, f"{len(reply.body)} of {size} bytes of a body"
        found.append(reply)
    return found


@contextlib.contextmanager
def serving(program, *options, limit=None):
    """A server on a new directory, which may have `limit` descriptors."""
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name) / "root"
        root.mkdir()
        server = Server(program, root, *options, limit=limit)
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.communicate()
