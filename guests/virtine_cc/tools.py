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


# What is made depends on the command line alone: not on these, which tools take options and
# folders from, or write to.
IGNORED = re.compile(r"""CPATH|C(PLUS)?_INCLUDE_PATH|OBJC(PLUS)?_INCLUDE_PATH|COMPILER_PATH
    |LIBRARY_PATH|GCC_EXEC_PREFIX|DEPENDENCIES_OUTPUT|SUNPRO_DEPENDENCIES|CCC_\w+|CC_(PRINT|LOG)_\w+
    |QA_OVERRIDE_GCC3_OPTIONS|CLANG_CRASH_\w+|FORCE_CLANG_\w+|LLD_\w+|NASMENV|GNUTARGET""",
                     re.VERBOSE)


def run(command, text=None):
    """Runs a command, to which `text` is given to read."""
    environment = {name: value for name, value in os.environ.items()
                   if not IGNORED.fullmatch(name)}
    return subprocess.run([str(word) for word in command], input=text or "",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                          errors="replace", check=False, env=environment)


def printable(text, lines=True):
    """Returns a text without what moves a terminal's cursor, which names that others chose can
    have; the ends of lines stay if it has `lines`."""
    kept = "\n\t" if lines else ""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda each: each[0] if each[0] in kept else
                  f"\\x{ord(each[0]):02x}", text)


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
    found = run([tool], "\n".join(names)).stdout.split("\n")
    return found if len(found) == len(names) else names


def readable(names):
    """Returns the names as they stand in the source: demangled, without what our macros and rustc's
    hashes add."""
    added = r"^virtine_(entry|flushing)_|\bvirtine_body_|::h[0-9a-f]{16}$|\[[0-9a-f]{16}\]"
    names = [re.sub(added, "", name) for name in demangle_names(names)]
    return [re.sub(r"^_GLOBAL__sub_I_", "constructors of ", name) for name in names]
