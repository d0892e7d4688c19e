#!/usr/bin/python3
# Compiles files that hold one mistake each, and demands the one message that it is to give.
# Must not know the mistakes; each file's first line says what to expect.
# SPDX-License-Identifier: MIT
"""Check that mistakes do not compile, and are told in one message each.

The first line of a file is `// error: REGEX`, to be found in the text of its only error. A line
`// compiler: NAME` restricts it to compilers of that name. With -DVALID the file must compile.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
         "-fdiagnostics-color=never"]
SKIPPED = 77


def kind_of(compiler):
    """Returns "clang" or "gcc", by what the compiler says of itself."""
    macros = subprocess.run([*compiler, "-dM", "-E", "-x", "c++", "/dev/null"],
                            stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
    return "clang" if "#define __clang__" in macros else "gcc"


def compile_with(compiler, includes, source, *more):
    return subprocess.run([*compiler, *FLAGS, *(f"-I{path}" for path in includes), *more, source],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8",
                          errors="replace", check=False)


def errors_in(output):
    """Returns the texts of the errors proper; notes and the lines around them are not errors."""
    return re.findall(r"^\S.*?: (?:fatal )?error: (.*)$", output, re.MULTILINE)


def problem_with(compiler, includes, source, expected):
    """Returns what is wrong with `source`, or None."""
    wrong = compile_with(compiler, includes, source)
    errors = errors_in(wrong.stderr)
    if wrong.returncode == 0:
        return "compiles although it holds a mistake"
    if len(errors) != 1:
        return f"gives {len(errors)} errors instead of one:\n{wrong.stderr}"
    if not re.search(expected, errors[0]):
        return f"gives another error than /{expected}/:\n{errors[0]}"
    right = compile_with(compiler, includes, source, "-DVALID")
    if right.returncode != 0:
        return f"does not compile without the mistake:\n{right.stderr}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", type=pathlib.Path)
    parser.add_argument("-I", dest="includes", action="append", default=[])
    parser.add_argument("--compiler", help="with its leading arguments; default: g++ and clang++, "
                        "those that are there")
    given = parser.parse_args()
    compilers = ([given.compiler.split()] if given.compiler else
                 [[name] for name in ("g++", "clang++") if shutil.which(name)])
    if not compilers:
        print("skipped: there is no compiler")
        return SKIPPED
    failed = checked = 0
    for compiler in compilers:
        kind = kind_of(compiler)
        for source in given.sources:
            head = source.read_text(encoding="utf-8").splitlines()[:3]
            expected = re.fullmatch(r"// error: (.+)", head[0])
            if not expected:
                print(f"{source}: the first line is not `// error: REGEX`")
                failed += 1
                continue
            only = [line[len("// compiler: "):] for line in head
                    if line.startswith("// compiler: ")]
            if only and kind not in only:
                continue
            checked += 1
            problem = problem_with(compiler, given.includes, source, expected[1])
            if problem:
                print(f"{source} with {' '.join(compiler)}: {problem}")
                failed += 1
    if failed:
        return 1
    if not checked:
        print("skipped: none of the files is for this compiler")
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
