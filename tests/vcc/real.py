#!/usr/bin/python3
# Builds programs of the distribution by vcc, with a few lines changed, and runs their own tests: where
# there is KVM, or in an emulated host.
# SPDX-License-Identifier: MIT
"""real.py ROOT LIBRARY [deb-src LINE]: where vcc is; libvirtine_c; where the sources are from."""

import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT, LIBRARY = (pathlib.Path(each).resolve() for each in sys.argv[1:3])
SOURCE = sys.argv[3] if len(sys.argv) > 3 else "deb-src http://deb.debian.org/debian bookworm main"
HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "CC": str(ROOT / "guests" / "vcc"), "VCC_RUNTIME": str(LIBRARY.parent), "LC_ALL": "C"}
MOST_LINES = 5
SKIPPED = 77

# The commands that build a program, the targets of its own tests, a command that makes a call of a
# marked function, and that function.
PROGRAMS = {
    "zlib": ([["./configure"], ["make", "-j2"]], ["check"], ["./minigzip"], "crc32_z"),
    "bzip2": ([["make", "-j2", f"CC={ENVIRONMENT['CC']}", "bzip2"]], ["test"], ["./bzip2", "-c"], "BZ2_hbAssignCodes"),
}


class Skip(Exception):
    """Says what is missing."""


def run(words, folder, **more):
    return subprocess.run(list(map(str, words)), cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False, **more)


def must(words, folder):
    done = run(words, folder)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def fetch(work):
    """Fetches the sources without a change of this machine."""
    for tool in ("apt-get", "dpkg-source", "patch", "make"):
        if not shutil.which(tool):
            raise Skip(f"there is no {tool}")
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "sources.list").write_text(SOURCE + "\n")
    apt = ["apt-get", "-q", "-o", f"Dir::Etc::sourcelist={work}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null",
           "-o", f"Dir::State::lists={work}/lists", "-o", f"Dir::Cache={work}/cache", "-o", "APT::Sandbox::User=",
           "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
    for words in (["update"], ["source", *PROGRAMS]):
        done = run([*apt, *words], work)
        if done.returncode:
            raise Skip(f"the sources cannot be fetched: {done.stdout.strip().splitlines()[-1:]}")
    return {name: next(each for each in work.glob(f"{name}-*") if each.is_dir()) for name in PROGRAMS}


def build(name, folder):
    change = HERE / "real" / f"{name}.patch"
    lines = len(re.findall(r"(?m)^[-+](?!--|\+\+)", change.read_text()))
    if lines > MOST_LINES:
        sys.exit(f"{change} changes {lines} lines, of {MOST_LINES} that it may")
    must(["patch", "-p1", "-i", change], folder)
    commands, _, call, function = PROGRAMS[name]
    for words in commands:
        must(words, folder)
    # Nothing runs natively: without a descriptor for a virtual machine there is no call.
    done = run(["env", "LD_LIBRARY_PATH=.", *call], folder, input="text",
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4)))
    if done.returncode != 70 or f"the call of {function}() failed" not in done.stdout:
        sys.exit(f"{name}: {' '.join(call)} calls {function}() without a virtual machine:\n{done.stdout}")
    print(f"{name}: {lines} lines changed", flush=True)


def in_emulated_host(folders):
    """Runs the tests in an emulated host; returns their output."""
    libraries = set(re.findall(r"=> (/\S+)", must(["ldd", LIBRARY], ROOT))) | {str(LIBRARY)}
    files = [word for path in [*libraries, "/usr/bin/cmp", *folders.values()] for word in ("--file", f"{path}:{path}")]
    commands = [word for name, folder in folders.items()
                for word in ("++", shutil.which("make"), "-C", folder, *PROGRAMS[name][1])][1:]
    done = run([ROOT / "tests" / "hosts" / "run", "svm", "--timeout", "400", *files, "--", *commands], ROOT)
    if done.returncode in (77, 125):
        raise Skip(f"there is no emulated host: {done.stdout.strip().splitlines()[-1:]}")
    if done.returncode:
        sys.exit(done.stdout)
    return done.stdout


def main():
    with tempfile.TemporaryDirectory(prefix="vcc-real-") as name:
        try:
            folders = fetch(pathlib.Path(name))
            for each, folder in folders.items():
                build(each, folder)
            if os.access("/dev/kvm", os.R_OK | os.W_OK):
                print("".join(must(["make", *PROGRAMS[each][1]], folder) for each, folder in folders.items()))
            else:
                print(in_emulated_host(folders))
        except Skip as why:
            print(f"skipped: {why}")
            return SKIPPED
    return 0


sys.exit(main())
