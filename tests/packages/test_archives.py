#!/usr/bin/python3
# Tests that archives of the distribution, which were compiled against glibc, find in a guest what
# they need of it. Archives that are not installed are passed over; the table of names is checked in
# any case. Usage: test_archives.py VIRTINE_CC [unittest arguments]
# SPDX-License-Identifier: MIT

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = pathlib.Path(sys.argv.pop(1)).resolve()
sys.dont_write_bytecode = True
sys.path.insert(0, str(PROGRAM.parent))
from virtine_cc import elf  # noqa: E402
from virtine_cc.compile import Compiler  # noqa: E402
from virtine_cc.installation import Installation  # noqa: E402
from virtine_cc.options import Options, make_parser  # noqa: E402
from virtine_cc.suppliers import RUNTIME, WITH_EXCEPTIONS  # noqa: E402

FOLDER = pathlib.Path("/usr/lib/x86_64-linux-gnu")
ARCHIVES = """
    brotlidec bz2 cob crypto curl expat ffi fontconfig freetype gcrypt gmp gnutls gpg-error jpeg json-c
    lua5.4 lzma magic mbedcrypto mbedtls png readline sodium sqlite3 ssl tiff webp xml2 yaml yaml-cpp z
    zstd
""".split()
# What of glibc's a guest does not have, and no other archive of the list needs.
LACKING = {
    "fontconfig": "initstate_r random_r",
}
# What the runtime's sources define for themselves.
OWN = re.compile(r"virtine_\w+")

# archive: a guest that uses it in earnest.
USES = {
    "crypto": '#include <openssl/sha.h>\nint use(int x) { unsigned char out[32]; '
              "SHA256((const unsigned char*)&x, 4, out); return out[0]; }",
    "sqlite3": "#include <sqlite3.h>\nint use(int x) { sqlite3* to = 0; "
               'return sqlite3_open(":memory:", &to) + x; }',
    "lua5.4": '#include <lua5.4/lauxlib.h>\n#include <lua5.4/lualib.h>\nint use(int x) { '
              'lua_State* l = luaL_newstate(); luaL_openlibs(l); return luaL_dostring(l, "x=1") + x; }',
}
EXPORTED = ("#include <virtine/guest.hpp>\nextern \"C\" int use(int);\n"
            "static int exported(int x) { return use(x); }\nVIRTINE_EXPORT(exported);\n")


def installed(name):
    path = FOLDER / f"lib{name}.a"
    return path if path.is_file() else None


def names_of(arguments):
    """Returns the names that nm has, each with its kind."""
    said = subprocess.run(["nm", "-P", *arguments], capture_output=True, text=True, check=True)
    words = [line.split() for line in said.stdout.splitlines()]
    return [(each[0].split("@")[0], each[1]) for each in words if len(each) > 1]


class Archives(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="virtine-archives-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        given = make_parser("0").parse_intermixed_args(["x.cpp", "-o", "x.hpp"])
        cls.compiler = Compiler(Options(given), Installation(PROGRAM), cls.directory, time.time_ns())
        cls.defined = {}
        for source in {**RUNTIME, **WITH_EXCEPTIONS}:
            item = elf.Object(source, cls.compiler.runtime(source).read_bytes())
            cls.defined[source] = {symbol.name for symbol in item.symbols
                                   if symbol.binding != elf.STB_LOCAL
                                   and symbol.section != elf.SHN_UNDEF}

    def test_the_table_of_the_runtime_is_whole(self):
        for source, names in {**RUNTIME, **WITH_EXCEPTIONS}.items():
            for name in self.defined[source]:
                with self.subTest(source=source, name=name):
                    self.assertTrue(re.fullmatch(names, name) or OWN.fullmatch(name)
                                    and source != "glibc.cpp")

    def test_what_archives_need_of_glibc_is_there(self):
        glibc = set()
        for library in ("libc.so.6", "libm.so.6"):
            path = next((folder / library for folder in (FOLDER, pathlib.Path("/lib64"))
                         if (folder / library).is_file()), None)
            if path is None:
                self.skipTest("the host's C library is no glibc")
            glibc |= {name for name, _ in names_of(["-D", "--defined-only", path])}
        there = set().union(elf.Archive(self.compiler.toolchain.libc).index, *self.defined.values())
        looked_at = 0
        for name in ARCHIVES:
            path = installed(name)
            if path is None:
                continue
            looked_at += 1
            names = names_of([path])
            defined = {each for each, kind in names if kind not in "Uwv"}
            needed = {each for each, kind in names if kind in "Uwv"} - defined
            lacking = needed & glibc - there
            with self.subTest(archive=path.name):
                self.assertEqual(lacking - set(LACKING.get(name, "").split()), set())
        print(f"{looked_at} archives of {len(ARCHIVES)} are installed", file=sys.stderr)

    def build(self, *sources):
        done = subprocess.run([PROGRAM, *sources, "-o", "a.hpp"], cwd=self.directory,
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_archives_link(self):
        (self.directory / "a.cpp").write_text(EXPORTED)
        for name, text in USES.items():
            header = re.search(r"<(.*?)>", text)[1]
            if not (installed(name) and (pathlib.Path("/usr/include") / header).is_file()):
                print(f"lib{name}.a or its header is not installed", file=sys.stderr)
                continue
            with self.subTest(archive=name):
                (self.directory / "use.c").write_text(text)
                self.build("a.cpp", "use.c", installed(name), "-I", "/usr/include/x86_64-linux-gnu")

    def test_what_is_not_alive_may_need_anything(self):
        (self.directory / "a.cpp").write_text(EXPORTED)
        (self.directory / "other.c").write_text(
            "int nowhere(void) __attribute__((weak));\n"
            "int use(int x) { return nowhere ? nowhere() : x; }\n")
        (self.directory / "dead.c").write_text(
            "int nowhere(void);\nint other(void) { return 1; }\nint dead(void) { return nowhere(); }\n")
        (self.directory / "uses.c").write_text(
            "int use(int), other(void);\nint both(int x) { return use(x) + other(); }\n")
        for name in ("other", "dead", "uses"):
            subprocess.run(["gcc", "-O2", "-ffunction-sections", "-c", f"{name}.c"],
                           cwd=self.directory, check=True)
        (self.directory / "a.cpp").write_text(EXPORTED.replace("use(", "both("))
        self.build("a.cpp", "other.o", "dead.o", "uses.o")


if __name__ == "__main__":
    unittest.main()
