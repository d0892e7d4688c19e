#!/usr/bin/env python3
# Puts each bug of mutations.txt into a copy of the headers and demands that its test fails.
# Must never write to the headers themselves, and must not know what any bug means.
# SPDX-License-Identifier: MIT
"""Mutation test: are the things that isolation rests on seen by a test each?"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "mutations.txt"
SECURITY = ROOT / "docs" / "threat-model.md"
TABLE_HEAD = "| bug | invariant | where | without it | found by |"
HOSTS = ROOT / "tests" / "hosts" / "run"
# Seconds; a test that hangs has failed. Emulated hosts run guests ten times slower, or more.
TEST_TIMEOUT = {None: 60, "svm": 200, "vmx": 900}
GROUP = 6  # Mutations whose tests share the start of an emulated host.


@dataclasses.dataclass
class Mutation:
    name: str
    line: int
    fields: dict
    # (old lines, new lines) in order; old ones are never empty.
    hunks: list

    def __getattr__(self, field):
        try:
            return self.fields[field]
        except KeyError:
            raise AttributeError(field) from None

    @property
    def unseen(self):
        return self.fields.get("unseen")

    def test(self):
        """Returns (program, source, title), or None if the compiler is to find the bug."""
        if self.kill == "compile":
            return None
        program, source, title = re.fullmatch(r'(\w+)/(\w+\.cpp) "(.*)"', self.kill).groups()
        return program, source, title

    def row(self):
        found = f"not seen: {self.unseen}" if self.unseen else \
            "the compiler" if self.kill == "compile" else f"`{self.kill}`"
        return f"| {self.name} | {self.keeps} | `{self.fields['in']}` | {self.breaks} | {found} |"


class Bad(Exception):
    """The list, the headers and the documents do not agree."""


def normal(line):
    return " ".join(line.split())


def read_list():
    mutations = []
    for number, line in enumerate(LIST.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[([a-z0-9-]+)\]", line):
            mutations.append(Mutation(match[1], number, {}, []))
        elif match := re.fullmatch(r"(keeps|breaks|kill|unseen|in) +(.*)", line):
            mutations[-1].fields[match[1]] = match[2]
        elif line[0] in "-+":
            hunks = mutations[-1].hunks
            if line[0] == "-" and (not hunks or hunks[-1][1]):
                hunks.append(([], []))
            hunks[-1][0 if line[0] == "-" else 1].append(line[1:].strip())
        else:
            raise Bad(f"{LIST.name}:{number}: this line is not understood")
    for each in mutations:
        for field in ("keeps", "breaks", "in"):
            if field not in each.fields:
                raise Bad(f"{LIST.name}:{each.line}: [{each.name}] does not say '{field}'")
        if ("kill" in each.fields) == ("unseen" in each.fields):
            raise Bad(f"{LIST.name}:{each.line}: [{each.name}] must say 'kill' or 'unseen'")
    return mutations


def mutate(text, mutation):
    lines = text.splitlines()
    for old, new in mutation.hunks:
        wanted = [normal(line) for line in old]
        places = [at for at in range(len(lines) - len(wanted) + 1)
                  if [normal(line) for line in lines[at:at + len(wanted)]] == wanted]
        if len(places) != 1:
            raise Bad(f"{LIST.name}:{mutation.line}: [{mutation.name}] is in "
                      f"{mutation.fields['in']} {len(places)} times, not once: {old[0]}")
        lines[places[0]:places[0] + len(wanted)] = new
    return "\n".join(lines) + "\n"


def header_of(mutation, include=ROOT / "include"):
    return include / "virtine" / mutation.fields["in"]


# What agrees with what


def test_titles():
    titles = {}
    for path in sorted((ROOT / "tests").glob("*/*.cpp")):
        found = re.findall(r'TEST_CASE(?:_METHOD)?\(\s*(?:\w+,\s*)?"((?:[^"\\]|\\.)*)"', path.read_text())
        titles[f"{path.parent.name}/{path.name}"] = found
    return titles


def lint(mutations):
    complaints = []
    names = [each.name for each in mutations]
    complaints += [f"[{name}] is listed twice" for name in set(names) if names.count(name) > 1]
    titles = test_titles()
    for each in mutations:
        try:
            mutate(header_of(each).read_text(), each)
        except Bad as why:
            complaints.append(str(why))
        if not each.unseen and each.test():
            program, source, title = each.test()
            matching = [t for t in titles.get(f"{program}/{source}", []) if t.startswith(title)]
            if len(matching) != 1:
                complaints.append(f"[{each.name}]: {program}/{source} has no one test \"{title}\"")

    document = SECURITY.read_text()
    if TABLE_HEAD not in document:
        return complaints + [f"{SECURITY.name} has no table of mutations"]
    table = document.split(TABLE_HEAD, 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    expected = [each.row() for each in mutations]
    complaints += [f"{SECURITY.name} lacks: {row}" for row in expected if row not in table]
    complaints += [f"{LIST.name} lacks: {row}" for row in table if row not in expected]

    # Every attack backs a claim, and every claim names attacks that exist.
    attacks = {m[1] for found in titles.values() for title in found
               if (m := re.match(r"(H\d+):", title))}
    claims = document.split("## Guarantees", 1)[1].split("\n## ", 1)[0]
    named = set()
    for first, last in re.findall(r"\bH(\d+)(?:-H(\d+))?", claims):
        named |= {f"H{n}" for n in range(int(first), int(last or first) + 1)}
    complaints += [f"{SECURITY.name} has no claim that {h} backs" for h in sorted(attacks - named)]
    complaints += [f"{SECURITY.name} names {h}, which does not exist"
                   for h in sorted(named - attacks)]
    return complaints


# Building and running


class Workshop:
    """A directory with copies of the headers, where test programs of one source each are built."""

    def __init__(self, build, compiler, directory, host):
        self.build = build
        self.host = host
        self.compiler = compiler
        self.directory = pathlib.Path(directory)
        # Copied once, so that all of a run is about the same headers.
        self.original = self.directory / "original" / "include"
        shutil.copytree(ROOT / "include", self.original)
        self.mains = {}
        for program in ("unit", "kvm", "hostile"):
            out = self.directory / f"main_{program}.o"
            done = self.compile(self.original, program, ROOT / "tests" / "main.cpp", out)
            if done.returncode != 0:
                raise Bad(f"main.cpp does not compile:\n{done.stderr}")
            self.mains[program] = out

    def compile(self, include, program, source, out):
        folders = [include, ROOT / "tests" / program, self.build / "tests" / program,
                   ROOT / "tests", ROOT, self.build]
        command = [*self.compiler, "-std=c++20", "-O0", "-w", "-pthread",
                   *(f"-I{folder}" for folder in folders)]
        if program != "unit":
            command.append("-DVIRTINE_TEST_NEEDS_KVM")
        return run([*command, "-c", source, "-o", out])

    def make(self, include, program, source):
        """Builds a program of one source; returns its path, or None and what the compiler said."""
        name = f"{include.parent.name}_{program}_{pathlib.Path(source).stem}"
        done = self.compile(include, program, ROOT / "tests" / program / source,
                            self.directory / f"{name}.o")
        if done.returncode != 0:
            return None, done.stderr
        binary = self.directory / name
        done = run([*self.compiler, "-pthread", self.mains[program],
                    self.directory / f"{name}.o", "-o", binary])
        if done.returncode != 0:
            return None, done.stderr
        return binary, ""

    def mutant(self, mutation):
        include = self.directory / mutation.name / "include"
        shutil.copytree(self.original, include)
        header = header_of(mutation, include)
        header.write_text(mutate(header.read_text(), mutation))
        return include


def run(command, **options):
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False,
                          **options)


def command_of(binary, title):
    return [binary, re.sub(r"([\\,\[\]*])", r"\\\1", title) + "*", "--abort"]


def meaning_of(status, said, binary, title):
    """Returns "passed", "skipped", or how a test failed."""
    if status == 77:
        return "skipped"
    if "No test cases matched" in said or "No tests ran" in said:
        raise Bad(f"{binary.name} has no test \"{title}\"")
    if status == 0:
        return "passed"
    # A shell's way to say the same as subprocess.
    number = -status if status < 0 else status - 128
    return f"died of signal {number}" if number > 0 else "failed"


def run_test(host, binary, title):
    """Runs a test by itself; returns how it ended."""
    command, limit = command_of(binary, title), TEST_TIMEOUT[host]
    if host:
        command = [HOSTS, host, "--timeout", limit, "--", *command]
    try:
        # The emulated host has a limit of its own, which says so.
        done = run(command, timeout=None if host else limit)
    except subprocess.TimeoutExpired:
        return "hung"
    if host and done.returncode in (124, 125):
        return "hung" if done.returncode == 124 else "took the host with it"
    return meaning_of(done.returncode, done.stdout + done.stderr, binary, title)


def run_tests(workshop, tests):
    """Runs tests, each (program, binary, title); returns how they ended. In an emulated host, whose
    start takes longer than a test, those that need one run one after the other."""
    ends = {}
    together = [at for at, test in enumerate(tests) if workshop.host and test[0] != "unit"]
    if len(together) > 1:
        words = [word for at in together for word in ("++", *command_of(*tests[at][1:]))][1:]
        done = run([HOSTS, workshop.host, "--timeout", TEST_TIMEOUT[workshop.host], "--", *words])
        parts = re.split(r"^== .*: exit status (\d+)$", done.stdout, flags=re.MULTILINE)
        for at, said, status in zip(together, parts[0::2], parts[1::2]):
            ends[at] = meaning_of(int(status), said, *tests[at][1:])
    # And those by themselves that do not end, or came behind one that does not.
    return [ends[at] if at in ends else
            run_test(workshop.host if program != "unit" else None, binary, title)
            for at, (program, binary, title) in enumerate(tests)]


def judge(workshop, mutations, useless):
    """Returns (verdict, detail) of each of some mutations."""
    verdicts, tests, includes = {}, {}, []
    try:
        for each in mutations:
            if each.unseen:
                verdicts[each.name] = "unseen", each.unseen
                continue
            if each.test() in useless:
                verdicts[each.name] = "broken", useless[each.test()]
                continue
            include = workshop.mutant(each)
            includes.append(include)
            program, source, title = each.test() or ("unit", "x86_descriptors.cpp", None)
            binary, errors = workshop.make(include, program, source)
            if "static assertion failed" in errors or "static_assert failed" in errors:
                verdicts[each.name] = "killed", "the compiler refuses it"
            elif binary is None:
                verdicts[each.name] = "broken", f"it does not compile: {errors[:600]}"
            elif title is None:
                verdicts[each.name] = "survived", "it compiles"
            else:
                tests[each.name] = program, binary, title
        for name, (_, binary, title), end in zip(tests, tests.values(),
                                                 run_tests(workshop, [*tests.values()])):
            verdicts[name] = "survived" if end in ("passed", "skipped") else "killed", \
                f"{binary.name.removeprefix(name + '_')} \"{title}\" {end}"
            binary.unlink()
    finally:
        for include in includes:
            shutil.rmtree(include.parent, ignore_errors=True)
    return [verdicts[each.name] for each in mutations]


def useless_tests(workshop, tests, jobs):
    """Returns {test: why} of those that fail without any bug, so that their failing says nothing."""
    def of_source(made_of):
        program, source = made_of
        its = sorted(each for each in tests if each[:2] == made_of)
        binary, errors = workshop.make(workshop.original, program, source)
        if binary is None:
            return {test: f"{source} does not compile: {errors[:600]}" for test in its}
        ends = run_tests(workshop, [(program, binary, title) for _, _, title in its])
        binary.unlink()
        return {test: f"{source} \"{test[2]}\" {end} without any bug"
                for test, end in zip(its, ends) if end != "passed"}

    useless = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for found in pool.map(of_source, sorted({(p, s) for p, s, _ in tests})):
            useless |= found
    return useless


def test_all(mutations, build, compiler, jobs, host):
    counts = {"killed": 0, "survived": 0, "broken": 0, "unseen": 0}
    with tempfile.TemporaryDirectory(prefix="virtine-mutation-") as directory:
        workshop = Workshop(build, compiler, directory, host)
        tests = {each.test() for each in mutations if not each.unseen} - {None}
        useless = useless_tests(workshop, tests, jobs)
        groups = [mutations[at:at + GROUP] for at in range(0, len(mutations), GROUP)]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for group, verdicts in zip(groups, pool.map(
                    lambda group: judge(workshop, group, useless), groups)):
                for mutation, (verdict, detail) in zip(group, verdicts):
                    counts[verdict] += 1
                    print(f"{verdict:9} {mutation.name}: {detail}", flush=True)
    print(f"{counts['killed']} killed, {counts['survived']} survived, "
          f"{counts['unseen']} cannot be seen here, {counts['broken']} broken")
    return 1 if counts["survived"] or counts["broken"] else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lint", action="store_true",
                        help="only compare the list with the headers, tests and docs/threat-model.md")
    parser.add_argument("--table", action="store_true", help="print the table of the list")
    parser.add_argument("--only", metavar="REGEX", default="", help="these names alone")
    parser.add_argument("--build", type=pathlib.Path, help="where Meson built the guest images")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(),
                        help="mutations at a time; default: one for each processor")
    parser.add_argument("--host", choices=["svm", "vmx"],
                        help="run each test in this emulated host, where there is no KVM here")
    given = parser.parse_args()
    try:
        mutations = read_list()
        if given.table:
            print("\n".join([TABLE_HEAD, "|---|---|---|---|---|"]
                            + [each.row() for each in mutations]))
            return 0
        if given.lint:
            complaints = lint(mutations)
            print("\n".join(complaints) or f"{len(mutations)} mutations agree")
            return 1 if complaints else 0
        if not given.build:
            parser.error("--build is needed")
        chosen = [each for each in mutations if re.search(given.only, each.name)]
        compiler = shlex.split(os.environ.get("CXX", "g++"))
        return test_all(chosen, given.build.resolve(), compiler, given.jobs,
                        given.host)
    except Bad as why:
        print(f"mutation.py: {why}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
