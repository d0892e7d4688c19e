# The line that says how far the evaluation is and how long it will still take.
# SPDX-License-Identifier: MIT

import sys
import time

WIDTH = 30


def clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Progress:
    """Of pieces of work that are expected to take so many seconds each."""

    def __init__(self, expected, out=sys.stderr):
        self.left = dict(expected)
        self.whole = sum(expected.values())
        self.spent, self.planned = 0.0, 0.0
        self.out = out
        self.current, self.begin, self.what = None, 0.0, ""

    def start(self, name, what):
        self.current, self.begin, self.what = name, time.monotonic(), what
        if self.out.isatty():
            self.draw()
        else:
            self.out.write(f"{what}...\n")
            self.out.flush()

    def remaining(self):
        """What is left, in seconds: corrected by how much longer than expected it took so far."""
        took = time.monotonic() - self.begin if self.current else 0
        expected = self.left.get(self.current, 0)
        pace = (self.spent + 5) / (self.planned + 5)
        others = sum(seconds for name, seconds in self.left.items() if name != self.current)
        return max(expected * pace - took, 0) + others * pace

    def draw(self):
        if not self.out.isatty():
            return
        took = time.monotonic() - self.begin if self.current else 0
        done = self.whole - sum(self.left.values()) + min(took, self.left.get(self.current, 0) * 0.95)
        full = int(WIDTH * done / self.whole) if self.whole else WIDTH
        bar = "#" * full + "." * (WIDTH - full)
        self.out.write(f"\r\033[K[{bar}] {self.what}, {clock(self.remaining())} left")
        self.out.flush()

    def finish(self):
        took = time.monotonic() - self.begin
        self.spent += took
        self.planned += self.left.pop(self.current, 0)
        self.current = None

    def end(self):
        if self.out.isatty():
            self.out.write("\r\033[K")
            self.out.flush()
