#!/usr/bin/env python3
# Checks what virtine-run prints, and its exit statuses: for command lines that need no KVM here,
# for calls where there is KVM, which is here or in an emulated host.
# SPDX-License-Identifier: MIT
"""usage: check.py PROGRAM PLUGIN.virtine VIRTINE_CC COMPLETION INTERFACE C_HOST RUST_CALLS RUST_PACKAGE
                [RUN_IN_HOST...]

The four are programs in C and Rust that call functions of the plug-in or of their own, or empty."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

# Arguments, exit status, and what is printed: all of it, or a pattern of it.
NO_KVM = [
    (["--list", "{plugin}"], 0, None),
    (["--complete", "{plugin}"], 0, None),
    (["--help"], 0, re.compile("usage: virtine-run .*Exit status:", re.DOTALL)),
    (["--version"], 0, re.compile(r"virtine-run \d+\.\d+\.\d+")),
    ([], 2, re.compile("no image file is given; see virtine-run --help")),
    (["--bad"], 2, re.compile("--bad is unknown")),
    (["-x", "{plugin}", "square"], 2, re.compile("-x is unknown")),
    (["--raw=yes", "{plugin}"], 2, re.compile("--raw takes no value")),
    (["--timeout"], 2, re.compile("--timeout needs a value")),
    (["--timeout", "x", "{plugin}", "spin"], 2, re.compile("--timeout x is not a number")),
    (["--timeout", "0", "{plugin}", "spin"], 2, re.compile("is not a number of seconds")),
    (["--timeout", "nan", "{plugin}", "spin"], 2, re.compile("is not a number of seconds")),
    (["--memory", "1T", "{plugin}", "spin"], 2, re.compile("--memory 1T is not a size")),
    (["--memory", "99999999999G", "{plugin}", "spin"], 2, re.compile("is not a size")),
    (["--hypercalls", "-1", "{plugin}", "spin"], 2, re.compile("is not a number")),
    (["{plugin}"], 2, re.compile("no function is given")),
    (["--list", "{plugin}", "square"], 2, re.compile("square is one word too many")),
    (["--json", "x", "{plugin}", "square", "3"], 2, re.compile("3 is one word too many")),
    (["{plugin}", "nothing"], 2, re.compile("has no function nothing; it has asks, both, ")),
    (["{plugin}", "asks", "1"], 2, re.compile("asks can make hypercall 7, which only a program")),
    (["{plugin}", "wide", "1"], 2, re.compile("no value is a long double")),
    (["{plugin}.missing", "square"], 2, re.compile("No such file")),
    ([__file__, "square"], 2, re.compile("this is not an image file: it is no ELF file")),
    (["/dev/zero", "square"], 2, re.compile("this is not a regular file")),
    (["--memory", "64K", "{plugin}", "square", "3"], 2, re.compile("max_memory allows 65536")),
    (["{plugin}", "square"], 2, re.compile("square takes 1 argument, and 0 are given")),
    (["{plugin}", "square", "1", "2"], 2, re.compile("takes 1 argument, and 2 are given")),
    (["{plugin}", "square", "x"], 2, re.compile("argument 1 of square: x is not int\n")),
    (["{plugin}", "square", ""], 2, re.compile("argument 1 of square:  is not int\n")),
    (["{plugin}", "maybe", "yes"], 2, re.compile("argument 1 of maybe: yes is not bool\n")),
    (["{plugin}", "divide", "1", "1,5"], 2, re.compile("argument 2 of divide: 1,5 is not int\n")),
    (["{plugin}", "square", "2.5"], 2, re.compile("argument 1 of square: 2.500000 is not int")),
    (["{plugin}", "square", "3000000000"], 2, re.compile("is from -2147483648 to 2147483647")),
    (["{plugin}", "total", "[1,\"x\"]"], 2, re.compile("of total: element 1: a text is not doub")),
    (["{plugin}", "mirror", "{{\"hex\": \"00\"}}"], 2, re.compile("1 bytes are not struct of 8")),
    (["--json", "{bad}", "{plugin}", "square"], 2, re.compile("are to be an array")),
    (["--json", "{none}", "{plugin}", "square"], 2, re.compile("cannot be read")),
    (["--json", "{folder}", "{plugin}", "square"], 2, re.compile("cannot be read")),
    (["--json", "/dev/null", "{plugin}", "square"], 2, re.compile("at character 1: here should")),
    (["{plugin}", "total", "[1e999]"], 2, re.compile("this number is out of range")),
    (["{plugin}", "total", 200 * "[" + 200 * "]"], 2, re.compile("its arrays are too deep")),
    (["{plugin}", "total", '["\udcff"]'], 2, re.compile("a text does not end, or is not UTF-8")),
    (["--env", "A=1", "--env", "B=2", "--entropy", "{plugin}", "square"], 2, None),
    (["--env", "=1", "{plugin}", "square", "1"], 2, re.compile("--env =1 does not name a variab")),
    (["--read", "/nowhere", "{plugin}", "square"], 2, re.compile("--read /nowhere: No such file")),
    (["--read", "/nowhere:/data", "{plugin}", "square", "1"], 2,
     re.compile("^virtine-run: --read /nowhere: No such file or directory; see virtine-run --help$")),
    (["--write", "/dev/null:/data", "{plugin}", "square", "1"], 2,
     re.compile("--write /dev/null: this is no directory")),
    (["--read", "/:x", "{plugin}", "square"], 2, re.compile("No such file")),
    (["--read", "/tmp:/a", "--write", "/tmp:/a", "{plugin}", "square", "1"], 2,
     re.compile("about one thing")),
]
CALLS = [
    (["{plugin}", "square", "7"], 0, "49\n"),
    (["{plugin}", "square", "-7"], 0, "49\n"),
    (["{plugin}", "total", "[1, 2.5, -3]"], 0, "0.5\n"),
    (["{plugin}", "total", "[]"], 0, "0.0\n"),
    (["{plugin}", "scale", "[1, 2.5]", "2"], 0, "[2.0, 5.0]\n"),
    (["--json", "{good}", "{plugin}", "scale"], 0, "[3.0, 6.0]\n"),
    (["{plugin}", "length", "hëllo"], 0, "6\n"),
    (["{plugin}", "length", "3"], 0, "1\n"),
    (["{plugin}", "greet", "you"], 0, '"hi, you"\n'),
    (["--raw", "{plugin}", "greet", "you"], 0, "hi, you"),
    (["{plugin}", "shout", "abc"], 0, 'true\n"ABC"\n'),
    (["{plugin}", "maybe", "true"], 0, "4\n"),
    (["{plugin}", "maybe", "false"], 0, "null\n"),
    (["{plugin}", "both", "[0, 7]"], 0, "[0, 0.5]\n"),
    (["{plugin}", "both", "[1, 7]"], 0, "[1, 7.0]\n"),
    (["{plugin}", "mirror", "{{\"hex\": \"01000000ff000000\"}}"], 0,
     '{"hex": "ff00000001000000"}\n'),
    (["{plugin}", "divide", "1", "0"], 1, re.compile("guest_fault: divide error at 0x.* in .*div")),
    (["{plugin}", "hello"], 1, re.compile("system_call_denied: the guest made system call writev")),
    (["--allow-output", "{plugin}", "hello"], 0, "hello\n"),
    (["--others-fail", "{plugin}", "hello"], 0, ""),
    (["--timeout", "0.2", "{plugin}", "spin"], 4, re.compile("timed_out")),
    (["{plugin}", "now"], 1, re.compile("system_call_denied")),
    (["--clock", "{plugin}", "now"], 0, re.compile("[0-9]+\n")),
    (["--clock", "--hypercalls=0", "{plugin}", "now"], 4, re.compile("hypercall_limit")),
    (["--read", "{folder}:/data", "{plugin}", "first_byte", "/data/bad"], 0, "51\n"),
    (["--read", "{folder}", "{plugin}", "first_byte", "{bad}"], 0, "51\n"),
    (["--read", "{folder}:/data", "{plugin}", "first_byte", "/data/../bad"], 0, "-1\n"),
    (["--read", "{folder}:/data", "{plugin}", "create", "/data/new"], 0, "-1\n"),
    (["--write", "{folder}:/data", "{plugin}", "create", "/data/new"], 0, "0\n"),
    (["--env", "A=12", "--others-fail", "{plugin}", "variable", "A"], 0, "12\n"),
    (["--others-fail", "{plugin}", "variable", "HOME"], 0, "-1\n"),
    (["--entropy", "{plugin}", "random_bytes"], 0, "1\n"),
    (["{plugin}", "random_bytes"], 2, re.compile("random_bytes asks for random bytes; grant them by --entropy")),
]
LIST = "int square(int)\n"


def agrees(expected, printed):
    if expected is None:
        return True
    return expected == printed if isinstance(expected, str) else bool(expected.search(printed))


def check_completion(program, plugin, completion):
    """Returns what the completion of bash finds."""
    script = (f'virtine-run() {{ "{program}" "$@"; }}; . "{completion}"; '
              'ask() { COMP_WORDS=(virtine-run "$@"); COMP_CWORD=$#; _virtine_run; '
              'echo "${COMPREPLY[@]}"; }; '
              f'ask --timeout 3 "{plugin}" s; ask --al; ask "{plugin}" square ""')
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return found.stdout.splitlines() == ["scale shout spin square", "--allow-output --allow-input",
                                         ""], found.stdout + found.stderr


def same_signatures(program, plugin, virtine_cc):
    """virtine-run and virtine-cc --show render signatures alike."""
    listed = subprocess.run([program, "--list", plugin], capture_output=True, text=True, check=True)
    shown = subprocess.run([virtine_cc, "--show", plugin], capture_output=True, text=True, check=True)
    declared = [line.partition(";")[0] for line in shown.stdout.splitlines() if ";" in line]
    return LIST in listed.stdout and declared == listed.stdout.splitlines(), shown.stdout


def run_here(commands):
    for command in commands:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        yield done.returncode, done.stdout.decode(errors="replace")


def run_in_host(run, commands, files):
    """One boot for all."""
    words = [*run, *[word for name in files for word in ("--file", f"{name}:{name}")], "--"]
    for command in commands:
        words += [] if words[-1] == "--" else ["++"]
        words += command
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode == 77:
        print(done.stdout.decode())
        sys.exit(77)
    names = "|".join({re.escape(pathlib.Path(command[0]).name) for command in commands})
    found = re.findall(rf"^== (?:{names})\n(.*?)\n?== (?:{names}): exit status (\d+)$",
                       done.stdout.decode(), re.MULTILINE | re.DOTALL)
    if len(found) != len(commands):
        print(done.stdout.decode())
        sys.exit(1)
    for printed, status in found:
        yield int(status), printed


def main():
    (program, plugin, virtine_cc, completion, interface, host, rust_calls, rust_package,
     *run) = sys.argv[1:]
    plugin = os.path.abspath(plugin)  # The emulated host has it there, too.
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        files = {name: f"{folder}/{name}" for name in ("good", "bad", "none")}
        pathlib.Path(files["good"]).write_text("[[1, 2], 3]", encoding="utf-8")
        pathlib.Path(files["bad"]).write_text("3", encoding="utf-8")
        places = {"plugin": plugin, "folder": folder, **files}

        def commands(cases):
            return [[program, *[word.format(**places) for word in words]]
                    for words, _status, _expected in cases]

        calls, call_commands = [*CALLS], commands(CALLS)
        if interface:
            calls += [(["calls of the C interface"], 0, "0 failures\n"), (["c_host"], 0, None)]
            call_commands += [[interface, plugin, "calls"], [host, plugin]]
        if rust_calls:
            calls += [(["calls of the crate"], 0, re.compile("1 passed")),
                      (["rust_package"], 0, "1090 cents\n3 characters\nguest_fault\n")]
            call_commands += [[rust_calls, "calls", "--exact", "--nocapture"], [rust_package]]
            os.environ["VIRTINE_TEST_PLUGIN"] = plugin
            run += ["--env", f"VIRTINE_TEST_PLUGIN={plugin}"] if run else []
        has_kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
        ran = [*zip(NO_KVM, run_here(commands(NO_KVM)))]
        if run:
            ran += zip(calls, run_in_host(run, call_commands, [plugin, files["good"], files["bad"]]))
        elif has_kvm:
            ran += zip(calls, run_here(call_commands))
        for (words, status, expected), (got, printed) in ran:
            # What is not at the end of a line is told from what comes next by one that is added.
            if got != status or not (agrees(expected, printed) or agrees(expected, printed + "\n")):
                failures.append(f"{words}: {got}, not {status}, or not {expected!r}:\n{printed}")
        for good, printed in (check_completion(program, plugin, completion),
                              same_signatures(program, plugin, virtine_cc)):
            if not good:
                failures.append(printed)
    print(*failures, f"{len(ran) - len(failures)} good", sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
