#!/usr/bin/env python3
# Talks to the echo server, in both of its forms. Must not know how it answers.
# SPDX-License-Identifier: MIT
"""usage: check_echo.py PROGRAM"""

import re
import socket
import subprocess
import sys

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
    finally:
        server.kill()
        server.wait(LONG)


def check_usage(program):
    for wrong in ([], ["--help"], ["70000"], ["-1"], ["7000x"], ["0", "naked"]):
        done = subprocess.run([program, *wrong], capture_output=True, encoding="utf-8",
                              timeout=LONG, check=False)
        assert done.returncode == 2 and done.stderr.startswith("usage:"), (wrong, done)


def main(program):
    check_usage(program)
    check(program)
    check(program, "bare")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
