#!/usr/bin/env python3
# Checks libvirtine from outside: what it exports, how large its structs are, and what a C program
# that is linked with it needs. Must not know what any function does.
# SPDX-License-Identifier: MIT
"""usage: check.py ABI.txt libvirtine.so INTERFACE PLUGIN.virtine"""

import pathlib
import subprocess
import sys


def output_of(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout


def symbols(path, *flags):
    """Yields the dynamic symbols of a file, without their addresses and types."""
    for line in output_of("nm", "-D", *flags, path).splitlines():
        yield line.split()[-1]


def main(abi, library, interface, plugin):
    exported = sorted(name for name in symbols(library, "--defined-only") if "@" in name)
    sizes = output_of(interface, plugin, "sizes").splitlines()
    listed = [line for line in pathlib.Path(abi).read_text(encoding="utf-8").splitlines()
              if not line.startswith("#")]
    problems = [f"exported or larger than listed: {line}"
                for line in sorted({*exported, *sizes} - {*listed})]
    problems += [f"listed, but gone or changed: {line}"
                 for line in sorted({*listed} - {*exported, *sizes})]
    problems += [f"{name} is exported by an accident" for name in symbols(library, "--defined-only")
                 if not name.startswith(("virtine_", "VIRTINE_"))]
    # Neither by itself nor by what it is linked with.
    problems += [f"the C program needs {name}" for name in symbols(interface, "--undefined-only")
                 if name.startswith("_Z") or "GLIBCXX" in name or "CXXABI" in name]
    problems += [f"the C program is linked with {line.split()[-1]}"
                 for line in output_of("readelf", "-d", interface).splitlines()
                 if "(NEEDED)" in line and "stdc++" in line]
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
