#!/usr/bin/python3
# Checks that headers include only what lies below them, by the table here.
# Must not know what any of them does.
# SPDX-License-Identifier: MIT
"""Check the order of the headers below include/virtine."""

import argparse
import pathlib
import re
import sys

# A header may include those of the ranks above its own in this table, and those that stand before
# it in its own rank, so that there can be no cycle. Every header is listed.
RANKS = [
    "version error result",
    # Freestanding: what guests include. x86/user64 is here because it holds the numbers that both
    # sides agree on.
    "bytes signature hypercall entropy environment checks frame x86/user64 "
    "guest/call guest/arguments guest/entry guest",
    "x86/bytes x86/code_writer x86/cpu_mode x86/descriptors x86/loops x86/page_table "
    "x86/ending x86/processor x86/trampoline x86/trap "
    "out_of_memory process block_signals kvm/uapi kvm/explain kvm/fd kvm/mapping kvm/capability kvm/exit",
    "kvm/vcpu kvm/vm kvm/system image",
    "digest source_image guest_memory guest_access tainted object_bytes layout write_set "
    "failed_entry fault_report posix/quiet_signals snapshot extended_state guest_cpuid guest_cpu grant "
    "system_call_names policy_usage system_call stop allow policy "
    "allow_entropy posix/rights posix/request posix/host_files posix/no_wait posix/paths "
    "posix/descriptor_calls posix/path_calls posix/system_calls posix/grants posix "
    "pool_options slots workers pending",
    "deadline runner shared_snapshot machine resident bare_processor bare_machine "
    "gdb/packet gdb/registers gdb/connection gdb/server gdb/debugged_machine",
    "machine_like lease kept_machines pool marshal batch entry_checks saved_snapshot",
    "serve virtine_fn session single_source",
    "gdb virtine format",
]
# Included by users only.
LEAVES = {"format", "gdb", "guest", "virtine"}
FREESTANDING = 1


def includes_of(text):
    return re.findall(r"^\s*#\s*include\s*[<\"]virtine/([^>\"]+)\.hpp[>\"]", text, re.MULTILINE)


def problems(headers):
    """Yields what is wrong with `headers`, {name: text}."""
    place = {name: (rank, index) for rank, names in enumerate(RANKS)
             for index, name in enumerate(names.split())}
    for name in sorted(place.keys() - headers.keys()):
        yield f"{name}.hpp is in the table but does not exist"
    for name in sorted(headers.keys() - place.keys()):
        yield f"{name}.hpp is not in the table of tests/headers/layers.py"
    for name in sorted(headers.keys() & place.keys()):
        for other in includes_of(headers[name]):
            if other not in place:
                yield f"{name}.hpp includes {other}.hpp, which is not in the table"
            elif place[other] >= place[name]:
                yield f"{name}.hpp includes {other}.hpp, which lies above it or beside it"
            elif other in LEAVES:
                yield f"{name}.hpp includes {other}.hpp, which is for users"
            elif place[name][0] == FREESTANDING != place[other][0]:
                yield f"{name}.hpp includes {other}.hpp, but guests include it"
            elif {name.split("/")[0], other.split("/")[0]} == {"kvm", "x86"}:
                yield f"{name}.hpp includes {other}.hpp; kvm and x86 know nothing of each other"


def self_test():
    """Shows that each rule can fail."""
    good = {name: "" for names in RANKS for name in names.split()}
    cases = {
        "lies above": {"error": "#include <virtine/result.hpp>"},
        "beside it": {"pool": '#include "virtine/marshal.hpp"'},
        "is for users": {"virtine": "#include <virtine/guest.hpp>"},
        "guests include it": {"frame": "#  include <virtine/error.hpp>"},
        "know nothing": {"kvm/vcpu": "#include <virtine/x86/bytes.hpp>"},
        "is not in the table of": {"unlisted": ""},
        "which is not in the table": {"pool": "#include <virtine/unlisted.hpp>"},
    }
    for expected, change in cases.items():
        found = list(problems({**good, **change}))
        assert len(found) == 1 and expected in found[0], (expected, found)
    found = list(problems({name: text for name, text in good.items() if name != "error"}))
    assert len(found) == 1 and "does not exist" in found[0], found
    assert not list(problems(good))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("include", type=pathlib.Path, help="the folder that holds virtine/")
    root = parser.parse_args().include / "virtine"
    self_test()
    headers = {path.relative_to(root).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
               for path in root.rglob("*.hpp")}
    found = list(problems(headers))
    print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
