# Programs and packages of others: how they are found and run.
# Must not know what they make.
# SPDX-License-Identifier: MIT

import os
import re
import shutil
import subprocess

from .failure import Failure


def find_tool(names, package, variable=None):
    chosen = os.environ.get(variable) if variable else None
    if chosen:
        path = shutil.which(chosen)
        if not path:
            raise Failure(f"{variable} is '{chosen}', which is not a program that can be run")
        return path
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise Failure(f"{names[0]} was not found; install it (Debian: apt install {package})")


def with_versions(name):
    return [name] + [f"{name}-{version}" for version in range(19, 13, -1)]


def run(command):
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                          errors="replace", check=False)


def import_elftools():
    # Not at the top, so that a missing package is reported as every other failure is.
    try:
        from elftools.elf.elffile import ELFFile
    except ImportError as why:
        raise Failure("the Python package pyelftools was not found; install it "
                      "(Debian: apt install python3-pyelftools)") from why
    return ELFFile


def demangle_names(names):
    tool = shutil.which("c++filt") or shutil.which("llvm-cxxfilt")
    if not tool or not any(name.startswith(("_Z", "_R")) for name in names):
        return names
    found = subprocess.run([tool], input="\n".join(names), stdout=subprocess.PIPE,
                           encoding="utf-8", check=False).stdout.splitlines()
    return found if len(found) == len(names) else names


def readable(names):
    """Returns the names as they stand in the source: demangled, without what our macros and rustc's
    hashes add."""
    added = r"^virtine_(entry|flushing)_|\bvirtine_body_|::h[0-9a-f]{16}$|\[[0-9a-f]{16}\]"
    names = [re.sub(added, "", name) for name in demangle_names(names)]
    return [re.sub(r"^_GLOBAL__sub_I_", "constructors of ", name) for name in names]
