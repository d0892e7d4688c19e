#!/usr/bin/env python3
# Runs an example and compares what it prints with the "Output:" comment at the end of its source,
# in which ... stands for anything. Must not know what any example does.
# SPDX-License-Identifier: MIT
"""usage: check.py SOURCE PROGRAM [ARGUMENT]..."""

import pathlib
import re
import subprocess
import sys

SKIPPED = 77


def expected_output(source):
    _, marker, text = source.partition("\n// Output:\n")
    assert marker, "the source does not say what the program prints"
    return [line.removeprefix("//").removeprefix(" ") for line in text.splitlines()]


def matches(pattern, line):
    return re.fullmatch(".*".join(map(re.escape, pattern.rstrip().split("..."))), line.rstrip())


def main(source, *command):
    expected = expected_output(pathlib.Path(source).read_text())
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    print(done.stdout, end="")
    if done.returncode == SKIPPED:
        return SKIPPED
    assert done.returncode == 0, f"it ended with {done.returncode}"
    printed = done.stdout.splitlines()
    for pattern, line in zip(expected, printed):
        assert matches(pattern, line), f"expected: {pattern}\n     got: {line}"
    assert len(expected) == len(printed), f"{len(printed)} lines instead of {len(expected)}"
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
