#!/usr/bin/python3
# Compiles headers by themselves, all or those that users include, as hosts and guests do.
# Must not know what the headers hold; layers.py says which of them guests include.
# SPDX-License-Identifier: MIT
"""Check that headers compile alone, twice, without a warning and where they are meant to."""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys

import layers

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wold-style-cast",
            "-Wnon-virtual-dtor", "-Werror"]
GUEST = ["--target=x86_64-linux-gnu", "-ffreestanding", "-fno-exceptions", "-fno-rtti"]
SKIPPED = 77


def problem_with(compiler, include, names, flags):
    """Returns the messages of a compiler that reads the headers `names` in this order."""
    source = "".join(f"#include <virtine/{name}.hpp>\n" for name in names)
    done = compile_text(compiler, include, source, "-std=c++20", *WARNINGS, *flags)
    return done.stderr or ("failed" if done.returncode != 0 else "")


def problem_before_cxx20(compiler, include, name):
    """Returns what is said of a header in C++17, unless it is that it needs C++20 and no more."""
    done = compile_text(compiler, include, f"#include <virtine/{name}.hpp>\n", "-std=c++17")
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    if done.returncode != 0 and len(errors) == 1 and "virtine needs C++20" in errors[0]:
        return ""
    return done.stderr or "compiles as C++17"


def compile_text(compiler, include, source, *flags):
    command = [compiler, "-fsyntax-only", *flags, f"-I{include}", "-x", "c++", "-"]
    return subprocess.run(command, input=source, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=["all", "host", "guest", "no-exceptions"])
    parser.add_argument("include", type=pathlib.Path, help="the folder that holds virtine/")
    parser.add_argument("compiler")
    parser.add_argument("--without", action="append", default=[], metavar="NAME",
                        help="a header whose library is missing here")
    given = parser.parse_args()
    if not shutil.which(given.compiler):
        print(f"skipped: there is no {given.compiler}")
        return SKIPPED
    root = given.include / "virtine"
    everything = sorted(path.relative_to(root).with_suffix("").as_posix()
                        for path in root.rglob("*.hpp"))
    everything = [name for name in everything if name not in given.without]
    of_users = [name for name in everything if "/" not in name]
    names, flags = {
        "all": (everything, []),
        "host": (of_users, []),
        "guest": (layers.freestanding(everything), GUEST),
        "no-exceptions": (["virtine"], ["-fno-exceptions"]),
    }[given.how]
    assert names
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as workers:
        found = [*workers.map(lambda name: problem_with(given.compiler, given.include,
                                                        [name, name], flags), names)]
        found = dict(zip(names, found))
        if given.how in ("all", "host"):
            older = workers.map(lambda name: problem_before_cxx20(given.compiler, given.include,
                                                                  name), of_users)
            for name, problem in zip(of_users, older):
                found[name] = found.get(name, "") + problem
        found = {name: problem for name, problem in found.items() if problem}
    for name, problem in found.items():
        print(f"virtine/{name}.hpp with {given.compiler}:\n{problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
