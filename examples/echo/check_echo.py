#!/usr/bin/env python3
# Talks to the echo server, in both of its forms. Must not know how it answers.
# SPDX-License-Identifier: MIT
"""usage: check_echo.py PROGRAM"""

import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import threading

LONG = 30  # Seconds after which something hangs.
MILESTONES = (r"(\d+) bytes: entry ([\d.]+) us, received ([\d.]+) us, sent ([\d.]+) us; "
              r"(\d+) and (\d+) cycles\n")


def check(program, *form):
    server = subprocess.Popen([program, "0", *form], stdout=subprocess.PIPE, encoding="utf-8")
    try:
        said = server.stdout.readline()
        listening = re.fullmatch(r"listening on port (\d+)\n", said)
        if not listening:
            print(said)
            raise SystemExit(server.wait(LONG))
        port = int(listening[1])
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=LONG) as link:
                for text in (b"hello", b"\0\xff", bytes(range(256)) * 8, b"x"):
                    link.sendall(text)
                    got = b""
                    while len(got) < len(text):
                        part = link.recv(65536)
                        assert part, server.stdout.readline()
                        got += part
                    assert got == text, (text, got)
                    said = server.stdout.readline()
                    times = re.fullmatch(MILESTONES, said)
                    assert times and int(times[1]) == len(text), said
                    assert float(times[2]) <= float(times[3]) <= float(times[4]), said
                    print(*form, said, end="")
        check_rude(server, port)
    finally:
        server.kill()
        server.wait(LONG)


def check_usage(program):
    for wrong in ([], ["--help"], ["70000"], ["-1"], ["7000x"], ["0", "naked"]):
        done = subprocess.run([program, *wrong], capture_output=True, encoding="utf-8",
                              timeout=LONG, check=False)
        assert done.returncode == 2 and done.stderr.startswith("usage:"), (wrong, done)


def check_rude(server, port):
    """After each of these clients, a good one is answered."""
    def connect():
        return socket.create_connection(("127.0.0.1", port), timeout=LONG)

    def talk(link, text):
        """Sends all, and then takes what comes of it."""
        sender = threading.Thread(target=link.sendall, args=(text,))
        sender.start()
        got = b""
        while len(got) < len(text) and (part := link.recv(65536)):
            got += part
        sender.join(LONG)
        return got

    def check_good():
        with connect() as link:
            assert talk(link, b"good") == b"good"

    # What the server says must be taken, or it waits.
    threading.Thread(target=server.stdout.read, daemon=True).start()
    connect().close()
    check_good()
    with connect() as link:
        link.sendall(b"half")
        link.shutdown(socket.SHUT_WR)
        assert link.recv(4) == b"half" and link.recv(1) == b""
    check_good()
    with connect() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.sendall(b"reset")
    check_good()
    with connect() as link:
        text = os.urandom(1 << 20)
        assert talk(link, text) == text
    check_good()
    with connect() as link:
        # More than all buffers hold: at some time it is not taken any more.
        link.settimeout(1)
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(1000):
                link.sendall(text)
        check_good()
    assert server.poll() is None


def main(program):
    check_usage(program)
    check(program)
    check(program, "bare")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
