#!/usr/bin/python3
# Tests virtine-cc with objects that no compiler makes, and exports that no C++ type can be named
# after. Usage: test_damaged.py VIRTINE_CC [unittest arguments]
# SPDX-License-Identifier: MIT

import collections
import contextlib
import io
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

sys.dont_write_bytecode = True
from test_virtine_cc import Case, FIB16, GUESTS, INCLUDE, SQUARE, VIRTINE_CC  # noqa: E402

sys.path.insert(0, str(GUESTS))
# pylint: disable=wrong-import-position
from virtine_cc import main  # noqa: E402
from virtine_cc.compile import Compiler  # noqa: E402
from virtine_cc.failure import Failure  # noqa: E402
from virtine_cc.installation import Installation  # noqa: E402
from virtine_cc.options import Options, make_parser  # noqa: E402
from virtine_cc.outputs import Outputs  # noqa: E402
from virtine_cc.suppliers import Suppliers  # noqa: E402
from virtine_cc.toolchain import Toolchain  # noqa: E402

ROUNDS = int(os.environ.get("VIRTINE_DAMAGED_ROUNDS", "150"))
SEED = 20261127


def tables(data):
    """Returns the (offset, layout, count) of the tables that are in an object: of sections, symbols
    and relocations."""
    headers, = struct.unpack_from("<Q", data, 40)
    count, = struct.unpack_from("<H", data, 60)
    found = [(headers, "<IIQQQQIIQQ", count)]
    for at in range(headers, headers + 64 * count, 64):
        _, kind, _, _, offset, size, *_ = struct.unpack_from("<IIQQQQIIQQ", data, at)
        layout = {2: "<IBBHQQ", 4: "<QIIq", 17: "<I"}.get(kind)
        if layout and size:
            found.append((offset, layout, size // struct.calcsize(layout)))
    return found


def damage_field(data, start, chance):
    """Changes a field of a table of the object that begins at `start`."""
    offset, layout, count = chance.choice(tables(data[start:]))
    entry = start + offset + struct.calcsize(layout) * chance.randrange(count)
    fields = [(layout[0] + layout[1:index], layout[0] + layout[index])
              for index in range(1, len(layout))]
    before, field = chance.choice(fields)
    at, bits = entry + struct.calcsize(before), 8 * struct.calcsize(field)
    old, = struct.unpack_from(field, data, at)
    new = chance.choice((old + 1, old - 1, old ^ 1 << chance.randrange(bits), 0, 1, count, len(data),
                         1 << bits - 1, -1, chance.randrange(64), 0xfff1, 0xff00))
    data[at:at + bits // 8] = (new % (1 << bits)).to_bytes(bits // 8, "little")


def damage(data, chance):
    """Returns bytes with some of them changed, left out or added: mostly numbers of tables, of which
    there are the most to get wrong."""
    data = bytearray(data)
    start = data.find(b"\x7fELF")
    if chance.random() < 0.7:
        for _ in range(chance.choice((1, 1, 2, 4))):
            with contextlib.suppress(struct.error, IndexError, ValueError):
                damage_field(data, start, chance)
        return bytes(data)
    if chance.random() < 0.2:
        return bytes(data[:chance.randrange(len(data))])
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.choice((chance.randrange(64 + start), chance.randrange(len(data))))
        how = chance.random()
        if how < 0.7:
            data[at] ^= 1 << chance.randrange(8)
        elif how < 0.8:
            data[at] = chance.choice(b"\0\xff -/19\n")
        elif how < 0.9:
            del data[at:at + chance.choice((1, 8, 24, 64))]
        else:
            data[at:at] = chance.randbytes(8)
    return bytes(data)


class InProcess:
    """Builds images as virtine-cc does, but in this process, and with the runtime and the libraries
    read once: so most of what is left is the reading of what is damaged."""

    def __init__(self, work):
        self.work = work
        self.libraries = {}
        self.toolchain = Toolchain()

    def builds(self, sources):
        """Returns whether an image comes of it; any other exception than a Failure passes on."""
        with tempfile.TemporaryDirectory(dir=self.work) as folder, contextlib.chdir(self.work), \
                contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            folder = pathlib.Path(folder)
            given = make_parser("").read(
                [*sources, "-g", "--explain", "-o", str(folder / "out.hpp")])
            installation = Installation(VIRTINE_CC)
            made = folder / "made"
            made.mkdir()
            compiler = Compiler(Options(given), installation, made, time.time_ns())
            compiler.toolchain = self.toolchain

            def kept(compile_one):
                def compile_once(what):
                    name = f"kept-{'-'.join(what) if isinstance(what, list) else what}.o"
                    if not (self.work / name).exists():
                        shutil.copy(compile_one(what), self.work / name)
                    return self.work / name
                return compile_once

            def library(suppliers, name):
                if name not in self.libraries:
                    self.libraries[name] = read_library(suppliers, name)
                return self.libraries[name]

            read_library = Suppliers.library
            compiler.runtime = kept(compiler.runtime)
            compiler.flushing_entries = kept(compiler.flushing_entries)
            try:
                with unittest.mock.patch.object(Suppliers, "library", library), Outputs(sources) as out:
                    main.build(compiler, out, out.add(given.out), None)
            except Failure:
                return False
            return True


class Objects(Case):
    SOURCE = """#include <virtine/guest.hpp>
        #include <map>
        #include <cstdio>
        #include <string>
        static std::map<std::string, int> table{{"a", 1}};
        thread_local int offset = 3;
        int look(std::string_view s) {
          try {
            std::printf("%d", table.at(std::string(s)) + offset);
          } catch (...) {
            return 1;
          }
          return 0;
        }
        VIRTINE_EXPORT(look);
        """

    def test_damaged_objects_and_archives(self):
        self.write("look.cpp", self.SOURCE)
        self.write("square.c", "int square(int n) { return n * n; }\nint table[3] = {1, 2, 3};\n")
        self.write("use.cpp", '#include <virtine/guest.hpp>\nextern "C" int square(int);\n'
                   "static int f(int n) { return square(n); }\nVIRTINE_EXPORT(f);\n")
        for source in ("look.cpp", "square.c", "use.cpp"):
            self.assertEqual(self.run_cc("-g", "-c", source, "-o", f"{source}.o").returncode, 0)
        subprocess.check_call(["ar", "rcs", "square.a", "square.c.o"], cwd=self.work)
        whole = {path.name: path.read_bytes() for path in self.work.iterdir()}
        chance = random.Random(SEED)
        outcomes = collections.Counter()
        in_process = InProcess(self.work)
        names = ("square.a", "use.cpp.o", "square.c.o", "square.a", "use.cpp.o", "look.cpp.o")
        for number in range(ROUNDS):
            name = names[number % len(names)]
            wrong = "wrong" + os.path.splitext(name)[1]
            (self.work / wrong).write_bytes(damage(whole[name], chance))
            others = ["use.cpp.o"] if name.startswith("square") else []
            with self.subTest(f"round {number} with {name}"):
                outcomes[in_process.builds([*others, wrong])] += 1
        print("built and refused:", dict(outcomes), file=sys.stderr)
        self.assertGreater(outcomes[True], 0)
        self.assertGreater(outcomes[False], 0)

    def section(self, data, name):
        """Returns where the header of a section is."""
        headers = int.from_bytes(data[40:48], "little")
        count = int.from_bytes(data[60:62], "little")
        names = int.from_bytes(data[62:64], "little")
        start = headers + 64 * names
        base = int.from_bytes(data[start + 24:start + 32], "little")
        for at in range(headers, headers + 64 * count, 64):
            begin = base + int.from_bytes(data[at:at + 4], "little")
            if data[begin:data.index(b"\0", begin)] == name:
                return at
        raise KeyError(name)

    def test_what_is_damaged_is_said(self):
        self.write("a.cpp", self.SOURCE)
        self.assertEqual(self.run_cc("-c", "a.cpp", "-o", "a.o").returncode, 0)
        whole = (self.work / "a.o").read_bytes()

        def refuses(name, at, width, value, says):
            data = bytearray(whole)
            place = self.section(data, name) + at if name else at
            data[place:place + width] = value.to_bytes(width, "little")
            (self.work / "b.o").write_bytes(data)
            self.fails("b.o", says=["b.o is damaged: ", says, "make it again"])

        beyond = len(whole) + 5
        refuses(None, 60, 2, 60000, "table of sections is not whole")
        refuses(None, 62, 2, 9999, "table of sections is not whole")
        refuses(None, 40, 8, beyond, "table of sections is not whole")
        refuses(b".symtab", 24, 8, beyond, ".symtab ends beyond the end of the file")
        refuses(b".symtab", 32, 8, 25, "does not have the size of a table")
        refuses(b".symtab", 40, 4, 5000, "refers to one that is not there")
        refuses(b".rela.text.virtine_entry_look", 32, 8, 25, "does not have the size of a table")
        refuses(b".rela.text.virtine_entry_look", 44, 4, 9999, "refers to one that is not there")
        refuses(b".text.virtine_entry_look", 24, 8, beyond, "ends beyond the end of the file")
        relocations = int.from_bytes(
            whole[self.section(whole, b".rela.text.virtine_entry_look") + 24:][:8], "little")
        refuses(None, relocations + 12, 4, 1 << 30, "refers to a symbol that is not there")
        symbols = int.from_bytes(whole[self.section(whole, b".symtab") + 24:][:8], "little")
        refuses(None, symbols + 24 + 6, 2, 0xfe00, "in a section that is not there")
        refuses(None, symbols + 24 + 6, 2, 0xffff, "requires a buffer")
        refuses(None, symbols + 24, 4, 1 << 30, "a name is beyond the end")

    def test_names_of_the_runtime_are_its_own(self):
        self.write("square.cpp", SQUARE + "static int n = square(2);\nthread_local int t = 1;\n"
                   "int f() { return ++t + n; }\nVIRTINE_EXPORT(f);\n")
        for name in ("virtine_thread", "virtine_init", "virtine_flush"):
            for text in (f"global {name}\n{name} equ 0x1000\n",
                         f"global {name}\nsection .text\n{name}: ret\n"):
                self.write("own.asm", text)
                self.fails("square.cpp", "own.asm",
                           says=f"own.asm defines {name}, which is a name of virtine's own; rename")
                # Without `global` it is nobody else's affair.
                self.write("own.asm", text.partition("\n")[2])
                self.build("square.cpp", "own.asm", "a.hpp")
        self.write("fib.asm", FIB16 + "%undef virtine_init\n%unmacro virtine_init 0\nglobal virtine_thread, "
                   "virtine_init\nvirtine_thread equ 5\nvirtine_init:\n  ret\n")
        text = self.build("--mode", "real16", "fib.asm", "fib.hpp")
        self.assertIn(".init = 0x0,", text)
        self.assertIn(".thread_pointer = 0x0,", text)
        self.write("entry.asm", "global virtine_entry_f\nvirtine_entry_f equ 0x100\n"
                   "section .virtine.exports noalloc\ndb 'f', 0, 'v()', 0\n")
        self.fails("entry.asm", says="its entry virtine_entry_f is not defined as code")

    def test_constructors_that_ask_for_what_no_guest_has(self):
        source = self.write("speaks.cpp", "#include <iostream>\n"
                            "struct says { says() { std::cout << 3; } } once;\n")
        self.write("a.cpp", SQUARE)
        self.fails("a.cpp", source.name, says=[
            "a guest cannot have std::cout: ", "the constructors of speaks.", "static variable"])
        # Of others, they run.
        self.write("a.cpp", SQUARE.replace("return n * n", "extern int linked; return linked"))
        self.write("speaks.cpp", source.read_text() + "int linked = 2;\n")
        self.assertEqual(self.run_cc("-c", "speaks.cpp", "-o", "speaks.o").returncode, 0)
        subprocess.check_call(["ar", "rcs", "speaks.a", "speaks.o"], cwd=self.work)
        self.build("a.cpp", "speaks.a", "a.hpp")

    def test_a_fault_of_its_own_is_called_so(self):
        program = self.directory / "guests" / "virtine-cc"
        shutil.copytree(GUESTS / "virtine_cc", program.parent / "virtine_cc")
        shutil.copy(VIRTINE_CC, program)
        (program.parent / "runtime").symlink_to(GUESTS / "runtime")
        (self.directory / "include").symlink_to(INCLUDE)
        with open(program.parent / "virtine_cc" / "header.py", "a", encoding="utf-8") as file:
            file.write('\ndef render(*_):\n    raise TypeError("none of\\nthese")\n')
        self.write("square.cpp", SQUARE)
        said = self.fails("square.cpp", program=program, says=[
            "internal error: TypeError: none of\\x0athese (at header.py:",
            "please report it, with the command and its sources"])
        self.assertEqual(said.count("\n"), 1)

    def test_images_that_are_too_large_to_address(self):
        self.write("a.cpp", "#include <virtine/guest.hpp>\n#include <cstdlib>\n"
                   "static long f(int n) { return reinterpret_cast<long>(std::malloc(n)); }\n"
                   "VIRTINE_EXPORT(f);\n")
        self.fails("--memory", "8000M", "--heap", "5000M", "a.cpp", says="2 GiB")
        self.fails("--heap", "5000M", "a.cpp", says="--heap 5000M is out of range")
        for size in ("9" * 19, "9" * 5000, "99999999999M", "0K", "-5", "+5", "5G", " 5", "5 ", "\u0665",
                     ""):
            for option in ("--heap", "--stack", "--arguments", "--memory"):
                done = self.run_cc("a.cpp", "-o", "a.hpp", f"{option}={size}")
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, rf"\Avirtine-cc: error: {option} [^\n]* (is not a size|is "
                                 r"out of range)[^\n]*\n\Z")


class Names(Case):
    def test_macros_and_words_of_cxx(self):
        for name in ("NULL", "EOF", "errno", "INT_MAX", "stdin", "EINVAL", "SIGINT", "delete",
                     "typeof", "description", "image", "functions", "SEEK_SET", "PRId64", "NAN"):
            self.write("word.asm", '%include "virtine.inc"\nsection .text\n'
                       f'virtine_export {name}, "v()"\n ret\n')
            self.fails("word.asm", says=[f"'{name}'", "choose another name"])
        self.write("square.cpp", SQUARE)
        for name in ("errno", "EOF", "assert.", "image"):
            self.fails("--name", name, "square.cpp", says=f"'{name}'")

    def test_names_that_a_host_can_have(self):
        names = """assert signal main std virtine guests guests_data segments symbols entry final
            override import module size offsetof timeradd alloca uint64_t string_view span Z SIG
            CAPITALS""".split()
        self.write("many.asm", '%include "virtine.inc"\nsection .text\n' + "".join(
            f'virtine_export {name}, "v()"\n ret\n' for name in names))
        self.build("many.asm", "many.hpp")
        use = "".join(f"static_assert(virtine::guest_entry<guests::many::{name}>);\n"
                      for name in names)
        standard = "".join(f"#include <{name}>\n" for name in
                           "cassert cerrno climits csignal cstddef cstdio ctime sys/time.h".split())
        self.write("before.cc", f"{standard}#include <many.hpp>\n#include <virtine/virtine.hpp>\n"
                   f"{use}int main() {{}}\n")
        self.write("after.cc", f"#include <many.hpp>\n#include <virtine/virtine.hpp>\n{standard}"
                   f"{use}int main() {{}}\n")
        for compiler in ("g++", "clang++"):
            for source in ("before.cc", "after.cc"):
                self.compile_host(compiler, source)
        for name in ("guests", "std", "virtine", "main", "guests_data"):
            self.write("square.cpp", SQUARE)
            self.build("--name", name, "square.cpp", "a.hpp")
            self.write("host.cc", f"#include <a.hpp>\nint main() {{ return sizeof(guests::{name}); }}\n")
            self.compile_host("g++", "host.cc")

    def test_a_macro_of_the_host_is_said(self):
        self.write("many.asm", '%include "virtine.inc"\nsection .text\n'
                   'virtine_export MINE, "v()"\n ret\n')
        self.build("many.asm", "many.hpp")
        self.write("host.cc", "#define MINE 3\n#include <many.hpp>\n")
        done = subprocess.run(["g++", "-std=c++20", "-fsyntax-only", "-Wfatal-errors",
                               f"-I{self.work}", f"-I{INCLUDE}", "host.cc"], cwd=self.work,
                              stderr=subprocess.PIPE, encoding="utf-8", check=False)
        self.assertIn("virtine: MINE is a macro here; give the guest function", done.stderr)

    def test_names_of_functions_are_printable(self):
        self.write("a.c", 'int odd(int n) __asm__("odd\\x1b[31m\\nname");\n'
                   "__attribute__((noinline)) int odd(int n) { return n; }\n"
                   "int call(int n) { return odd(n) + 1; }\n")
        self.write("a.cpp", '#include <virtine/guest.hpp>\nextern "C" int call(int);\n'
                   "static int f(int n) { return call(n); }\nVIRTINE_EXPORT(f);\n")
        text = self.build("-O0", "a.cpp", "a.c", "a.hpp")
        self.assertIn("odd\\134x1b[31m", text)
        self.assertNotIn("\\033", re.search(r"symbols\[\] = \{\n(.*?)\n\};", text, re.DOTALL)[1])
        done = self.run_cc("-O0", "--explain", "--disassemble", "a.cpp", "a.c", "-o", "a.hpp")
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("\x1b", done.stdout)

    def test_functions_end_where_their_section_does(self):
        self.write("a.asm", '%include "virtine.inc"\nsection .text\nvirtine_export f, "v()"\n nop\n ret\n'
                   "global g:function (1 << 40)\ng: nop\nh: ret\nend:\n"
                   "section .rodata\ntext: db 1\n")
        text = self.build("a.asm", "a.hpp")
        found = re.search(r"symbols\[\] = \{\n(.*?)\n\};", text, re.DOTALL)[1]
        self.assertEqual(re.findall(r"\{(\w+), (\d+), \"(\w+)\"\}", found),
                         [("0x20000", "2", "f"), ("0x20002", "1", "g"), ("0x20003", "1", "h")])


if __name__ == "__main__":
    unittest.main()
