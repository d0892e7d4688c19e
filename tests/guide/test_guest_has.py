#!/usr/bin/python3
# Tests that each row of the guide's table "What of C and C++ a guest has" is backed by a test, which
# is there. Usage: test_guest_has.py ROOT
# SPDX-License-Identifier: MIT

import pathlib
import sys

TITLE = "### What of C and C++ a guest has"
LIBRARIES, POSIX, LACKING = "kvm/libraries.cpp", "kvm/posix.cpp", "kvm/lacking.cpp"
CONFORMANCE, FOREIGN = "kvm/guests/questions.hpp", "kvm/guests/foreign.c"
COMMAND, UNAVAILABLE = "guests/test_virtine_cc.py", "guests/test_unavailable.py"

# The first column of each row: the tests, as a file and words that are in it.
PROVEN = {
    "containers, strings, algorithms, smart pointers, `function`, `optional`, `variant`":
        [(LIBRARIES, '"containers, strings and algorithms"'), (LIBRARIES, "library::objects")],
    "`charconv`, `chrono` durations":
        [(LIBRARIES, '"text from numbers and numbers from text"'), (CONFORMANCE, "std::from_chars"),
         (CONFORMANCE, "duration_cast<seconds>")],
    "`std::views`": [(COMMAND, "test_views_compile_where_clang_knows_them")],
    "`malloc`, `new`":
        [(LIBRARIES, '"the heap ends where --heap says"'),
         (LIBRARIES, '"calls of a library make no system call"')],
    "exceptions, RTTI": [(LIBRARIES, '"exceptions are thrown, caught and thrown again"')],
    "static objects": [(LIBRARIES, '"static objects begin anew in each call"')],
    "variables of functions, `thread_local`, `errno`":
        [(LIBRARIES, '"thread_local variables last as long as the state"'),
         (LIBRARIES, "library::numbers_of_errors")],
    "`abort`, `assert`, `exit` and the like":
        [(LIBRARIES, '"calls that nothing in the guest can go on with end by name"'),
         (LIBRARIES, "errc::exited")],
    "recursion": [(LIBRARIES, "library::recurse")],
    "`printf`, files of `stdio`":
        [(LIBRARIES, '"what a call prints arrives when it ends, and nothing of before"'),
         (LIBRARIES, "speaks::first_line")],
    "files, `std::filesystem`, clocks, entropy":
        [(POSIX, '"files below a directory can be read, and looked at"'),
         (LIBRARIES, '"paths below a granted directory have a canonical form"'),
         (POSIX, '"clocks tell the host\'s time, and a sleep ends with the call"'),
         (POSIX, '"random bytes are given in full, up to what Linux gives without fail"')],
    "`getenv`, `virtine::guest::arguments()`":
        [(LIBRARIES, '"getenv gives what the policy grants"'),
         (LIBRARIES, '"a guest\'s arguments are those that the policy grants"')],
    "`mmap`": [(LIBRARIES, '"mmap has memory only, and the log of the system is lost"')],
    "threads, sockets, signals, processes, `dlopen`":
        [(UNAVAILABLE, "test_what_a_guest_cannot_have"),
         (LACKING, '"what no guest has fails as POSIX allows"')],
    "`std::cout`, file streams":
        [(UNAVAILABLE, "test_what_a_guest_cannot_have"),
         (UNAVAILABLE, "test_what_libraries_name_is_no_error")],
    "functions that only glibc has": [(UNAVAILABLE, "which only glibc has"),
                                      (UNAVAILABLE, "sys/cdefs.h")],
    "mutexes": [(CONFORMANCE, "std::string lock()"),
                (FOREIGN, "PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP"),
                (LIBRARIES, '"a guest that waits for itself ends at once"')],
    "`syscall` in your own code": [(COMMAND, "test_system_calls_of_others_stay"),
                                   ("unit/fault_report.cpp", "fault_kind::system_call")],
    "string streams, `regex`, `<regex.h>`":
        [(CONFORMANCE, "read_numbers()"), (CONFORMANCE, "std::sregex_iterator"),
         (CONFORMANCE, "match_in_c()")],
    "`std::locale`": [(CONFORMANCE, '"nonsense"'), (CONFORMANCE, 'money("C.UTF-8")')],
    "`syslog`": [(LIBRARIES, '"mmap has memory only, and the log of the system is lost"')],
}


def rows_of(text):
    """Returns the first column of each row of the table below the title."""
    part = text.split(TITLE, 1)[1]
    lines = part[part.index("|---|"):].split("\n")[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            return rows
        rows.append(line.split(" | ")[0].removeprefix("| "))
    return rows


def main():
    root = pathlib.Path(sys.argv[1])
    rows = rows_of((root / "docs" / "guide.md").read_text())
    problems = [f"docs/guide.md: the row {row} names no test in {__file__}"
                for row in rows if row not in PROVEN]
    problems += [f"{__file__}: docs/guide.md has no row {row}" for row in PROVEN if row not in rows]
    for row, proofs in PROVEN.items():
        problems += [f"{file}: {words} is not there, which proves the row {row}"
                     for file, words in proofs
                     if words not in (root / "tests" / file).read_text()]
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
