#!/usr/bin/env python3
# Measures what the headers cost their users in compile time.
# SPDX-License-Identifier: MIT
"""Compile time of programs that use the library, as ratios to a file that includes <regex>.

Each row is compiled --repeat times, in turn with the floor, and the processor time of the compiler
is reported: median, smallest, largest, and the ratio of the medians.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLOOR = "#include <regex>\nint main() {}\n"


def functions(count):
    """A program with `count` functions of the image `math`, each of its own type."""
    fns = "".join(f"  virtine::virtine_fn<std::int64_t(std::int64_t), guests::compiled::f{i}> fn{i};\n"
                  f"  sum += fn{i}(sum);\n" for i in range(count))
    return ("#include <virtine/virtine.hpp>\n#include \"compiled.hpp\"\n"
            f"int main() {{\n  std::int64_t sum = 0;\n{fns}  return static_cast<int>(sum);\n}}\n")


def guest(count):
    exports = "".join(f"static std::int64_t f{i}(std::int64_t n) {{ return n + {i}; }}\n"
                      f"VIRTINE_EXPORT(f{i});\n" for i in range(count))
    return f"#include <cstdint>\n#include <virtine/guest.hpp>\n{exports}"


def compile_once(compiler, flags, source, folder):
    """Returns the processor time of one run, in seconds."""
    command = [compiler, "-std=c++20", f"-I{ROOT / 'include'}", f"-I{folder}", *flags,
               "-c", source, "-o", os.devnull]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{ran.stdout.decode(errors='replace')}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", action="append", help="default: g++ and clang++")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="each once, one compiler: a test")
    given = parser.parse_args()
    compilers = given.compiler or (["g++"] if given.short else ["g++", "clang++"])
    repeat = 1 if given.short else given.repeat
    most = 2 if given.short else 50
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "compiled.cpp").write_text(guest(most))
        subprocess.run([ROOT / "guests" / "virtine-cc", folder / "compiled.cpp", "-o",
                        folder / "compiled.hpp"], check=True)
        rows = {"floor": FLOOR, "include": "#include <virtine/virtine.hpp>\nint main() {}\n"}
        for count in (1, 2) if given.short else (1, 10, 50):
            rows[f"functions.{count}"] = functions(count)
        for row, text in rows.items():
            (folder / f"{row}.cpp").write_text(text)
        print(f"{'compiler':<12} {'level':<6} {'row':<14} {'median s':>9} {'min':>7} {'max':>7} "
              f"{'ratio':>6} {'count':>5}")
        for compiler in compilers:
            for level in ("-O0", "-O2"):
                times = {row: [] for row in rows}
                for _ in range(repeat):
                    for row in rows:
                        times[row].append(compile_once(compiler, [level], folder / f"{row}.cpp",
                                                       folder))
                floor = statistics.median(times["floor"])
                for row, seen in times.items():
                    median = statistics.median(seen)
                    print(f"{compiler:<12} {level:<6} compile.{row:<6} {median:9.2f} "
                          f"{min(seen):7.2f} {max(seen):7.2f} {median / floor:6.2f} {len(seen):5}")


if __name__ == "__main__":
    main()
