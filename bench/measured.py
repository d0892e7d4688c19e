# The table of the benchmarks that are scripts: as harness.hpp prints it.
# Must not know what is measured.
# SPDX-License-Identifier: MIT
"""Samples of rows, their floors, and the report of them."""

import json
import math
import pathlib
import statistics


def row_of(name, samples, floor=None, unit="us"):
    """Returns the row of these samples; `floor` is the median of another row, if there is one."""
    ordered = sorted(samples)
    median = statistics.median(ordered)
    return {"name": name, "unit": unit, "n": len(ordered), "min": ordered[0], "median": median,
            "p99": ordered[math.ceil(0.99 * len(ordered)) - 1], "floor": floor,
            "ratio": median / floor if floor else None}


def lines_of(name, first, samples, unit="us"):
    """Returns the lines of a row in a file of samples: the first run, then all others."""
    values = [("first", first), *(("sample", value) for value in samples)]
    return "".join(f"{name},{unit},{kind},{value:.6g}\n" for kind, value in values)


class Measured:
    """Rows of samples in microseconds, each with a floor: another row."""

    def __init__(self, program):
        self.program = program
        self.samples = {}
        self.floors = {}

    def add(self, name, floor, value):
        self.samples.setdefault(name, []).append(value)
        self.floors[name] = floor

    def rows(self):
        for name, samples in self.samples.items():
            yield row_of(name, samples, statistics.median(self.samples[self.floors[name]]))

    def report(self, json_path=None):
        print(f"{'name':36} {'n':>5} {'min us':>10} {'median us':>10} {'p99 us':>10}"
              f" {'floor us':>10} {'ratio':>8}")
        rows = list(self.rows())
        for each in rows:
            print("{name:36} {n:5} {min:10.3f} {median:10.3f} {p99:10.3f} {floor:10.3f}"
                  " {ratio:8.2f}".format(**each))
        if json_path:
            text = json.dumps({"program": self.program, "rows": rows}, indent=1)
            pathlib.Path(json_path).write_text(text + "\n", encoding="utf-8")


def turned(items, round_):
    """The same in another order in each round, so that no row always follows the same one."""
    start = round_ % len(items)
    return items[start:] + items[:start]
