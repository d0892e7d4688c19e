# What the tests of Vespid have in common: an installation of their own, on free ports, that ends
# with them; and its command as a module.
# SPDX-License-Identifier: MIT
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import threading
import time

SKIPPED = 77
FOLDER = pathlib.Path(__file__).resolve().parent.parent


def load_command():
    loader = importlib.machinery.SourceFileLoader("vespid_command", str(FOLDER / "vespid"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("vespid_command", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


vespid = load_command()


def skip_unless_ready():
    why = None
    if not shutil.which("nats-server"):
        why = "nats-server is not installed"
    elif not os.access("/dev/kvm", os.R_OK | os.W_OK):
        why = "there is no /dev/kvm"
    if why:
        print(why)
        sys.exit(SKIPPED)


class Temporary(vespid.Installation):
    """An installation that lasts as long as a `with`."""

    def __init__(self, settings=None, slots=4):
        self.folder = tempfile.TemporaryDirectory()
        super().__init__(self.folder.name, 0, slots, settings=settings)

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.down()
        self.folder.cleanup()

    def owner(self):
        return vespid.Gateway(self.url, self.token())

    def caller(self):
        return vespid.Gateway(self.url, (self.directory / "caller-token").read_text())

    def operator(self):
        return vespid.Gateway(self.url, self.secrets["operator"])

    def tenant(self, name, **limits):
        return vespid.Gateway(self.url, self.operator().ask(
            "PUT", f"/tenants/{name}", json.dumps(limits).encode())["owner"])

    def kill(self, name, number=9):
        process = self.programs[name][0]
        process.send_signal(number)
        process.wait()

    def connect(self):
        """Connects to NATS, past the gateway. Returns the socket."""
        link = socket.create_connection(("127.0.0.1", self.nats_port))
        while not link.recv(65536).endswith(b"\r\n"):
            pass
        options = {"user": "vespid", "pass": self.secrets["nats"], "verbose": False, "pedantic": False, "headers": True}
        link.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\n")
        return link

    def publish(self, subject, data):
        """Publishes a message to NATS, past the gateway."""
        with self.connect() as link:
            link.sendall(b"PUB " + subject.encode() + b" " + str(len(data)).encode() + b"\r\n" + data + b"\r\nPING\r\n")
            while b"PONG" not in link.recv(65536):
                pass

    def request(self, subject, data):
        """Publishes one, and returns the first answer, with its headers."""
        with self.connect() as link:
            link.settimeout(20)
            link.sendall(b"SUB answer 1\r\nPUB %s answer %d\r\n%s\r\n" % (subject.encode(), len(data), data))
            lines = link.makefile("rb")
            while b"MSG " not in (line := lines.readline()):
                assert line, "NATS has closed the connection"
            return lines.read(int(line.split()[-1]))

    def api(self, what, request=None):
        """Asks JetStream's API. Returns its answer."""
        with self.connect() as link:
            body = json.dumps(request).encode() if request else b""
            link.sendall(b"SUB answer 1\r\nPUB $JS.API." + what.encode() + b" answer " + str(len(body)).encode() +
                         b"\r\n" + body + b"\r\n")
            lines = link.makefile("rb")
            while not (line := lines.readline()).startswith(b"MSG "):
                assert line, "NATS has closed the connection"
            return json.loads(lines.read(int(line.split()[-1])))


class FalseWorker:
    """Takes what workers take, and answers as it was told: a worker that was taken over, as long as a `with`."""

    def __init__(self, home, subject, answer):
        """`answer` gets the message's text; returns the header Vespid-Error, empty for none, and the text."""
        self.link, self.answer = home.connect(), answer
        self.lines = self.link.makefile("rb")
        self.link.sendall(b"SUB " + subject.encode() + b" workers 1\r\nPING\r\n")
        while self.lines.readline().strip() != b"PONG":
            pass
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.link.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.link.close()

    def serve(self):
        while line := self.lines.readline():
            if line.startswith(b"PING"):
                self.link.sendall(b"PONG\r\n")
            if not line.startswith(b"HMSG "):
                continue
            *_, reply, headers, size = line.split()
            text = self.lines.read(int(size) + 2)[int(headers):int(size)]
            error, body = self.answer(text)
            head = b"NATS/1.0\r\nVespid-Error: " + error + b"\r\n\r\n" if error else b"NATS/1.0\r\n\r\n"
            self.link.sendall(b"HPUB %s %d %d\r\n%s%s\r\n" % (reply, len(head), len(head) + len(body), head, body))


def until(is_so, otherwise, tries=100, pause=0.05):
    """Waits until something is so; `otherwise` says what it means if it never is."""
    for _ in range(tries):
        if is_so():
            return
        time.sleep(pause)
    raise AssertionError(otherwise)


def call(gateway, name, *arguments, headers=None):
    """Returns the status and the answer of a call."""
    status, _, text = gateway.raw("POST", f"/call/{name}", json.dumps(arguments).encode(), headers)
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def await_result(gateway, identity, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            status, headers, text = gateway.raw("GET", f"/result/{identity}")
        except vespid.Failure:
            status = 503
        if status not in (202, 503):
            return status, headers, text
        time.sleep(0.05)
    raise AssertionError(f"call {identity} has no result after {seconds} s")
