# From sources to objects, with what these were made from.
# Must not know what is in the objects.
# SPDX-License-Identifier: MIT

import os
import pathlib
import re
import sys

from .failure import Failure
from .files import as_argument, check_source, parse_dependencies
from .options import JOINED
from .toolchain import HOST_HEADERS, Toolchain
from .tools import find_tool, printable, run

CLANG_FLAGS = """
    --target=x86_64-linux-musl -nostdinc -DVIRTINE_GUEST=1 -mcmodel=small
    -ffunction-sections -fdata-sections -fexceptions -fno-asynchronous-unwind-tables
    -fno-stack-protector -fcf-protection=none -fno-math-errno -fstack-clash-protection -Wall
""".split()
# Without which a guest is none: after what the command line says.
FIXED_FLAGS = "-fno-pic -fno-pie".split()
CXX_SUFFIXES = (".cpp", ".cc", ".cxx")
# Destructors of objects that live to the end have nothing to do: the machine is wiped.
CXX_FLAGS = "-frtti -fno-threadsafe-statics -fno-c++-static-destructors".split()

FLUSHING_ENTRY = """
.section .text.virtine_flushing_NAME, "ax", @progbits
.globl virtine_flushing_NAME
.type virtine_flushing_NAME, @function
virtine_flushing_NAME:
  subq $8, %rsp
  call virtine_entry_NAME
  addq $8, %rsp
  jmp virtine_flush
.size virtine_flushing_NAME, . - virtine_flushing_NAME
.section .note.GNU-stack, "", @progbits
"""

# What clang says first of a marked function that has the name of something declared before, such as
# a function of the C library, or another marked function.
TAKEN = re.compile(
    r"(?P<place>\S[^\n]*:\d+):\d+: error: redefinition of '(?:virtine_(?:marked|body)_)?"
    r"(?P<name>\w+)'.*\n *(?:\w+ +)*VIRTINE(?:_AS)?\(.*\n *\^.*\n"
    r"(?:(?!.*: error: ).*\n)*?"
    r"(?P<owner>\S.*:\d+):\d+: note: previous definition is here")
# What it says first of other wrong uses of VIRTINE, and what to say instead.
MISUSED = re.compile(r"""(?P<place>\S[^\n]*:\d+):\d+: error: (?P<text>.*)
(?P<line>.*)
""")
MISUSES = {
    r"missing '}' at end of definition of": "VIRTINE stands in a class; mark functions of namespaces, "
    "and a static member after the class, by VIRTINE_AS(name, &type::member)",
    r"use of undeclared identifier 'virtine_body_": "VIRTINE marks a member of a class; mark a static "
    "one by VIRTINE_AS(name, &type::member), and for others a function that calls it",
    r"reference to overloaded function could not be resolved": "VIRTINE marks a template; mark an "
    "instance of it by VIRTINE_AS(name, &largest<int>)",
    r"variable 'virtine_body_\w+' .*'<overloaded function type>'": "VIRTINE_AS is given more than one "
    "function; choose one by static_cast<int (*)(int)>(&function), or &function<int>",
    r"an attribute list cannot appear here": "VIRTINE makes the function static and inline; leave out "
    "what stands before it",
    r"expected function body after function declarator": "VIRTINE takes noexcept within its "
    "parentheses: VIRTINE(name, (parameters) noexcept -> result) { ... }",
    r"redefinition of default argument": "VIRTINE takes no default arguments, because no call would "
    "use them; let another function call this one with them",
    r"\[V140\]": "VIRTINE_AS takes the address of a function that needs no object; mark a function "
    "that calls what you have",
    r"function 'virtine_body_\w+' with deduced return type|virtine_V141_write_|"
    r"expected ';' after top level declarator": "VIRTINE takes the form "
    "VIRTINE(name, (parameters) -> result) { ... }, with a result type that is not auto",
}


def misuse(said):
    """Returns what to say of a wrong use of VIRTINE that is the first error, or None."""
    first = MISUSED.match(said)
    if not first or not re.search(r"\bVIRTINE(_AS)?\(", first["line"] + said.split("\n", 4)[-2]):
        return None
    for pattern, text in MISUSES.items():
        if re.search(pattern, first["text"]):
            return f"{first['place']}: {text}"
    return None


class Compiler:
    """Makes objects from sources, and remembers what they were made from."""

    def __init__(self, options, installation, directory, since):
        self.since = since  # when this run began
        self.options = options
        self.installation = installation
        self.directory = directory
        self.toolchain = Toolchain()
        self.dependencies = [installation.program, *installation.modules]
        self.archives = []  # of which the linker takes what is asked for
        self.count = 0

    def compile(self, source):
        """Returns the object of a source of the image."""
        check_source(source)
        source = pathlib.Path(source)
        given = self.options.given
        defines = [f"-D{text}" for text in given.define]
        if source.suffix in (".o", ".a"):
            self.dependencies.append(source)
            return source
        if source.suffix in (".asm", ".nasm"):
            debug = ["-g", "-F", "dwarf"] if given.debug else []
            return self.assemble(source, given.include, [*debug, *defines])
        if re.search(r"\.so(\.[0-9.]+)?$", source.name):
            raise Failure(f"{source} is a shared library, which a guest cannot load; give the static "
                          f"one, {source.name.partition('.so')[0]}.a")
        if source.suffix not in (".c", ".rs", *CXX_SUFFIXES):
            raise Failure(f"{source} is none of .c .cpp .cc .cxx .rs .asm .nasm .o .a")
        if self.options.bare:
            raise Failure(f"{source} is C, C++ or Rust, which needs --mode user64; bare images "
                          "are written in nasm")
        if source.suffix == ".rs":
            return self.compile_rust(source)
        if source.name.startswith("@"):
            # Wherever it is: clang gives the last part of the name to itself.
            raise Failure(f"{source} has a name that clang takes for a file of options; rename it")
        standard = self.options.c_standard if source.suffix == ".c" else self.options.cxx_standard
        from .single_source import stand_in  # Late, as few need it, and vcc never.
        folder = stand_in(source, self.options, self.directory)
        include = [f"-I{as_argument(path)}" for path in (folder, *given.include) if path]
        include += [word for option in JOINED for path in getattr(given, f"of{option}")
                    for word in (option, as_argument(path))
                    # Where the host's own library is: in front of the guest's, it would be taken.
                    if os.path.realpath(path) not in HOST_HEADERS]
        debug = ["-gdwarf-4"] if given.debug else []
        # The host's compiler sees all of such a file, too, and warns of what its user wants to know.
        quiet = ["-w"] if folder else []
        return self.compile_c(source, [f"-std={standard}", f"-O{given.optimise}", *debug, *defines,
                                       *(f"-U{name}" for name in given.undefine),
                                       *self.options.flags, *FIXED_FLAGS, *quiet, *include])

    def libraries(self):
        """Returns the archives that the command line names by -l."""
        given = self.options.given
        found = [path for name in given.libraries
                 for path in [self.toolchain.archive(name, given.library_folders)] if path]
        self.dependencies += found
        return found

    def runtime(self, source):
        """Returns the object of one of the runtime's own sources."""
        source = self.installation.runtime / source
        if source.suffix == ".asm":
            return self.assemble(source, [], [f"-DVIRTINE_MEMORY={self.options.memory}"])
        return self.compile_c(source, ["-std=gnu17" if source.suffix == ".c" else "-std=c++20",
                                       "-Os", "-U_GNU_SOURCE", "-D_GNU_SOURCE", *FIXED_FLAGS])

    def flushing_entries(self, names):
        """Returns an object with entries that empty the buffers of stdio after the function."""
        source = self.directory / "flushing_entries.s"
        source.write_text("".join(FLUSHING_ENTRY.replace("NAME", name) for name in names))
        out = self.object_of(source)
        self.report(source, run([self.toolchain.clang, CLANG_FLAGS[0], "-c", source, "-o", out]))
        return out

    def object_of(self, source):
        self.count += 1
        # Not the whole of a name that is as long as names can be.
        return self.directory / f"{self.count}_{source.stem[:40]}.o"

    def compile_c(self, source, arguments):
        out = self.object_of(source)
        rule = out.with_suffix(".d")
        cxx = source.suffix != ".c"
        command = [self.toolchain.clang, *CLANG_FLAGS, *(CXX_FLAGS if cxx else []), *arguments]
        command += ["-isystem", self.installation.include]
        command += ["-isystem", self.installation.runtime / "include"]
        command += [*(self.toolchain.cxx_headers if cxx else []), *self.toolchain.c_headers]
        command += ["-MD", "-MF", rule, "-MT", "x"]
        self.report(source, run(command + ["-c", as_argument(source), "-o", out]))
        if not out.exists():
            raise Failure(f"{source} compiles to nothing; leave out the option that asks for that")
        self.dependencies += [path for path in parse_dependencies(rule.read_bytes())
                              if not path.startswith(f"{self.directory}/")]
        return out

    def compile_rust(self, source):
        from .rust import RustCompiler
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
        command += [f"-i{path}/" for path in (*include, self.installation.runtime) if path]
        command += [*arguments, as_argument(source)]
        self.report(source, run(command + ["-o", out]))
        # By itself, because with -MD nasm 2.16 does not tell what it included.
        rule = out.with_suffix(".d")
        self.report(source, run(command + ["-M", "-MT", "x", "-MF", rule]))
        self.dependencies += parse_dependencies(rule.read_bytes())
        return out

    def report(self, source, done):
        said = printable(done.stderr)
        taken = TAKEN.match(said)
        if taken:
            # One line says it; clang's others follow from it.
            raise Failure(f"{taken['place']}: VIRTINE({taken['name']}, ...) takes a name that "
                          f"{taken['owner']} declares; give the function another name")
        if done.returncode != 0 and (misused := misuse(said)):
            raise Failure(misused)
        sys.stderr.write(said)
        if done.returncode == 0:
            return
        # A file includes the header that this makes of it, and -o has its name.
        missing = re.search(r"error: '([^'\n]*\.guest\.hpp)' file not found", said)
        raise Failure(f"{source} does not compile" + (
            f"; if {missing[1]} is the header that this makes of it, give that name to -o"
            if missing else ""))
