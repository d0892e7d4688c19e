#!/usr/bin/env python3
# Builds the guest fuzzer with bugs of tests/mutations.txt, and says which of them it notices.
# Must not know what any bug means.
# SPDX-License-Identifier: MIT

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests"))
import mutation  # noqa: E402

# What a guest's instructions alone can show, of a call on one machine after the other.
CHOSEN = """
    restore-every-page zero-page-is-zero arguments-wiped write-set-complete hot-pages-in-write-set
    read-only-at-first first-write-only no-execute supervisor-pages trap-stack-supervisor
    constants-read-only stack-guard null-guard ports-closed iopl-zero no-trap-flag whole-writes
    vector-state mxcsr selector-ds selector-fs flags general-registers own-exit-only
    constants-after-a-write level-after-a-write learned-in-write-set place-mapped-anew
    left-vcpu-reset
""".split()


def parse():
    parser = argparse.ArgumentParser(description="Which bugs does the guest fuzzer notice?")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--count", default="1024", help="sequences for each bug")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("names", nargs="*", metavar="NAME", help="of bugs; otherwise a choice")
    return parser.parse_args()


def fuzz(include, build, count, directory):
    """Returns 0 if nothing was noticed, otherwise what the fuzzer or the compiler said first."""
    program = directory / "guest-fuzz"
    made = subprocess.run(
        ["g++", "-std=c++20", "-O0", "-w", "-pthread", f"-I{include}",
         f"-I{build / 'tests/fuzz/guest'}", f"-I{ROOT / 'tests'}",
         ROOT / "tests/fuzz/guest/guest.cpp", "-o", program],
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    if made.returncode != 0:
        return "the compiler"
    done = subprocess.run([program, "--count", count], check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    if done.returncode == 0:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith(("sequence ", "guest-fuzz:"))]
    return lines[0] if lines else done.stdout.strip().splitlines()[-1]


def main():
    options = parse()
    known = {each.name: each for each in mutation.read_list()}
    names = options.names or CHOSEN
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit("no such bugs: " + " ".join(unknown))

    with tempfile.TemporaryDirectory(prefix="guest-fuzz-") as work:
        def judge(name):
            directory = pathlib.Path(work) / (name or "none")
            shutil.copytree(ROOT / "include", directory / "include")
            if name is not None:
                header = mutation.header_of(known[name], directory / "include")
                header.write_text(mutation.mutate(header.read_text(), known[name]))
            return fuzz(directory / "include", options.build, options.count, directory)

        if found := judge(None):
            sys.exit(f"it finds something without any bug: {found}")
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for name, found in zip(names, pool.map(judge, names)):
                print(f"{name:24} {'not noticed' if found is None else found[:150]}", flush=True)


if __name__ == "__main__":
    main()
