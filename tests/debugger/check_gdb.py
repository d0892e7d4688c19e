#!/usr/bin/python3
# Has gdb, where it is installed, debug a call by its commands, and looks at what it says.
# Usage: check_gdb.py DEBUGGED ELF SOURCE [unittest arguments]
# SPDX-License-Identifier: MIT

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

SKIPPED = 77
DEBUGGED, ELF, SOURCE = (sys.argv.pop(1) for _ in range(3))
LINES = pathlib.Path(SOURCE).read_text().splitlines()
HERE = next(number for number, line in enumerate(LINES, 1) if line.endswith("// here"))
MINUTE = 60


class Debugged(unittest.TestCase):
    def debug(self, when, length, *commands, place=None):
        """Returns what gdb and what the program said."""
        with tempfile.TemporaryDirectory(prefix="virtine-gdb-") as folder:
            path = place or os.path.join(folder, "socket")
            with subprocess.Popen([DEBUGGED, path, when, str(length)], stdout=subprocess.PIPE,
                                  encoding="utf-8") as program:
                try:
                    # To a port gdb goes on trying by itself.
                    while not place and not os.path.exists(path) and program.poll() is None:
                        time.sleep(0.01)
                    command = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off"]
                    for text in (f"file {ELF}", f"target remote {path}", *commands):
                        command += ["-ex", text]
                    said = subprocess.run(command, stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                          encoding="utf-8", timeout=MINUTE, check=False).stdout
                    print(said)
                    return said, program.communicate(timeout=MINUTE)[0]
                finally:
                    program.kill()

    def check(self, said, *expected):
        """Compares with the texts that are expected, in this order."""
        at = 0
        for text in expected:
            found = said.find(text, at)
            self.assertGreaterEqual(found, 0, f"no '{text}' in:\n{said[at:]}")
            at = found + len(text)

    def test_a_call_is_followed_from_its_entry(self):
        said, result = self.debug(
            "entry", 3, "info registers rip", "break weigh", "continue", "print factor",
            "print *first", "next", "info locals", "backtrace", "finish", "continue")
        self.check(said, "virtine_entry_chain", "Breakpoint 1, ", "factor=2", "$1 = 2",
                   "$2 = {weight = 1, next = 0x", "total = 0", "weigh", "chain (length=3)",
                   "Value returned is $3 = 642", "exited normally")
        self.assertEqual(result, "weight 643\n")

    def test_memory_and_code_that_are_changed_change_the_result(self):
        said, result = self.debug(
            "entry", 3, "break weigh", "continue", "set var factor = 10", "set var calls = 1000",
            f"break {HERE} if at->weight == 20", "continue", "print total", "delete",
            "set var total = 0", "stepi", "continue")
        self.check(said, "at->weight", "$1 = 10", "exited normally")
        self.assertEqual(result, "weight 4201\n")

    def test_a_function_of_the_guest_is_called(self):
        said, result = self.debug("entry", 3, "break weigh", "continue", "delete",
                                  "print weigh(first, 5)", "print calls", "continue")
        self.check(said, "$1 = 1605", "$2 = 1", "exited normally")
        self.assertNotIn("guest_fault", said)
        self.assertEqual(result, "weight 644\n")

    def test_a_variable_is_watched(self):
        said, result = self.debug("entry", 3, "set can-use-hw-watchpoints 0", "watch calls",
                                  "continue", "delete", "continue")
        self.check(said, "Watchpoint 1: calls", "Old value = 0", "New value = 1", "weigh",
                   "exited normally")
        self.assertEqual(result, "weight 643\n")

    def test_a_fault_is_shown_where_it_happens(self):
        said, result = self.debug("entry", 4, "continue", "backtrace", "print at", "continue")
        self.check(said, "null pointer access reading 0x8", "SIGSEGV", f"chain.cpp:{HERE}",
                   "#1 ", "chain (length=4)", "= (const (anonymous namespace)::link *) 0x8",
                   "SIGKILL")
        self.check(result, "guest_fault: null pointer access reading 0x8 at 0x", "weigh",
                   f"chain.cpp:{HERE})")

    def test_a_call_that_has_faulted_is_attached_to(self):
        said, result = self.debug("fault", 4, "backtrace", "monitor why", "print at",
                                  "detach")
        self.check(said, "weigh", "chain (length=4)", "null pointer access reading 0x8", "0x8")
        self.check(result, "guest_fault: null pointer access reading 0x8", f"chain.cpp:{HERE})")

    def test_gdb_connects_to_a_port(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        said, result = self.debug("entry", 3, "continue", place=f":{port}")
        self.check(said, "virtine_entry_chain", "exited normally")
        self.assertEqual(result, "weight 643\n")

    def test_a_call_that_is_killed_or_let_go(self):
        _, result = self.debug("entry", 3, "kill")
        self.check(result, "cancelled: ", "the debugger has ended the call")
        _, result = self.debug("entry", 3, "break weigh", "detach")
        self.assertEqual(result, "weight 643\n")

    def test_a_fault_without_a_debugger_names_its_line(self):
        result = subprocess.run([DEBUGGED, "", "none", "4"], stdout=subprocess.PIPE,
                                encoding="utf-8", check=True).stdout
        self.check(result, "guest_fault: null pointer access reading 0x8 at 0x", " in ", "weigh",
                   f"chain.cpp:{HERE})")


if __name__ == "__main__":
    if not shutil.which("gdb"):
        print("skipped: there is no gdb (Debian: apt install gdb)")
        sys.exit(SKIPPED)
    probe = subprocess.run([DEBUGGED, "", "none", "1"], stdout=subprocess.PIPE, encoding="utf-8",
                           check=False)
    if probe.returncode == SKIPPED:
        print(probe.stdout, end="")
        sys.exit(SKIPPED)
    unittest.main()
