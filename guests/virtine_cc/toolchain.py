# Clang, and where it finds the headers and libraries of C and C++ that a guest is made with.
# Must not know what is compiled or linked.
# SPDX-License-Identifier: MIT

import functools
import os
import pathlib
import re
import shlex

from .failure import Failure
from .tools import find_tool, run, with_versions

MUSL_PLACES = ("/usr/include/x86_64-linux-musl", "/usr/lib/x86_64-linux-musl")
HOST_HEADERS = ("/usr/include", "/usr/include/x86_64-linux-gnu")
# What is a part of a guest's C and C++ library.
OF_LIBC = "c m pthread dl rt util crypt resolv anl stdc++ gcc gcc_eh gcc_s".split()
HOST = "--target=x86_64-linux-gnu"  # whose libstdc++ guests are linked with


class Toolchain:
    """What is there, looked up when it is needed."""

    @functools.cached_property
    def clang(self):
        return find_tool(with_versions("clang"), "clang", "VIRTINE_CLANG")

    @functools.cached_property
    def lld(self):
        return find_tool(with_versions("ld.lld"), "lld")

    @functools.cached_property
    def objdump(self):
        return find_tool(with_versions("llvm-objdump"), "llvm")

    @functools.cached_property
    def musl(self):
        """The folders of musl's headers and of its libraries."""
        chosen = os.environ.get("VIRTINE_MUSL")
        if chosen:
            chosen = pathlib.Path(chosen).absolute()
            return chosen / "include", chosen / "lib"
        return tuple(map(pathlib.Path, MUSL_PLACES))

    @functools.cached_property
    def libc(self):
        archive = self.musl[1] / "libc.a"
        if not archive.is_file():
            raise Failure(f"{archive} was not found; install the C library of guests "
                          "(Debian: apt install musl-dev), or name its folder by VIRTINE_MUSL")
        return archive

    @functools.cached_property
    def said(self):
        """What clang says of where it looks for the headers of C++ sources, and of its own."""
        return run([self.clang, HOST, "-E", "-x", "c++", "-", "-v"]).stderr

    @functools.cached_property
    def c_headers(self):
        """The options by which C sources find musl's headers before any others."""
        include = self.musl[0]
        if not (include / "stdio.h").is_file():
            raise Failure(f"{include / 'stdio.h'} was not found; install the C library of guests "
                          "(Debian: apt install musl-dev), or name its folder by VIRTINE_MUSL")
        place = re.search(r"^ .* (-resource-dir .*)$", self.said, re.MULTILINE)
        if not place:
            raise Failure(f"{self.clang} does not say, with -v, where its own headers are")
        own = shlex.split(place[1])[1]
        return ["-isystem", include, "-isystem", f"{own}/include",
                *(word for path in reversed(HOST_HEADERS) for word in ("-idirafter", path))]

    @functools.cached_property
    def cxx_headers(self):
        """The options by which C++ sources find libstdc++'s headers."""
        found = re.search(r"(?s)#include <\.\.\.> search starts here:\n(.*?)End of search", self.said)
        folders = [os.path.normpath(line.strip()) for line in found[1].splitlines()] if found else []
        folders = [folder for folder in folders if re.search(r"/c\+\+/[0-9]", folder)]
        if not any(os.path.isfile(f"{folder}/vector") for folder in folders):
            raise Failure("the C++ standard headers were not found (Debian: apt install g++)")
        return [word for folder in folders for word in ("-isystem", folder)]

    def library(self, name):
        """Returns the path of one of GCC's static libraries."""
        said = run([self.clang, HOST, f"-print-file-name={name}"]).stdout.strip()
        if not os.path.isfile(said):
            raise Failure(f"{name} was not found (Debian: apt install g++)")
        return pathlib.Path(os.path.normpath(said))

    def archive(self, name, folders):
        """Returns the path of what -l means by `name`, or None if a guest has it anyway."""
        if name in OF_LIBC:
            return None
        file = name[1:] if name.startswith(":") else f"lib{name}.a"
        said = run([self.clang, HOST, f"-print-file-name={file}"]).stdout.strip()
        for path in (*(pathlib.Path(folder) / file for folder in folders), pathlib.Path(said)):
            if path.is_file() and path.name == file and path != pathlib.Path(file):
                return pathlib.Path(os.path.normpath(path))
        shared = run([self.clang, HOST, f"-print-file-name=lib{name}.so"]).stdout.strip()
        raise Failure(f"-l{name}: {file} was not found" + (
            f"; there is only {os.path.normpath(shared)}, and a guest cannot load shared libraries"
            if os.path.isfile(shared) else "") + "; install what has it (Debian: a package "
            "...-dev), or name its folder by -L")
