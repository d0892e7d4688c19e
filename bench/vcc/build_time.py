#!/usr/bin/python3
# How long vcc takes to compile a file, against the compiler beneath.
# SPDX-License-Identifier: MIT
"""build_time.py VCC: prints the medians of seven runs each."""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

PLAIN = '#include <stdio.h>\nint square(int x) { return x * x; }\n'
MARKED = '#include <stdio.h>\n#include <virtine.h>\nvirtine int square(int x) { return x * x; }\n'


def median(words):
    times = []
    for _ in range(7):
        begun = time.monotonic()
        subprocess.run(words, check=True)
        times.append(time.monotonic() - begun)
    return statistics.median(times)


with tempfile.TemporaryDirectory() as folder:
    plain, marked = pathlib.Path(folder) / "plain.c", pathlib.Path(folder) / "marked.c"
    plain.write_text(PLAIN)
    marked.write_text(MARKED)
    out = ["-O2", "-o", f"{folder}/out.o", "-c"]
    native = median(["cc", *out, plain])
    print(f"cc, unmarked: {native:.3f} s")
    for kind, source in (("unmarked", plain), ("marked", marked)):
        took = median([sys.argv[1], *out, source])
        print(f"vcc, {kind}: {took:.3f} s, {took - native:.3f} s more")
