#!/usr/bin/python3
# Checks that headers include only what lies below them, by the list here.
# Must not know what any of them does.
# SPDX-License-Identifier: MIT
"""Check the order of the folders below include/virtine."""

import argparse
import pathlib
import re
import sys

# From the bottom to the top. A name that ends in / is a folder; the others are the headers that
# users include. Each includes only what stands in the lines above its own, or, in its own folder,
# what does not include it in turn.
LAYERS = [
    # Freestanding: guests include these.
    "cxx20",
    "version hypercall bytes valid_reply",
    "entropy abi/",
    "environment",
    "guest/",
    "guest",
    # The host's.
    "fault error/",
    "error",
    "result call_usage",
    "os/",
    "kvm/ x86/",
    "image guest_memory tainted value lent",
    "value/",
    "machine/",
    "loader/",
    "bare_machine call_options pool_options policy/",
    "prometheus",
    "pool/ policy_usage allow",
    "pool pending policy",
    "call/ allow_entropy",
    "posix/ gdb/",
    "posix virtine_fn dynamic_function",
    "single_source",
    "session function dynamic_session dynamic_policy",
    "loaded_image",
    "snapshot_file",
    "virtine gdb format",
    "c/",
]
# The last line of what guests include.
LAST_FREESTANDING = "guest"
# Included by users only.
LEAVES = {"format", "gdb", "guest", "prometheus", "virtine"}


def includes_of(text):
    return re.findall(r"^\s*#\s*include\s*[<\"]virtine/([^>\"]+)\.hpp[>\"]", text, re.MULTILINE)


def unit_of(name):
    """The folder of a header in one, else the header itself."""
    return name.split("/")[0] + "/" if "/" in name else name


def cycles(headers):
    """Yields each header that includes itself by way of others."""
    done = set()

    def visit(name, path):
        if name in path:
            yield " includes ".join(f"{each}.hpp" for each in [*path[path.index(name):], name])
        elif name not in done:
            done.add(name)
            for other in includes_of(headers.get(name, "")):
                yield from visit(other, [*path, name])

    for name in sorted(headers):
        yield from visit(name, [])


def freestanding(headers):
    """Returns those of the names `headers` that guests include."""
    last = LAYERS.index(LAST_FREESTANDING)
    units = {unit for line in LAYERS[:last + 1] for unit in line.split()}
    return [name for name in headers if unit_of(name) in units]


def problems(headers):
    """Yields what is wrong with `headers`, {name: text}."""
    rank = {unit: number for number, line in enumerate(LAYERS) for unit in line.split()}
    units = {unit_of(name) for name in headers}
    for unit in sorted(rank.keys() - units):
        yield f"{unit} is in the list but does not exist"
    for name in sorted(headers):
        if unit_of(name) not in rank:
            yield f"{name}.hpp is not in the list of tests/headers/layers.py"
            continue
        for other in includes_of(headers[name]):
            mine, its = unit_of(name), unit_of(other)
            if its not in rank:
                yield f"{name}.hpp includes {other}.hpp, which is not in the list"
            elif other in LEAVES:
                yield f"{name}.hpp includes {other}.hpp, which is for users"
            elif mine != its and rank[its] >= rank[mine]:
                yield f"{name}.hpp includes {other}.hpp, which lies above it or beside it"
    yield from cycles(headers)


def self_test():
    """Shows that each rule can fail."""
    good = {unit.replace("/", "/any"): "" for line in LAYERS for unit in line.split()}
    cases = {
        "lies above": {"error": "#include <virtine/result.hpp>"},
        "beside it": {"kvm/any": '#include "virtine/x86/any.hpp"'},
        "is for users": {"virtine": "#include <virtine/guest.hpp>"},
        "is not in the list of": {"unlisted": ""},
        "which is not in the list": {"pool": "#include <virtine/unlisted.hpp>"},
        "os/b.hpp includes os/a.hpp": {"os/a": "#  include <virtine/os/b.hpp>",
                                       "os/b": "#include <virtine/os/a.hpp>"},
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
