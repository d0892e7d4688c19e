#!/usr/bin/python3
# Has clang-tidy look at all headers, and at a program that uses most of what is in them.
# SPDX-License-Identifier: MIT
"""Run the checks of .clang-tidy."""

import argparse
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import tempfile


def findings(root, source, *flags):
    """Returns what clang-tidy says of a source, and of the headers that it includes."""
    done = subprocess.run(["clang-tidy", "--quiet", f"--config-file={root / '.clang-tidy'}", source,
                           "--", "-std=c++20", f"-I{root / 'include'}", *flags],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                          errors="replace", check=False)
    # Standard error has the count of what was suppressed, unless something went wrong.
    return done.stdout + (done.stderr if done.returncode else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=pathlib.Path, help="of the source tree")
    parser.add_argument("build", type=pathlib.Path, help="has <guests/square.hpp>")
    parser.add_argument("--without", action="append", default=[], metavar="NAME",
                        help="a header whose library is missing here")
    given = parser.parse_args()
    if not shutil.which("clang-tidy"):
        print("skipped: there is no clang-tidy (apt-get install clang-tidy)")
        return 0
    root = given.root.resolve()
    headers = sorted(path.relative_to(root / "include").with_suffix("").as_posix()
                     for path in (root / "include").rglob("*.hpp"))
    with tempfile.TemporaryDirectory(prefix="virtine-tidy-") as folder, \
            concurrent.futures.ThreadPoolExecutor(2) as workers:
        everything = pathlib.Path(folder) / "all.cpp"
        everything.write_text("".join(f"#include <{name}.hpp>\n" for name in headers if
                                      name.removeprefix("virtine/") not in given.without),
                              encoding="utf-8")
        runs = [workers.submit(findings, root, everything),
                workers.submit(findings, root, root / "guests" / "doctor" / "doctor.cpp",
                               f"-I{given.build}")]
        found = "".join(run.result() for run in runs)
    print(found, end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
