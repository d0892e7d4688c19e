# The command line and what it means for each mode.
# Must not know how an image is made.
# SPDX-License-Identifier: MIT

import argparse
import collections
import os
import pathlib
import re

from .failure import Failure
from .names import check_identifier

PAGE = 4096
SUFFIX = ".virtine"  # of image files

Mode = collections.namedtuple("Mode", "bits base script memory arguments stack heap")
# In bare modes the call frame is at 0x1000 and the stack ends at 0x8000; long64's page tables,
# 0x4000 to 0x6fff, lie between.
MODES = {
    "user64": Mode(64, 0x20000, "user64.ld", 64 << 20, 64 << 10, 256 << 10, 4 << 20),
    "real16": Mode(16, 0x8000, "bare.ld", 64 << 10, PAGE, 0x4000, 0),
    "protected32": Mode(32, 0x8000, "bare.ld", 1 << 20, PAGE, 0x4000, 0),
    "long64": Mode(64, 0x8000, "bare.ld", 1 << 20, PAGE, 0x1000, 0),
}
BARE_ARGUMENTS_MAX = 0x3000
BARE_MEMORY_MAX = {"real16": 1 << 20, "protected32": 1 << 30, "long64": 1 << 30}


# What compilers take and a guest need not be told.
IGNORED = {"-pthread", "-pipe", "-fPIC", "-fpic", "-fPIE", "-fpie", "-fno-pic", "-fno-pie", "-no-pie",
           "-m64", "-static", "-g0"}
JOINED = ("-isystem", "-iquote", "-idirafter", "-include")  # with what follows, or with the next word
# What runs compilers and adds nothing to their commands.
BUILDERS = {"make", "gmake", "ninja", "samu", "cmake", "meson", "bazel", "scons"}
REFUSED = {
    r"-flto(=.*)?": "a guest is linked from machine code",
    r"-W[lap],.*": "a guest is linked by virtine-cc itself",
    r"-m(16|32|x32|cmodel=.*|regparm.*)": "a guest is 64-bit code within 2 GiB",
    r"-mllvm.*": "what it has clang do may not make a guest",
    r"-f(syntax-only|plugin.*|pass-plugin.*|modules.*|coverage.*|profile.*|test-coverage|time-trace.*|"
    r"(save-)?optimization-record.*|crash-diagnostics.*|stack-usage|dump-.*)":
        "it makes something else than a guest",
}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Failure(f"{message}; see virtine-cc --help")

    def read(self, arguments, given=None):
        """Returns what a command line says, with the options of compilers as they write them."""
        end = arguments.index("--host") if "--host" in arguments else len(arguments)
        words = []
        for word in arguments[:end]:
            joined = next((option for option in JOINED if word.startswith(option)), None)
            if joined and word != joined:
                words += [joined, word[len(joined):]]
            elif re.fullmatch(r"-g(\d|gdb\d?|dwarf(-\d)?)", word) and word != "-g0":
                words.append("-g")
            elif re.fullmatch(r"-(pedantic(-errors)?|Wextra|W)", word):
                words.append({"-W": "-Wextra"}.get(word, word.replace("-pedantic", "-Wpedantic")))
            elif word not in IGNORED:
                words.append(word)
        return self.parse_intermixed_args(words + arguments[end:], given)


def make_parser(version, show=None):
    parser = Parser(prog="virtine-cc", allow_abbrev=False, description="Compile and link a guest image, and "
                    "write it as a C++ header or an image file.")
    parser.add_argument("sources", nargs="+", metavar="SOURCE",
                        help=".c .cpp .cc .cxx .rs .asm .nasm .o .a")
    parser.add_argument("-o", dest="out", metavar="OUT", required=True,
                        help=f"a C++ header, or an image file if its name ends in {SUFFIX}")
    parser.add_argument("-c", dest="compile_only", action="store_true",
                        help="compile one source to the object OUT, from which images can be built")
    parser.add_argument("--name", help="of the type guests::NAME; default: that of OUT up to its first dot")
    parser.add_argument("--mode", default="user64", help="one of %s" % ", ".join(MODES))
    parser.add_argument("--boot", action="store_true",
                        help="bare modes: begin with code that gets there from real mode")
    parser.add_argument("--stack", metavar="SIZE", help="user64; default 256K")
    parser.add_argument("--heap", metavar="SIZE",
                        help="user64: what malloc and new have, if they are used; default 4M")
    parser.add_argument("--arguments", metavar="SIZE",
                        help="room for a call frame and its data; default 64K, bare modes 4K")
    parser.add_argument("--memory", metavar="SIZE",
                        help="user64: the most the whole guest may take, default 64M; "
                        "bare modes: its memory, default 64K for real16, 1M for the others")
    parser.add_argument("-I", dest="include", metavar="DIR", action="append", default=[])
    parser.add_argument("-D", dest="define", metavar="NAME[=VALUE]", action="append", default=[])
    parser.add_argument("-U", dest="undefine", metavar="NAME", action="append", default=[])
    for option in JOINED:
        parser.add_argument(option, dest=f"of{option}", metavar="FILE" if option == "-include" else "DIR",
                            action="append", default=[])
    for letter in "fmW":
        parser.add_argument(f"-{letter}", metavar="OPTION", action="append", default=[],
                            help="for the C and C++ sources, as compilers take it")
    parser.add_argument("-l", dest="libraries", metavar="NAME", action="append", default=[],
                        help="link what is used of libNAME.a")
    parser.add_argument("-L", dest="library_folders", metavar="DIR", action="append", default=[])
    parser.add_argument("-O", dest="optimise", metavar="LEVEL", default="2")
    parser.add_argument("-g", dest="debug", action="store_true",
                        help="have faults name source lines, and gdb know the sources")
    parser.add_argument("-std", metavar="STANDARD", action="append", default=[])
    parser.add_argument("--depfile", metavar="FILE", help="write what OUT depends on, for make")
    parser.add_argument("--host", metavar="COMMAND", nargs=argparse.REMAINDER,
                        help="the rest of the line: then run this, a host's compiler")
    parser.add_argument("--keep", metavar="DIR", help="leave the ELF file (for gdb), the linker's map and "
                        "the objects there")
    parser.add_argument("--disassemble", action="store_true",
                        help="print the image's code, between its source lines with -g")
    parser.add_argument("--explain", action="store_true",
                        help="user64: print what the image consists of and why")
    if show:
        parser.add_argument("--show", metavar="FILE", action=show,
                            help="print what is in an image file, and end")
    parser.add_argument("--version", action="version", version=f"virtine-cc {version}")
    return parser


def parse_size(option, text, most):
    match = re.fullmatch(r"([0-9]+)([KkMm]?)", text)
    if not match:
        raise Failure(f"{option} {text} is not a size; write bytes, or a number with K or M")
    if len(text) > 20:
        raise Failure(f"{option} {text[:20]}... is out of range; it can be 1 to {most} bytes")
    size = int(match[1]) << {"": 0, "k": 10, "m": 20}[match[2].lower()]
    if not 0 < size <= most:
        raise Failure(f"{option} {text} is out of range; it can be 1 to {most} bytes")
    return (size + PAGE - 1) // PAGE * PAGE


def name_of(path):
    """Returns the name of an image that is to be in a file: that up to its first dot, with a line for
    what no identifier has."""
    name = pathlib.Path(path).name.partition(".")[0]
    if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        return name
    name = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    return f"image_{name}" if re.match(r"[0-9]", name) else name


class Options:
    """The command line, checked."""

    def __init__(self, given):
        self.given = given
        for option in ("out", "depfile", "keep"):
            if getattr(given, option) == "":
                raise Failure(f"{'-o' if option == 'out' else '--' + option} is given without a name")
        self.name = given.name or name_of(given.out)
        if given.mode not in MODES:
            raise Failure(f"--mode {given.mode} is unknown; choose one of {', '.join(MODES)}")
        self.mode = given.mode
        self.bare = given.mode != "user64"
        self.mode_traits = MODES[given.mode]
        self.writes_file = given.out.endswith(SUFFIX) and not given.compile_only
        if self.writes_file and given.host is not None:
            raise Failure(f"--host is for images that are compiled in; an image file ({SUFFIX}) is "
                          "loaded at run time")
        if given.host is not None and (given.compile_only or not given.host):
            raise Failure("--host is the last option, before the command that compiles the host"
                          + (", and does not go with -c" if given.compile_only else ""))
        if given.host and os.path.basename(given.host[0]) in BUILDERS:
            raise Failure(f"--host takes the command of a compiler, such as g++, and not "
                          f"{given.host[0]}, which would not get to know the image; have the build "
                          "run virtine-cc")
        if not given.compile_only:
            if not self.name:
                raise Failure(f"-o {given.out} does not say what the image is called; give the name "
                              "of a file, such as square.hpp")
            if not self.writes_file:
                check_identifier(self.name, "the image name")

        if given.boot and self.mode not in ("protected32", "long64"):
            raise Failure(f"--boot does not go with --mode {self.mode}: the boot code leads from "
                          "real mode to protected32 or long64")
        if given.stack and self.bare:
            raise Failure("--stack is for --mode user64; the stack of a bare image is the "
                          f"{self.mode_traits.stack} bytes below 0x8000")
        if given.heap and self.bare:
            raise Failure("--heap is for --mode user64; a bare image has no C library")
        if given.libraries and self.bare:
            raise Failure("-l is for --mode user64; a bare image has no libraries")
        self.memory = self.size("memory", BARE_MEMORY_MAX.get(self.mode, 1 << 40))
        self.stack = self.size("stack", self.memory)
        self.heap = self.size("heap", self.memory)
        self.arguments = self.size("arguments", BARE_ARGUMENTS_MAX if self.bare else self.memory)
        if self.bare and self.memory <= self.mode_traits.base:
            raise Failure(f"--memory {given.memory} leaves no room for a bare image, which begins "
                          f"at {self.mode_traits.base:#x}")

        if not re.fullmatch(r"[0-3gsz]|fast", given.optimise):
            raise Failure(f"-O{given.optimise} is unknown; use -O0 to -O3, -Og, -Os, -Oz or "
                          "-Ofast")
        for define in given.define:
            if not re.fullmatch(r"[A-Za-z_]\w*(\([^=]*\))?(=.*)?", define, re.ASCII):
                raise Failure(f"-D {define!r} is not NAME or NAME=VALUE")
        for name in given.undefine:
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                raise Failure(f"-U {name!r} is not a name")
        # Those of other compilers say nothing to clang.
        self.flags = ["-Wno-unknown-warning-option"] if given.W else []
        self.flags += [f"-{letter}{text}" for letter in "fmW" for text in getattr(given, letter)]
        for flag in self.flags:
            for pattern, why in REFUSED.items():
                if re.fullmatch(pattern, flag):
                    raise Failure(f"{flag} is not for guests: {why}; leave it out")
        self.cxx_standard, self.c_standard = "c++20", "gnu17"
        for standard in given.std:
            if "++" in standard:
                self.cxx_standard = standard
            else:
                self.c_standard = standard

    def size(self, option, most):
        text = getattr(self.given, option)
        if text is None:
            return getattr(self.mode_traits, option)
        return parse_size("--" + option, text, most)
