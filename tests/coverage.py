#!/usr/bin/python3
# Which lines and branches of the library its tests run: builds the suites with clang's coverage, runs
# them, and counts for each header. Must not judge the figures.
# SPDX-License-Identifier: MIT
"""Build and run the suites with coverage, and print what of the headers they reach."""

import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import clang.cindex as cindex
except ModuleNotFoundError:
    sys.exit("this needs libclang for Python: install python3-clang-14, and run tests/coverage.py by its "
             "first line, that is by Debian's own Python")

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADERS = ROOT / "include" / "virtine"
ARGUED = ROOT / "tests" / "coverage.txt"
SUITES = ("unit", "kvm", "hostile", "shared_vm")
# Counters are in the file while the program runs, so that they outlive whatever ends it: a kill, a
# seccomp filter, _exit() in a child.
COMPILE = "-fprofile-instr-generate -fcoverage-mapping -mllvm -runtime-counter-relocation"
FUNCTIONS = (cindex.CursorKind.FUNCTION_DECL, cindex.CursorKind.CXX_METHOD,
             cindex.CursorKind.CONSTRUCTOR, cindex.CursorKind.DESTRUCTOR,
             cindex.CursorKind.CONVERSION_FUNCTION, cindex.CursorKind.FUNCTION_TEMPLATE)
SCOPES = (cindex.CursorKind.NAMESPACE, cindex.CursorKind.LINKAGE_SPEC,
          cindex.CursorKind.UNEXPOSED_DECL, cindex.CursorKind.CLASS_DECL,
          cindex.CursorKind.STRUCT_DECL, cindex.CursorKind.UNION_DECL,
          cindex.CursorKind.CLASS_TEMPLATE,
          cindex.CursorKind.CLASS_TEMPLATE_PARTIAL_SPECIALIZATION)


class Header:
    """What is known of a header: how often each line and each side of a branch ran."""

    def __init__(self, path):
        self.path = path
        self.text = path.read_text(encoding="utf-8").splitlines()
        self.lines = {}
        self.branches = {}  # (line, column) -> [times true, times false], of all instantiations
        self.constant = set()  # Lines of functions that compilers can run, and no program did.
        self.never_made = []  # Functions that no program has.

    def missed(self):
        return sorted(number for number, count in self.lines.items() if count == 0)

    def sides(self):
        """Returns how many sides the branches of lines that ran have, and how many were taken."""
        ran = [taken for (line, _), taken in self.branches.items() if self.lines.get(line, 0) > 0]
        return 2 * len(ran), sum(count > 0 for taken in ran for count in taken)


def build_and_run(build, suites):
    """Returns the programs that the suites are made of, once they have run."""
    if not (build / "build.ninja").exists():
        subprocess.run(["meson", "setup", build, ROOT, "-Doptimization=0", f"-Dcpp_args={COMPILE}",
                        "-Dcpp_link_args=-fprofile-instr-generate"],
                       env={**os.environ, "CC": "clang", "CXX": "clang++"}, check=True)
    profiles = build / "profiles"
    profiles.mkdir(exist_ok=True)
    for old in profiles.glob("*.profraw"):
        old.unlink()
    chosen = [word for suite in suites for word in ("--suite", suite)]
    # Programs that run while others are built, too, would leave theirs where they are.
    environment = {**os.environ, "LLVM_PROFILE_FILE": f"{profiles}/%p%c.profraw"}
    done = subprocess.run(["meson", "test", "-C", build, "--setup", "emulated", "--num-processes", "2",
                           "--timeout-multiplier", "4", "--print-errorlogs", *chosen],
                          env=environment, check=False)
    return done.returncode


def show(build):
    """Returns llvm-cov's account of all sources, by the programs in the build directory."""
    programs = [path for folder in ("tests", "c", "guests") for path in (build / folder).rglob("*")
                if path.is_file() and os.access(path, os.X_OK) and has_coverage(path)]
    if not programs:
        sys.exit(f"{build} has no program with coverage")
    profile = build / "all.profdata"
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.writelines(f"{each}\n" for each in (build / "profiles").glob("*.profraw"))
        names.flush()
        subprocess.run(["llvm-profdata", "merge", "-sparse", "-failure-mode=all", "-f", names.name,
                        "-o", profile], check=True)
    first, *rest = programs
    return subprocess.run(
        ["llvm-cov", "show", "--show-branches=count", "--show-instantiations=0",
         f"-instr-profile={profile}", first, *(f"-object={each}" for each in rest)],
        stdout=subprocess.PIPE, encoding="utf-8", errors="replace", check=True).stdout


def has_coverage(path):
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return False
    sections = subprocess.run(["readelf", "-SW", path], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=False).stdout
    return b"__llvm_covmap" in sections


def read(text):
    """Returns the headers, with what llvm-cov's account says of them."""
    headers = {path: Header(path) for path in sorted(HEADERS.rglob("*.hpp"))}
    line = re.compile(r" *(\d+)\| *([\d.]+[kMGTPEZY]?)?\|")
    branch = re.compile(r" *\|  Branch \((\d+):(\d+)\): \[True: ([\d.]+)\w*, False: ([\d.]+)\w*\]")
    header = None
    for row in text.splitlines():
        if row.startswith("/") and row.endswith(":"):
            header = headers.get(pathlib.Path(row[:-1]))
        elif header is not None and (found := line.match(row)):
            if found[2] is not None:
                header.lines[int(found[1])] = float(found[2].rstrip("kMGTPEZY"))
        elif header is not None and (found := branch.match(row)):
            taken = header.branches.setdefault((int(found[1]), int(found[2])), [0, 0])
            taken[0] += float(found[3])
            taken[1] += float(found[4])
    return headers


def functions(cursor, under):
    """Yields all functions with a body that the files in `under` define, but not those in others."""
    for each in cursor.get_children():
        if each.location.file is None or each.location.file.name not in under:
            continue
        if each.kind in FUNCTIONS:
            body = [child for child in each.get_children()
                    if child.kind == cindex.CursorKind.COMPOUND_STMT]
            if body:
                yield each, body[-1]
        elif each.kind in SCOPES:
            yield from functions(each, under)


def sort_out(headers):
    """Counts functions that no test ever instantiates, of which the compiler makes no counters, as
    lines that never ran. Sets apart the constexpr functions that no program ran: what compilers do
    with them, nobody counts. Forgets lines without code."""
    with tempfile.TemporaryDirectory(prefix="virtine-coverage-") as folder:
        everything = pathlib.Path(folder) / "all.cpp"
        everything.write_text("".join(f'#include "{path}"\n' for path in headers), encoding="utf-8")
        unit = cindex.Index.create().parse(str(everything), args=["-std=c++20", f"-I{ROOT / 'include'}"])
    for function, body in functions(unit.cursor, {str(path) for path in headers}):
        header = headers[pathlib.Path(function.location.file.name)]
        lines = range(body.extent.start.line, body.extent.end.line + 1)
        counts = [header.lines[number] for number in lines if number in header.lines]
        if not counts:
            header.never_made.append((lines[0], function.spelling))
            header.lines.update((number, 0) for number in lines)
        if not any(counts) and is_for_compilers(function, body):
            header.constant.update(range(function.extent.start.line, lines[-1] + 1))
    for header in headers.values():
        code = {number for number, text in enumerate(header.text, 1)
                if not re.fullmatch(r"\s*([{}();,\s]*|(else|default:)?\s*\{?)(//.*)?", text)}
        header.constant &= code
        header.lines = {number: count for number, count in header.lines.items()
                        if number in code - header.constant}


def is_for_compilers(function, body):
    for token in function.get_tokens():
        if token.extent.start.offset >= body.extent.start.offset:
            return False
        if token.spelling in ("consteval", "constexpr"):
            return True
    return False


def runs(numbers):
    """Returns lines that follow each other as [first, last]."""
    out = []
    for number in numbers:
        if out and out[-1][1] == number - 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return out


def arguments():
    """Returns why lines do not run, by header and the text of the first line of each part, or `*`."""
    found, why = {}, []
    for line in ARGUED.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            why.append(line.removeprefix("#").strip())
        elif line:
            found[tuple(line.split(": ", 1))] = " ".join(why)
        else:
            why = []
    return found


def share(part, whole):
    return f"{part:6}/{whole:<6} {100 * part / whole if whole else 100:6.1f} %"


def report(headers, missing):
    print(f"{'header':34} {'lines that ran':>22} {'sides of branches':>23} {'constant':>9}")

    def row(name, header_counts):
        print(f"{name:34} {share(header_counts['ran'], header_counts['lines'])} "
              f"{share(header_counts['taken'], header_counts['sides'])} {header_counts['constant']:9}")

    total = collections.Counter()
    for path, header in headers.items():
        sides, taken = header.sides()
        counts = collections.Counter(lines=len(header.lines), ran=len(header.lines) - len(header.missed()),
                                     sides=sides, taken=taken, constant=len(header.constant))
        total.update(counts)
        if header.lines or header.constant:
            row(str(path.relative_to(HEADERS)), counts)
    row("all", total)
    if missing:
        list_missing(headers)


def list_missing(headers):
    argued, used = arguments(), set()
    for path, header in headers.items():
        name = str(path.relative_to(HEADERS))
        made = dict(header.never_made)
        for first, last in runs(header.missed()):
            text = header.text[first - 1].strip()
            never = [made[line] for line in range(first, last + 1) if line in made]
            print(f"{name}:{first}" + (f"-{last}" if last > first else "") + f": {text}"
                  + (f"  (no test instantiates {', '.join(never)})" if never else "")
                  + f"\n    {argued.get((name, text), argued.get((name, '*'), 'NOT ARGUED'))}")
            used.add((name, text))
    for name, text in sorted(argued.keys() - used):
        if text != "*":
            print(f"argued in {ARGUED.name}, but it runs: {name}: {text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "coverage",
                        help="a build directory of its own")
    parser.add_argument("--suite", action="append", help=f"by default {', '.join(SUITES)}")
    parser.add_argument("--again", action="store_true", help="count once more what the last run left")
    parser.add_argument("--missing", action="store_true", help="list the lines that did not run")
    given = parser.parse_args()
    build = given.build.absolute()
    status = 0 if given.again else build_and_run(build, given.suite or SUITES)
    headers = read(show(build))
    sort_out(headers)
    report(headers, given.missing)
    return status


if __name__ == "__main__":
    sys.exit(main())
