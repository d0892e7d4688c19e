# From sources to objects, with what these were made from.
# Must not know what is in the objects.
# SPDX-License-Identifier: MIT

import pathlib
import re
import shutil
import sys

from .failure import Failure
from .rust import RustCompiler
from .single_source import stand_in
from .toolchain import Toolchain
from .tools import find_tool, run

CLANG_FLAGS = """
    --target=x86_64-linux-musl -nostdinc -DVIRTINE_GUEST=1 -fno-pic -fno-pie -mcmodel=small
    -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables
    -fno-stack-protector -fcf-protection=none -fno-math-errno -fstack-clash-protection -Wall
""".split()
# Destructors of objects that live to the end have nothing to do: the machine is wiped.
CXX_FLAGS = "-fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-c++-static-destructors".split()


def is_cxx(source):
    return pathlib.Path(source).suffix in (".cpp", ".cc")


def parse_dependencies(text):
    """Returns the prerequisites of the one rule in `text`, as clang and nasm write it."""
    text = text.replace("\\\n", " ").partition(": ")[2]
    words = re.findall(r"(?:\\[ #\\]|\$\$|[^\s])+", text)
    return [re.sub(r"\\([ #])", r"\1", word).replace("$$", "$") for word in words]


class Compiler:
    """Makes objects from sources, and remembers what they were made from."""

    def __init__(self, options, installation, directory):
        self.options = options
        self.installation = installation
        self.directory = directory
        self.toolchain = Toolchain()
        self.dependencies = [installation.program, *installation.modules]
        self.archives = []  # of which the linker takes what is asked for
        self.count = 0

    def compile(self, source):
        """Returns the object of a source of the image."""
        source = pathlib.Path(source)
        try:
            with open(source, "rb"):
                pass
        except OSError as why:
            raise Failure(f"{source} cannot be read: {why.strerror}") from why
        given = self.options.given
        defines = [f"-D{text}" for text in given.define]
        if source.suffix == ".o":
            self.dependencies.append(source)
            return pathlib.Path(shutil.copyfile(source, self.object_of(source)))
        if source.suffix in (".asm", ".nasm"):
            debug = ["-g", "-F", "dwarf"] if given.debug else []
            return self.assemble(source, given.include, [*debug, *defines])
        if source.suffix not in (".c", ".cpp", ".cc", ".rs"):
            raise Failure(f"{source} is none of .c .cpp .cc .rs .asm .nasm .o")
        if self.options.bare:
            raise Failure(f"{source} is C, C++ or Rust, which needs --mode user64; bare images "
                          "are written in nasm")
        if source.suffix == ".rs":
            return self.compile_rust(source)
        standard = self.options.c_standard if source.suffix == ".c" else self.options.cxx_standard
        include = [stand_in(source, self.options, self.directory), *given.include]
        debug = ["-gdwarf-4"] if given.debug else []
        return self.compile_c(source, [f"-std={standard}", f"-O{given.optimise}", *debug, *defines,
                                       *(f"-I{path}" for path in include if path)])

    def runtime(self, has_init):
        """Returns the objects that every image of this kind is linked with."""
        folder = self.installation.runtime
        if not self.options.bare:
            sources = ["support.cpp", "init.cpp"] if has_init else ["support.cpp"]
            return [self.compile_c(folder / "memory.c", ["-std=c11", "-Os"]),
                    *(self.compile_c(folder / name, ["-std=c++20", "-Os"]) for name in sources)]
        if self.options.given.boot:
            memory = f"-DVIRTINE_MEMORY={self.options.memory}"
            return [self.assemble(folder / "boot.asm", [], [memory])]
        return []

    def object_of(self, source):
        self.count += 1
        return self.directory / f"{self.count}_{source.stem}.o"

    def compile_c(self, source, arguments):
        out = self.object_of(source)
        rule = out.with_suffix(".d")
        cxx = source.suffix != ".c"
        command = [self.toolchain.clang, *CLANG_FLAGS, *(CXX_FLAGS if cxx else []), *arguments]
        command += ["-isystem", self.installation.include]
        command += ["-isystem", self.installation.runtime / "include"]
        command += [*(self.toolchain.cxx_headers if cxx else []), *self.toolchain.c_headers]
        command += ["-MD", "-MF", rule, "-MT", "x"]
        self.report(source, run(command + ["-c", source, "-o", out]))
        self.dependencies += [path for path in parse_dependencies(rule.read_text())
                              if not path.startswith(f"{self.directory}/")]
        return out

    def compile_rust(self, source):
        out = self.object_of(source)
        given = self.options.given
        rust = RustCompiler(self.installation, self.directory, given.optimise, given.debug)
        archive, read = rust.compile(source, out, self.report)
        self.archives.append(archive)
        self.dependencies += read
        return out

    def assemble(self, source, include, arguments):
        out = self.object_of(source)
        nasm = find_tool(["nasm"], "nasm")
        command = [nasm, "-f", "elf64", f"-DVIRTINE_BITS={self.options.mode_traits.bits}"]
        # nasm takes what -i says as a prefix of the file name.
        command += [f"-i{path}/" for path in (*include, self.installation.runtime)]
        command += [*arguments, source]
        self.report(source, run(command + ["-o", out]))
        # By itself, because with -MD nasm 2.16 does not tell what it included.
        rule = run(command + ["-M", "-MT", "x"])
        self.report(source, rule)
        self.dependencies += parse_dependencies(rule.stdout)
        return out

    def report(self, source, done):
        sys.stderr.write(done.stderr)
        if done.returncode == 0:
            return
        raise Failure(f"{source} does not compile")
