#!/usr/bin/env python3
# Checks that a program which was compiled with tracepoints has all of them.
# Must not know what they tell.
# SPDX-License-Identifier: MIT
"""usage: tracepoints.py PROGRAM"""

import re
import shutil
import subprocess
import sys

SKIPPED = 77
GUIDE = {"call__begin", "call__end", "fault", "machine__created", "machine__destroyed",
         "session__slept", "session__woken"}


def main(program):
    if shutil.which("readelf") is None:
        print("skipped: there is no readelf")
        return SKIPPED
    notes = subprocess.run(["readelf", "--notes", "--wide", program], capture_output=True, text=True,
                           timeout=60, check=True).stdout
    found = set(re.findall(r"Provider: virtine\s+Name: (\w+)", notes))
    if found != GUIDE:
        print(f"lacks {sorted(GUIDE - found)}, has {sorted(found - GUIDE)} that are in no document")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
