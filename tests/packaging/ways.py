#!/usr/bin/python3
# Builds one program in each of the ways in which users build theirs, and runs it.
# Must not know how the library is made, nor how it is installed, which check.py does.
# SPDX-License-Identifier: MIT
"""Build the program in ways/ by several compilers and with several options, and run it."""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True

from check import SKIPPED, Failure, must, run  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE / "ways"
GUEST = HERE / "project" / "guests" / "triple.cpp"
MUST_BE_THERE = ["g++", "clang++"]
COMPILERS = [*MUST_BE_THERE, "g++-12", "clang++-14", "clang++-16", "clang++-19"]
ANSWER = 42  # of the guest to 14
# Files are compiled with the linker's options too, which clang++ would report.
OPTIONS = ["-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread",
           "-Wno-unused-command-line-argument"]
# What a plug-in needs to be unloaded (docs/guide.md).
UNLOADABLE = {"g++": ["-fvisibility=hidden", "-fno-gnu-unique"], "clang++": ["-fvisibility=hidden"]}


class NotThere(Exception):
    """What this machine lacks for a way."""


class Builder:
    """One way's folder, and what all have."""

    def __init__(self, library, images, folder):
        self.library = library
        self.folder = folder
        self.includes = ["-I", images, "-I", library / "include"]
        folder.mkdir(parents=True)

    def compile(self, name, *command):
        made = self.folder / f"{name}.o"
        must(*command, *OPTIONS, *self.includes, "-c", SOURCES / name, "-o", made)
        return made

    def link(self, name, objects, *command):
        made = self.folder / name
        must(*command, *objects, "-o", made, "-ldl", "-pthread")
        return made

    def probe(self, *command):
        """Raises NotThere unless a program without the library can be built so, and runs."""
        source = self.folder / "probe.cpp"
        source.write_text("#include <iostream>\nint main() { std::cout << 1; }\n", encoding="utf-8")
        status, output = run(*command, source, "-o", self.folder / "probe")
        if status == 0:
            status, output = run(self.folder / "probe")
        if status != 0:
            raise NotThere((output.strip().splitlines() or ["it does not run"])[0])


def image(library, source, images, name):
    header = images / name
    header.parent.mkdir(parents=True, exist_ok=True)
    must(library / "guests" / "virtine-cc", "-I", images, source, "-o", header, "--depfile",
         f"{header}.d")


def called(program, *arguments, answer=ANSWER):
    """Runs the program; returns whether there is KVM."""
    status, output = run(program, answer, *arguments, timeout=120)
    if status == SKIPPED and output == "no_kvm\n":
        return False
    if status != 0:
        raise Failure(f"{program}: exit status {status}\n{output}")
    return True


def two_files(builder, *command):
    objects = [builder.compile(name, *command) for name in ("main.cpp", "other.cpp")]
    return called(builder.link("program", objects, *command))


def one_file(builder, *command):
    return called(builder.link("program", [builder.compile("unity.cpp", *command)], *command))


def if_there(build):
    """Returns `build` for what a compiler can do without, such as the library of a sanitizer."""
    def probe_and_build(builder, *command):
        builder.probe(*command)
        return build(builder, *command)
    return probe_and_build


def plugins(builder, compiler):
    """One that hides the library and can be unloaded, and one that shares all with its program."""
    program = builder.compile("unity.cpp", compiler)
    shared = [compiler, "-fPIC", "-shared"]
    hidden = builder.compile("plugin.cpp", *shared, *UNLOADABLE[compiler])
    hidden = builder.link("hidden.so", [hidden], *shared)
    plain = builder.link("plain.so", [builder.compile("plugin.cpp", *shared)], *shared)
    return all([called(builder.link("program", [program], compiler), hidden),
                called(builder.link("exports", [program], compiler, "-rdynamic"), plain, "stays")])


def ccache(builder, compiler):
    """The same again is a hit; what the edit of a guest changes is none."""
    if not shutil.which("ccache"):
        raise NotThere("there is no ccache")
    tool = ["env", f"CCACHE_DIR={builder.folder / 'cache'}", "ccache"]
    guest = builder.folder / GUEST.name
    images = builder.folder / "images"
    builder.includes = ["-I", images, *builder.includes]
    shutil.copy(GUEST, guest)

    def build():
        image(builder.library, guest, images, "guests/triple.hpp")
        made = builder.compile("unity.cpp", *tool, compiler)
        counts = dict(line.split("\t") for line in must(*tool, "--print-stats").splitlines())
        return (builder.link("program", [made], compiler), int(counts["cache_miss"]),
                int(counts["direct_cache_hit"]) + int(counts["preprocessed_cache_hit"]))

    program, *counts = build()
    kvm = called(program)
    program, *again = build()
    kvm = called(program) and kvm
    guest.write_text(guest.read_text(encoding="utf-8").replace("n * 3", "n * 11"), encoding="utf-8")
    program, *after = build()
    kvm = called(program, answer=14 * 11) and kvm
    if [counts, again, after] != [[1, 0], [1, 1], [2, 1]]:
        raise Failure(f"misses and hits were {counts}, then {again}, and {after} after an edit of "
                      "the guest")
    return kvm


def ways():
    """Yields the name, the function and the command of each way, the longest first."""
    for compiler in MUST_BE_THERE:
        lld = ["-fuse-ld=lld"] if compiler == "clang++" else []
        yield "two files", if_there(two_files), [compiler, "-O2", "-flto", *lld]
        yield "two files", two_files, [compiler, "-O2"]
        yield "plug-ins", plugins, [compiler]
        yield "ccache", ccache, [compiler]
    for compiler in COMPILERS:
        for level in ("-O2", "-O0"):
            if (compiler, level) not in [(known, "-O2") for known in MUST_BE_THERE]:
                yield "one file", one_file, [compiler, level]
    for compiler in MUST_BE_THERE:
        for option in ("-fno-rtti", "-fno-exceptions"):
            yield "one file", one_file, [compiler, option]
        for option in ("-static", "-fsanitize=address", "-fsanitize=thread"):
            yield "one file", if_there(one_file), [compiler, option]


def lacks(compiler):
    """Says why there is nothing to be learnt from a compiler, or returns None."""
    path = shutil.which(compiler)
    if not path:
        return "not there"
    if compiler not in MUST_BE_THERE:
        for other in MUST_BE_THERE:
            if shutil.which(other) and os.path.samefile(path, shutil.which(other)):
                return f"not tried, because it is {other}"
    return None


def attempt(build, builder, command):
    """Returns whether a way failed, whether it found KVM, or None, and what to print."""
    why = lacks(command[0])
    if why:
        return command[0] in MUST_BE_THERE, None, why
    try:
        kvm = build(builder, *command)
    except NotThere as why:
        return False, None, f"not there: {why}"
    except (Failure, subprocess.TimeoutExpired) as why:
        return True, None, f"FAILED: {why}"
    return False, kvm, "calls" if kvm else "built, but there is no KVM to run it"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=pathlib.Path, help="the library's source tree")
    parser.add_argument("work", type=pathlib.Path, help="a folder to make, and to empty before")
    parser.add_argument("--keep", action="store_true", help="leave the programs in that folder")
    given = parser.parse_args()
    library, work = given.library.resolve(), given.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    # What the environment asks of other builds' ccache is not this one's affair.
    for variable in [name for name in os.environ if name.startswith("CCACHE_")]:
        del os.environ[variable]
    images = work / "images"
    try:
        image(library, GUEST, images, "guests/triple.hpp")
        for name in ("other", "plugin"):
            image(library, SOURCES / f"{name}.cpp", images, f"{name}.guest.hpp")
    except Failure as why:
        print(why)
        return 1
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = []
        for number, (name, build, command) in enumerate(ways()):
            builder = Builder(library, images, work / str(number))
            running.append((f"{name}: {' '.join(command)}",
                            pool.submit(attempt, build, builder, command)))
        results = []
        for title, future in running:
            results.append(future.result())
            print(f"{title}: {results[-1][2]}", flush=True)
    if any(failed for failed, _, _ in results):
        return 1
    found = {kvm for _, kvm, _ in results if kvm is not None}
    if len(found) > 1:
        print("KVM is there for some programs and not for others")
        return 1
    if not given.keep:
        shutil.rmtree(work, ignore_errors=True)
    if found == {False}:
        print("skipped: everything was built, but there is no KVM to run it")
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
