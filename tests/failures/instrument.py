#!/usr/bin/env python3
# Writes a copy of the headers in which each system call asks a test first whether it is to fail,
# and a list of the calls. A call that is not known here is an error, so that none is left out.
# Must never write to the headers themselves.
# SPDX-License-Identifier: MIT
"""Has a test decide which system call of the library's fails."""

import pathlib
import re
import sys

# Functions of the C library whose failure the kernel decides on.
CAN_FAIL = set("""
    accept4 access bind clock_gettime close eventfd fallocate fchmod fcntl fstat fstatfs ftruncate
    getrandom ioctl isatty listen lseek madvise memfd_create mkdirat mkostemp mmap mprotect munmap
    open poll pread preadv pthread_create pthread_sigmask pwrite pwritev read readlink readv recv
    recvmsg rename renameat sched_getaffinity sched_getcpu sched_setaffinity send sendmsg setsockopt
    sigpending sigtimedwait socket stat syscall unlink unlinkat write writev
    """.split())
# Those that make no system call, or one that cannot fail.
CANNOT_FAIL = {
    "getauxval": "reads what the kernel has put on the stack",
    "getpid": "never fails",
    "pthread_getcpuclockid": "computes a number, for a thread that runs",
    "pthread_join": "waits for a thread that nobody else waits for",
    "pthread_self": "reads a register",
    "sched_yield": "never fails",
    "sigaddset": "sets a bit",
    "sigdelset": "clears a bit",
    "sigemptyset": "clears bits",
    "sigfillset": "sets bits",
    "sigismember": "reads a bit",
    "strnlen": "reads memory",
}
# A call by its global name, and those that the library calls without the two colons.
CALL = re.compile(r"(?<![\w>])::([a-z]\w*)\(|"
                  r"(?<![\w:.>])((?:pthread_|sched_|timer_|clock_get|clock_nano|sig(?!n))\w+)\(")
# What fcntl, ioctl and syscall are asked for, where the line tells.
WHAT = re.compile(r"\b(?:SYS_)?(openat2|getdents64|faccessat2|pwritev2|F_[A-Z_]+|TIOC[A-Z]+)\b")
THREAD = re.compile(r"\bstd::thread\(")
# What makes system calls behind the library's back.
UNSEEN = re.compile(r"std::(?:[io]?fstream|filesystem|jthread|async|random_device|system)\b|"
                    r"\b(?:fopen|popen|getenv|dlopen|tmpfile)\(")
REQUEST = re.compile(r'^inline constexpr auto \w+ = detail::\w+(?:<.*>)?\((0x[0-9a-f]+), "(KVM_\w+)"\);',
                     re.M)


class Unknown(Exception):
    pass


def instrument(text, name, sites):
    """Returns the text with each call marked, and adds what they are to `sites`."""
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{name}:{number}"

        def mark(found):
            call = found[1] or found[2]
            if call in CANNOT_FAIL or call == "new":
                return found[0]
            if call not in CAN_FAIL:
                raise Unknown(f"{where}: {call}() is not known to fail or not to")
            told = WHAT.search(code, found.end()) if call in ("fcntl", "ioctl", "syscall") else None
            sites.append((name, number, told[1] if told else call))
            return f"FAILING_CALL({len(sites) - 1}, {call})("

        def mark_thread(_):
            sites.append((name, number, "std::thread"))
            return f"std::thread(FAILING_THREAD({len(sites) - 1}) % "

        code, slashes, comment = line.partition("//")
        if UNSEEN.search(code):
            raise Unknown(f"{where}: this makes system calls that no test can have fail")
        lines.append(THREAD.sub(mark_thread, CALL.sub(mark, code)) + slashes + comment)
    return "\n".join(lines)


def main():
    source, target, table_file, depfile = map(pathlib.Path, sys.argv[1:])
    sites = []
    requests = []
    headers = sorted(path for path in source.rglob("*") if path.suffix in (".hpp", ".h"))
    for path in headers:
        name = path.relative_to(source).as_posix()
        text = path.read_text(encoding="utf-8")
        if not name.startswith("guest/"):
            before = len(sites)
            text = instrument(text, name, sites)
            if len(sites) > before:
                text = text.replace("#pragma once\n", '#pragma once\n#include <failing.hpp>\n', 1)
        if name == "kvm/uapi.hpp":
            requests = REQUEST.findall(text)
        to = target / "virtine" / name
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text, encoding="utf-8")
    table = ["// Made by instrument.py.", "#pragma once", "namespace failing {",
             "inline constexpr call_site calls[] = {"]
    table += [f'    {{"{name}", {line}, "{call}"}},' for name, line, call in sites]
    table += ["};", "inline constexpr request_site requests[] = {"]
    table += [f'    {{{number}, "{name}"}},' for number, name in requests]
    table += ["};", "}  // namespace failing", ""]
    table_file.write_text("\n".join(table), encoding="utf-8")
    depfile.write_text(f"{table_file}: {' '.join(map(str, headers))}\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except Unknown as why:
        sys.exit(f"instrument.py: {why}")
