#!/usr/bin/env python3
# Counts the system calls of warmed calls under strace: one ioctl each, on the thread that calls.
# Must not know what the calls compute.
# SPDX-License-Identifier: MIT
"""usage: warmed_call.py PROGRAM CALLS"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
MARK = "close(-1)"


def main(program, calls):
    if shutil.which("strace") is None:
        print("skipped: strace is not installed")
        return SKIPPED
    probe = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True,
                           timeout=60, check=False)
    if probe.returncode != 0:
        print(f"skipped: strace cannot trace here: {probe.stderr.strip()}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as directory:
        trace = pathlib.Path(directory) / "trace"
        # The thread that calls only; the file holds no other.
        done = subprocess.run(["strace", "-o", str(trace), program], timeout=120, check=False)
        if done.returncode == SKIPPED:
            return SKIPPED
        assert done.returncode == 0, f"{program} ended with {done.returncode}"
        lines = trace.read_text().splitlines()
    marks = [at for at, line in enumerate(lines) if line.startswith(MARK)]
    assert len(marks) == 2, f"{len(marks)} marks instead of two"
    between = lines[marks[0] + 1:marks[1]]
    other = [line for line in between if not line.startswith("ioctl(") or "KVM_RUN" not in line]
    assert not other, "other system calls in warmed calls:\n" + "\n".join(other[:20])
    assert len(between) == int(calls), f"{len(between)} ioctls in {calls} calls"
    print(f"{calls} calls, {len(between)} KVM_RUN, nothing else")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
