#!/usr/bin/env python3
# Fuzzes: builds the targets with clang++, runs each so many times, and says what came of it.
# Needs no build directory of the project's. Findings are files, which replay programs take, too.
# SPDX-License-Identifier: MIT
"""Run the fuzz targets, and print their executions, seconds, coverage and findings."""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INCLUDE = "include/virtine/"
GUESTS = ROOT / "guests"


@dataclasses.dataclass
class Target:
    files: list  # Those whose lines its coverage counts: what reads an input.
    # Bytes. What is longer tries nothing that shorter inputs do not, and takes longer.
    max_size: int = 512
    # Functions in these files that read no input, by the reason why.
    beside: dict = dataclasses.field(default_factory=dict)
    libraries: tuple = ()
    needs: pathlib.Path = ROOT


TARGETS = {
    "gdb": Target(
        ["gdb/connection.hpp", "gdb/packet.hpp", "gdb/server.hpp"],
        beside={"what opens the place to connect to": ["listener"]}),
    "hypercalls": Target(["allow.hpp", "abi/object_bytes.hpp", "guest_memory.hpp"]),
    "http": Target(
        ["/examples/http/conditions.hpp", "/examples/http/date.hpp", "/examples/http/handler.hpp",
         "/examples/http/ranges.hpp", "/examples/http/request.hpp"], max_size=1024),
    "js": Target(["/examples/js/evaluated.hpp", "/examples/js/harmless.hpp",
                  "/examples/js/reply.hpp"]),
    "loader": Target(["loader/image_file.hpp", "loader/file_bytes.hpp"], max_size=2048),
    "mailboxes": Target(
        ["machine/session_thread.hpp", "call/batch.hpp", "call/marshal.hpp"], max_size=256,
        beside={"a child of fork, which tests/kvm has": ["not_ours"],
                "what a caller lends, and what it takes": ["lent", "output_size"]}),
    "posix": Target(
        ["posix/descriptor_calls.hpp", "posix/host_files.hpp", "posix/no_wait.hpp",
         "posix/path_calls.hpp", "posix/paths.hpp", "posix/request.hpp", "posix/rights.hpp",
         "posix/system_calls.hpp"]),
    "replies": Target(["call/marshal.hpp", "abi/object_bytes.hpp", "abi/composite.hpp"]),
    "snapshots": Target(
        ["snapshot_file.hpp", "machine/snapshot.hpp"],
        beside={"what asks KVM for its processor, and a process for its snapshot":
                ["processor_digest", "save_snapshot_of", "load_snapshot_of", "save_snapshot",
                 "load_snapshot"],
                "machines' own views of the memory":
                ["map_private", "map_private_over", "fix_shared_part", "learned"]}),
    "values": Target(["value/shape.hpp", "value/codec.hpp", "call/value_marshal.hpp",
                      "/guests/run/json.hpp"]),
    "vespid": Target(["/examples/vespid/deployment.hpp"], libraries=("-lcrypto",),
                     needs=pathlib.Path("/usr/include/nlohmann/json.hpp")),
    "virtine-cc": Target(["/guests/virtine_cc/elf.py", "/guests/virtine_cc/objects.py",
                          "/guests/virtine_cc/reach.py", "/guests/virtine_cc/suppliers.py"]),
}
# Functions of the headers that only compilers run.
COMPILE_TIME = ["alignment_of", "any_bytes_are_valid", "come_back", "find_bools", "holds_bool", "is_bool",
                "is_checked_output", "mark_bools", "place", "place_parts", "place_product"]
COMMON = ["clang++", "-std=c++20", "-g", "-pthread", "-I", str(ROOT / "include")]
FUZZED = ["-O2", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
COVERED = ["-O0", "-fprofile-instr-generate", "-fcoverage-mapping", str(HERE / "replay.cpp")]
# Which freed memory is kept from being used again, and how much of where it came from is remembered:
# the defaults, 256 MiB and 30 calls, are for programs that free less than a target does.
SANITIZERS = "quarantine_size_mb=8:malloc_context_size=8"


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    can_be_built = [each for each in sorted(TARGETS) if TARGETS[each].needs.exists()]
    parser.add_argument("targets", nargs="*", metavar="TARGET", default=can_be_built,
                        help="default: all of " + ", ".join(sorted(TARGETS)))
    parser.add_argument("--executions", type=int, default=100_000, help="of each target; of virtine-cc a thousandth")
    parser.add_argument("--seconds", type=int, default=0, help="of each target, at most")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument("--missing", action="store_true", help="list the lines that none reached")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "fuzz",
                        help="a folder for programs, inputs and findings")
    options = parser.parse_args()
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    return options


def compile_target(name, build):
    """Makes the target's two programs, unless they are newer than all that they may be made of."""
    sources = [*HERE.glob("*.?pp"), *(ROOT / "include").rglob("*.hpp"), *GUESTS.rglob("*.hpp"),
               *(ROOT / "examples").rglob("*.hpp")]
    newest = max(each.stat().st_mtime for each in sources)
    for kind, flags in (("fuzz", FUZZED), ("cover", COVERED)):
        program = build / f"{name}-{kind}"
        if not program.exists() or program.stat().st_mtime < newest:
            subprocess.run([*COMMON, *flags, HERE / f"{name}.cpp", "-o", program,
                            *TARGETS[name].libraries], check=True)


def fill_corpus(name, corpus):
    """Puts the target's seeds into the folder of its inputs."""
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in (HERE / name).glob("*") if (HERE / name).is_dir() else []:
        (corpus / seed.name).write_bytes(seed.read_bytes())
    lines = (HERE / f"{name}.hex").read_text() if (HERE / f"{name}.hex").is_file() else ""
    for number, line in enumerate(lines.splitlines()):
        if line and not line.startswith("#"):
            (corpus / f"seed-{number}").write_bytes(bytes.fromhex(line))


def fuzz(name, options):
    """Returns how many executions there were, how long they took, and what they found: files of
    inputs, and the log if it ended otherwise than it should."""
    build, corpus = options.build, options.build / "corpus" / name
    findings = build / "findings"
    findings.mkdir(exist_ok=True)
    fill_corpus(name, corpus)
    before = set(findings.glob(f"{name}-*"))
    begin = time.monotonic()
    log = build / f"{name}.log"
    with log.open("wb") as out:
        ended = subprocess.run(
            ["nice", "-n", "6", build / f"{name}-fuzz", f"-runs={options.executions}",
             f"-max_total_time={options.seconds}", f"-max_len={TARGETS[name].max_size}",
             "-print_final_stats=1", "-print_funcs=0", "-timeout=600", "-report_slow_units=600", "-rss_limit_mb=2048",
             f"-artifact_prefix={findings}/{name}-", corpus],
            stdout=out, stderr=subprocess.STDOUT, check=False,
            env={**os.environ, "ASAN_OPTIONS": SANITIZERS}).returncode
    seconds = time.monotonic() - begin
    text = log.read_text(errors="replace")
    # The last line that says so, because a program that was killed prints no other.
    executed = re.findall(r"stat::number_of_executed_units: (\d+)|^#(\d+)\t", text, re.MULTILINE)
    executed = int(max(executed[-1])) if executed else 0
    if ended != 0:
        kept = findings / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.log"
        kept.write_text(f"{text}\nended with status {ended}\n")
        print(f"{name} ended with status {ended} after {executed} executions:")
        print("".join(f"  | {line}\n" for line in text.splitlines()[-20:]), flush=True)
    with (build / "runs.txt").open("a") as runs:
        runs.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {name} {executed} {seconds:.0f} {ended}\n")
    return executed, seconds, sorted(set(findings.glob(f"{name}-*")) - before)


def exported_coverage(name, build, kind, files):
    return subprocess.run(["llvm-cov", "export", f"-format={kind}", build / f"{name}-cover",
                           f"-instr-profile={build}/{name}.profile", *files],
                          check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def covered_lines(name, build):
    """Runs all inputs that were kept; returns for each file how many lines it has, and those that
    none reached."""
    inputs = sorted((build / "corpus" / name).iterdir())
    raw = build / f"{name}.raw"
    subprocess.run([build / f"{name}-cover", "--as-they-are", *inputs], check=True,
                   stdout=subprocess.DEVNULL, env={**os.environ, "LLVM_PROFILE_FILE": str(raw)})
    subprocess.run(["llvm-profdata", "merge", "-sparse", raw, "-o", build / f"{name}.profile"],
                   check=True)
    files = [ROOT / (each[1:] if each.startswith("/") else INCLUDE + each)
             for each in TARGETS[name].files]
    out = {}
    for line in exported_coverage(name, build, "lcov", files).splitlines():
        if line.startswith("SF:"):
            lines = out.setdefault(line[3:], {})
        elif line.startswith("DA:"):
            number, count = line[3:].split(",")[:2]
            lines[int(number)] = max(lines.get(int(number), 0), int(count))
    # As names of functions are mangled.
    left_out = [*COMPILE_TIME, *(each for its in TARGETS[name].beside.values() for each in its)]
    without = "|".join(f"(?<![0-9]){len(each)}{each}" for each in left_out)
    for function in json.loads(exported_coverage(name, build, "text", files))["data"][0]["functions"]:
        if re.search(without, function["name"]):
            first, _, last, *_ = function["regions"][0]
            for number in range(first, last + 1):
                out.get(function["filenames"][0], {}).pop(number, None)
    return {pathlib.Path(file).relative_to(ROOT):
            (len(its), sorted(n for n, count in its.items() if count == 0))
            for file, its in out.items() if its}


def damage_objects(options):
    """Has virtine-cc read damaged objects and archives; returns what fuzz() and covered_lines() do.
    An execution is a whole build, so there are a thousand times fewer."""
    rounds = max(options.executions // 1000, 10)
    program = options.build / "damage_objects.py"
    program.write_text(
        "import sys, unittest\n"
        f"sys.path.insert(0, {str(ROOT / 'tests' / 'guests')!r})\n"
        "import test_damaged\n"
        "unittest.main('test_damaged', argv=['', 'Objects.test_damaged_objects_and_archives'])\n")

    def damage(number, *how):
        return subprocess.run(["/usr/bin/python3", *how, program, GUESTS / "virtine-cc"],
                              cwd=options.build, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8",
                              env={**os.environ, "VIRTINE_DAMAGED_ROUNDS": str(number)})
    begin = time.monotonic()
    done = damage(rounds)
    seconds = time.monotonic() - begin
    found = []
    if done.returncode != 0:
        found.append(options.build / "findings" / "virtine-cc-rounds")
        found[0].parent.mkdir(exist_ok=True)
        found[0].write_text(done.stdout)
    # Which takes ten times as long.
    folder = options.build / "virtine-cc-cover"
    damage(min(rounds, 150), "-m", "trace", "--count", "--missing",
           "--coverdir", folder, "--ignore-dir", "/usr")
    files = {}
    for name in TARGETS["virtine-cc"].files:
        lines = (folder / f"virtine_cc.{pathlib.Path(name).stem}.cover").read_text().splitlines()
        counted = {number: line for number, line in enumerate(lines, 1)
                   if re.match(r" *\d+: |>>>>>>", line)}
        files[pathlib.Path(name[1:])] = (
            len(counted), [n for n, line in counted.items() if line.startswith(">>>>>>")])
    return rounds, seconds, found, files


def run(name, options):
    if name == "virtine-cc":
        return damage_objects(options)
    compile_target(name, options.build)
    executed, seconds, found = fuzz(name, options)
    return executed, seconds, found, covered_lines(name, options.build)


def ranges(numbers):
    out = []
    for number in numbers:
        if out and out[-1][1] == number - 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def main():
    options = parse()
    options.build = options.build.absolute()
    options.build.mkdir(parents=True, exist_ok=True)
    failed = False
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        done = pool.map(lambda name: (name, *run(name, options)), options.targets)
        print(f"{'target':12} {'executions':>11} {'seconds':>8} {'a second':>9} {'lines':>9} "
              f"{'reached':>9} findings")
        for name, executed, seconds, found, files in done:
            lines = sum(count for count, _ in files.values())
            missed = sum(len(numbers) for _, numbers in files.values())
            print(f"{name:12} {executed:11} {seconds:8.0f} {executed / seconds:9.0f} "
                  f"{lines - missed:5}/{lines:<4}{100 * (lines - missed) / lines:7.1f} % {len(found)}", flush=True)
            for each in found:
                print(f"  {each}")
            for file, (_, numbers) in files.items():
                if options.missing and numbers:
                    print(f"  not reached: {file}: {ranges(numbers)}")
            failed = failed or bool(found)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
