#!/usr/bin/python3
# Tests virtine-cc from outside: what it writes, and that every failure says what to do and leaves
# nothing behind. Usage: test_virtine_cc.py VIRTINE_CC [unittest arguments]
# SPDX-License-Identifier: MIT

import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

VIRTINE_CC = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else
                          os.environ["VIRTINE_CC"]).resolve()
INCLUDE = VIRTINE_CC.parent.parent / "include"
GUESTS = VIRTINE_CC.parent
WARNINGS = """-std=c++20 -Wall -Wextra -Wconversion -Wshadow -Wold-style-cast -Wpedantic
              -Werror""".split()

SQUARE = """#include <virtine/guest.hpp>
int square(int n) { return n * n; }
VIRTINE_EXPORT(square);
"""
FIB16 = """%include "virtine.inc"
section .text
virtine_export fib, "i4(i4)"
  virtine_done
"""


class Case(unittest.TestCase):
    """A test in an empty directory of its own."""

    def setUp(self):
        # The temporary files of virtine-cc go there too, so that leftovers are seen.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="virtine cc $test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.temporary = self.directory / "temporary"
        self.temporary.mkdir()
        self.work = self.directory / "work"
        self.work.mkdir()

    def write(self, name, text):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run_cc(self, *arguments, cwd=None, program=VIRTINE_CC, **environment):
        return subprocess.run(
            [program, *map(str, arguments)], cwd=cwd or self.work, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, encoding="utf-8", check=False,
            env={**os.environ, "TMPDIR": str(self.temporary), "LC_ALL": "C", **environment})

    def build(self, *arguments, **options):
        """Builds OUT, the last argument, and returns its text."""
        done = self.run_cc(*arguments[:-1], "-o", arguments[-1], **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        self.assertEqual(os.listdir(self.temporary), [])
        return (pathlib.Path(options.get("cwd", self.work)) / arguments[-1]).read_text()

    def fails(self, *arguments, says, files=None, **environment):
        """Runs virtine-cc where it has to fail, over outputs of an earlier run."""
        self.write("out.hpp", "stale")
        self.write("out.d", "stale")
        before = files or sorted(os.listdir(self.work))
        done = self.run_cc(*arguments, "--depfile", "out.d", "-o", "out.hpp", **environment)
        self.assertEqual(done.returncode, 1, done.stderr)
        last = done.stderr.rstrip("\n").split("\n")[-1]
        self.assertTrue(last.startswith("virtine-cc: error: "), done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        for text in [says] if isinstance(says, str) else says:
            self.assertIn(text, last)
        left = sorted(os.listdir(self.work))
        self.assertEqual(left, [name for name in before if name not in ("out.hpp", "out.d")])
        self.assertEqual(os.listdir(self.temporary), [])
        return done.stderr

    def path_with(self, *tools):
        """Returns a PATH on which only `tools` are found."""
        folder = self.directory / "-".join(("path", *tools))
        folder.mkdir()
        for tool in tools:
            (folder / tool).symlink_to(shutil.which(tool))
        return str(folder)

    def compile_host(self, compiler, *sources, program=None):
        command = [compiler, *WARNINGS, f"-I{INCLUDE}", f"-I{self.work}"]
        command += ["-o", program] if program else ["-fsyntax-only"]
        done = subprocess.run([*command, *sources], cwd=self.work, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


class Header(Case):
    def test_what_runs_before_the_snapshot(self):
        self.write("none.cpp", SQUARE)
        self.assertIn(".init = 0x0,", self.build("none.cpp", "none.hpp"))
        named = SQUARE + "static int n;\nstatic void f() { n = 1; }\nVIRTINE_INIT(f);\n"
        self.write("named.cpp", named)
        constructed = SQUARE + "int start() { return 4; }\nint n = start() + square(2);\n"
        self.write("constructed.cpp", constructed.replace("start() {", "start() { asm(\"\");"))
        for name in ("named", "constructed"):
            text = self.build(f"{name}.cpp", f"{name}.hpp")
            address = re.search(r"\.init = (0x[0-9a-f]+),", text)[1]
            self.assertRegex(text, r"\{%s, [0-9]+, \"virtine_init\"\}" % address)

    def test_one_export_with_the_name_of_the_image(self):
        self.write("square.cpp", SQUARE)
        text = self.build("square.cpp", "square.hpp")
        self.assertTrue(text.startswith("// Generated by virtine-cc "))
        self.assertIn(" from square.cpp. Do not edit.\n#pragma once\n", text)
        self.assertIn("struct square {", text)
        self.assertIn("struct entry {", text)
        self.assertIn("using only_entry = entry;", text)
        self.assertIn('name = "square";', text)
        self.assertIn('signature = "i4(i4)"', text)

    def test_several_exports(self):
        self.write("a.cpp", SQUARE + "double half(double x) noexcept { return x / 2; }\n"
                   "VIRTINE_EXPORT(half);\n")
        text = self.build("a.cpp", "a.hpp")
        self.assertIn("struct square {", text)
        self.assertIn("struct half {", text)
        self.assertIn('"f8(f8)"', text)
        self.assertNotIn("only_entry", text)

    def test_name_option(self):
        self.write("square.cpp", SQUARE)
        text = self.build("--name", "other", "square.cpp", "square.hpp")
        self.assertIn("struct other {", text)
        self.assertIn("using only_entry = square;", text)

    def test_sizes(self):
        self.write("square.cpp", SQUARE)
        text = self.build("--stack", "5000", "--arguments", "1M", "square.cpp", "a.hpp")
        self.assertIn(".stack_size = 0x2000,", text)
        self.assertIn(".arguments_size = 0x100000,", text)
        self.assertIn(".memory_size = 0x0,", text)
        self.assertIn("cpu_mode::user64", text)

    def test_same_input_same_bytes_from_any_directory(self):
        source = self.write("square.cpp", SQUARE)
        first = self.build("square.cpp", "square.hpp")
        self.assertEqual(first, self.build("square.cpp", "square.hpp"))
        other = self.directory / "other"
        other.mkdir()
        self.assertEqual(first, self.build(source, "square.hpp", cwd=other))

    def test_imports_are_those_of_the_code_that_is_left(self):
        self.write("a.cpp", """#include <virtine/guest.hpp>
            struct kept : virtine::hypercall<300, int(int)> {};
            struct also : virtine::hypercall<2, void()> {};
            struct dropped : virtine::hypercall<7, void()> {};
            [[gnu::used]] void nobody() { virtine::guest::call<dropped>(); }
            int f(int n) {
              virtine::guest::call<also>();
              virtine::guest::call<kept>(n);
              return virtine::guest::call<kept>(n);
            }
            VIRTINE_EXPORT(f);""")
        text = self.build("a.cpp", "a.hpp")
        self.assertIn("imports[] = {\n    2,\n    300,\n};", text)
        self.assertNotIn("nobody", text)

    def test_imports_of_functions_in_shared_headers(self):
        self.write("a.hpp", """#include <virtine/guest.hpp>
            struct ask : virtine::hypercall<9, int(int)> {};
            [[gnu::noinline]] inline int f(int n) { return virtine::guest::call<ask>(n); }
            template <class T> T g(T n) { return f(n) + virtine::guest::call<ask>(n); }""")
        self.write("a.cpp", '#include "a.hpp"\nint h(int);\n'
                   "int k(int n) { return f(n) + g(n) + h(n); }\nVIRTINE_EXPORT(k);\n")
        self.write("b.cpp", '#include "a.hpp"\nint h(int n) { return f(n) + g(n); }\n')
        for level in "02":
            text = self.build(f"-O{level}", "a.cpp", "b.cpp", "b.hpp")
            self.assertIn("imports[] = {\n    9,\n};", text)

    def test_hosts_compile_it_without_warnings(self):
        self.write("square.cpp", SQUARE)
        self.write("fib.asm", FIB16)
        self.build("square.cpp", "square.hpp")
        self.build("--mode", "real16", "fib.asm", "fib.hpp")
        self.build(GUESTS / "math" / "math.cpp", "math.hpp")
        use = """#include <square.hpp>
            #include <fib.hpp>
            #include <math.hpp>
            #include <virtine/abi/signature.hpp>
            static_assert(virtine::single_entry_image<guests::square>);
            static_assert(virtine::guest_entry<guests::square::entry>);
            static_assert(virtine::single_entry_image<guests::fib>);
            static_assert(virtine::guest_image<guests::math>);
            static_assert(!virtine::single_entry_image<guests::math>);
            static_assert(guests::math::sum::signature ==
                          virtine::detail::signature<long(std::span<const int>)>);
            static_assert(guests::math::description.imports.size() == 1);
            static_assert(guests::square::description.segments[0].address == 0x20000);
            static_assert(guests::fib::description.memory_size == 65536);
            """
        address = "const virtine::image_description* {}() {{ return &guests::math::description; }}"
        self.write("a.cpp", use + "const virtine::image_description* b();\n"
                   + address.format("a") + "\nint main() { return a() == b() ? 0 : 1; }")
        self.write("b.cpp", use + "const virtine::image_description* b();\n" + address.format("b"))
        for compiler in ("g++", "clang++"):
            for option in ([], ["-fno-exceptions"]):
                self.compile_host(compiler, *option, "a.cpp", "b.cpp", program="both")
            self.assertEqual(subprocess.call([self.work / "both"]), 0)

    def test_two_images_of_one_name_stay_two(self):
        # In one program, of files with one name in two directories.
        for place, body in (("a", "return n + 7;"), ("b", "return n * 1234567 ^ 99;")):
            self.write(f"{place}/app.cpp", "#include <virtine/guest.hpp>\n"
                       f"int f(int n) {{ {body} }}\nVIRTINE_EXPORT(f);\n")
            self.build(f"{place}/app.cpp", f"{place}/app.hpp")
            self.write(f"{place}/host.cpp", f"""#include "app.hpp"
                template <class Image> std::string_view code() {{
                  static const std::string_view content = Image::description.segments[0].content;
                  return content;
                }}
                std::string_view {place}() {{ return code<guests::app>(); }}
                """)
        self.write("main.cpp", """#include <string_view>
            std::string_view a();
            std::string_view b();
            int main() { return a() == b() ? 1 : 0; }""")
        for compiler in ("g++", "clang++"):
            self.compile_host(compiler, "main.cpp", "a/host.cpp", "b/host.cpp", program="both")
            self.assertEqual(subprocess.call([self.work / "both"]), 0)

    def test_every_byte_value_arrives(self):
        self.write("bytes.asm", '%include "virtine.inc"\nsection .rodata\ntable:\n%assign i 0\n'
                   "%rep 256\n db i, i, '0', '?', '?', '/'\n%assign i i+1\n%endrep\n"
                   'section .text\nvirtine_export get, "u8()"\n mov rax, table\n ret\n')
        self.build("--name", "all", "bytes.asm", "all.hpp")
        self.write("a.cpp", """#include <all.hpp>
            int main() {
              const auto content = guests::all::description.segments[1].content;
              if (content.size() != 6 * 256) return 1;
              for (unsigned i = 0; i < 256; ++i) {
                const char c = static_cast<char>(i);
                const char want[] = {c, c, '0', '?', '?', '/'};
                if (content.substr(6 * i, 6) != std::string_view(want, 6)) return 2;
              }
            }""")
        for compiler in ("g++", "clang++"):
            self.compile_host(compiler, "a.cpp", program="all")
            self.assertEqual(subprocess.call([self.work / "all"]), 0)

    def test_a_large_image_is_cheap_to_include(self):
        (self.work / "blob").write_bytes(bytes((7 * i * i) >> 3 & 0xff for i in range(1 << 20)))
        self.write("large.asm", '%include "virtine.inc"\nsection .rodata\ntable: incbin "blob"\n'
                   'section .text\nvirtine_export get, "u8()"\n mov rax, table\n ret\n')
        self.build("large.asm", "large.hpp")
        self.write("with.cpp", "#include <large.hpp>\nint main() {}\n")
        self.write("without.cpp", "#include <virtine/image.hpp>\nint main() {}\n")
        for compiler in ("g++", "clang++"):
            seconds = {}
            for source in ("without.cpp", "with.cpp"):
                start = time.monotonic()
                self.compile_host(compiler, source)
                seconds[source] = time.monotonic() - start
            print(f"{compiler}: 1 MiB of image adds "
                  f"{seconds['with.cpp'] - seconds['without.cpp']:.2f} s to a compilation",
                  file=sys.stderr)

    def test_depfile(self):
        self.write("local.hpp", "inline constexpr int two = 2;\n")
        self.write("twice #1.cpp", '#include <virtine/guest.hpp>\n#include "local.hpp"\n'
                   "#include <cstdlib>\n"
                   "int twice(int n) { return n == 0 ? rand() : n < 0 ? abort(), 0 : two * n; }\n"
                   "VIRTINE_EXPORT(twice);\n")
        self.write("defs/more.inc", "")
        self.write("b.asm", '%include "more.inc"\nsection .text\n')
        self.build("--depfile", "a.d", "-Idefs", "twice #1.cpp", "b.asm", "a.hpp")
        rule = (self.work / "a.d").read_text()
        self.assertTrue(rule.startswith("a.hpp: "))
        for needed in ("virtine-cc", "link.py", "user64.ld", "ends.cpp", "libc.a", "local.hpp", "more.inc", "b.asm",
                       "virtine/guest.hpp", "virtine/guest/entry.hpp"):
            self.assertRegex(rule, rf"(?m)[ /]{re.escape(needed)}( \\)?$")
        self.assertIn("twice\\ \\#1.cpp", rule)
        # Each is a file, once what make would unquote is unquoted.
        for word in re.findall(r"(?:\\[ #\\]|[^\s\\])+", rule.replace("\\\n", " "))[1:]:
            path = re.sub(r"\\([ #\\])", r"\1", word).replace("$$", "$")
            self.assertTrue((self.work / path).is_file(), path)

    def test_depfile_of_a_bare_image_has_the_boot_code(self):
        self.write("fib.asm", FIB16)
        self.build("--mode", "long64", "--boot", "--depfile", "a.d", "fib.asm", "a.hpp")
        rule = (self.work / "a.d").read_text()
        for needed in ("boot.asm", "bare.ld", "virtine.inc", "fib.asm"):
            self.assertIn("/" + needed if needed != "fib.asm" else needed, rule)

    def test_the_output_can_be_read_by_others(self):
        self.write("square.cpp", SQUARE)
        mask = os.umask(0o022)
        self.addCleanup(os.umask, mask)
        self.build("square.cpp", "square.hpp")
        self.assertEqual((self.work / "square.hpp").stat().st_mode & 0o777, 0o644)

    def test_an_installed_copy_works(self):
        prefix = self.directory / "prefix"
        (prefix / "bin").mkdir(parents=True)
        shutil.copy(VIRTINE_CC, prefix / "bin")
        for folder in ("runtime", "virtine_cc"):
            shutil.copytree(GUESTS / folder, prefix / "share" / "virtine" / folder)
        shutil.copytree(INCLUDE, prefix / "include")
        self.write("square.cpp", SQUARE)
        link = self.directory / "virtine-cc"
        link.symlink_to(prefix / "bin" / "virtine-cc")
        self.assertEqual(self.build("square.cpp", "square.hpp", program=link),
                         self.build("square.cpp", "square.hpp"))
        shutil.rmtree(prefix / "share" / "virtine" / "runtime")
        self.fails("square.cpp", says=["user64.ld is missing", "install virtine again"],
                   program=link)
        shutil.rmtree(prefix / "share")
        done = self.run_cc("square.cpp", "-o", "square.hpp", program=link)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "^virtine-cc: error: .*virtine_cc is missing; install")


def read_elf(path):
    """Returns the (address, file size, memory size, flags) of each segment and all their types."""
    data = path.read_bytes()
    offset, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", data, offset + 56 * i) for i in range(count)]
    return [(h[3], h[5], h[6], h[1]) for h in headers], {h[0] for h in headers}


class Layout(Case):
    PARTS = """#include <virtine/guest.hpp>
        int zeros[5000];
        int numbers[] = {1, 2, 3};
        const int table[] = {4, 5, 6};
        int common_like;
        unsigned long f(int n) {
          static int calls;
          zeros[n] += ++calls + ++common_like;
          return reinterpret_cast<unsigned long>(&zeros[n]) + numbers[n] + table[n];
        }
        VIRTINE_EXPORT(f);
        """

    def test_segments_of_user64(self):
        self.write("a.cpp", self.PARTS)
        text = self.build("--keep", "kept", "a.cpp", "a.hpp")
        segments, types = read_elf(self.work / "kept" / "a.elf")
        self.assertEqual(types, {1, 7})  # and one for thread-local variables, which has none
        segments = segments[:3]
        self.assertEqual([s[3] for s in segments], [5, 4, 6])
        self.assertEqual(segments[0][0], 0x20000)
        end = 0
        for address, file_size, memory_size, _ in segments:
            self.assertEqual(address % 4096, 0)
            self.assertGreaterEqual(address, end)
            self.assertGreaterEqual(memory_size, file_size)
            end = address + memory_size
        self.assertGreaterEqual(segments[2][2] - segments[2][1], 4 * 5000)
        rights = re.findall(r"\}, (true|false), (true|false)\},", text)
        self.assertEqual(rights, [("false", "true"), ("false", "false"), ("true", "false")])
        self.assertTrue((self.work / "kept" / "1_a.o").is_file())

    def test_only_what_an_entry_reaches_is_linked(self):
        self.write("square.cpp", SQUARE + "int unused[10000];\n"
                   "[[gnu::used]] static int f() { return ++unused[3]; }\n")
        text = self.build("square.cpp", "square.hpp")
        self.assertEqual(len(re.findall(r"inline constexpr char content_", text)), 1)
        self.assertNotIn("memcpy", text)

    def test_c_common_and_memory_functions(self):
        self.write("a.c", "int shared; int other[100];\n"
                   "void* memcpy(void*, const void*, unsigned long);\n"
                   "int get(char* to, const char* from, unsigned long n)\n"
                   "{ memcpy(to, from, n); return shared + other[n]; }\n")
        self.write("b.cpp", '#include <virtine/guest.hpp>\nextern "C" {\nextern int shared;\n'
                   "int get(char*, const char*, unsigned long);\n}\n"
                   "static int f(int n) { char b[9]; shared = n; return get(b, b + 4, 4); }\n"
                   "VIRTINE_EXPORT(f);\n")
        self.assertIn('"memcpy"', self.build("a.c", "b.cpp", "a.hpp"))
        subprocess.check_call(["gcc", "-c", "-fcommon", "-O1", "-fno-pic", "-o", "a.o", "a.c"],
                              cwd=self.work)
        self.assertIn('"memcpy"', self.build("a.o", "b.cpp", "a.hpp"))

    def test_sources_compiled_before(self):
        self.write("a.h", "int get(void);\n")
        self.write("a.c", '#include "a.h"\n#include <string.h>\n'
                   "int get(void) { return VALUE + VIRTINE_GUEST; }\n")
        self.write("b.cpp", '#include <virtine/guest.hpp>\nextern "C" int get();\n'
                   "static int f() { return get(); }\nVIRTINE_EXPORT(f);\n")
        done = self.run_cc("-c", "a.c", "-D", "VALUE=2", "--depfile", "a.d", "-o", "a.o")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(os.listdir(self.temporary), [])
        rule = (self.work / "a.d").read_text()
        self.assertTrue(rule.startswith("a.o: "), rule)
        self.assertIn(" a.h ", rule)
        self.assertIn('"get"', self.build("b.cpp", "a.o", "b.hpp"))
        self.fails("-c", "a.c", "b.cpp", "-D", "VALUE=2", says="2 are given")
        self.fails("-c", "a.c", says="a.c does not compile")

    def test_objects_for_shared_libraries_link_too(self):
        self.write("a.c", "int shared = 3; int* where(void) { return &shared; }\n")
        self.write("b.cpp", '#include <virtine/guest.hpp>\nextern "C" int* where();\n'
                   "static int f() { return *where(); }\nVIRTINE_EXPORT(f);\n")
        subprocess.check_call(["gcc", "-c", "-fPIC", "-g", "-O1", "-o", "a.o", "a.c"],
                              cwd=self.work)
        self.build("a.o", "b.cpp", "a.hpp")

    def test_errors_of_the_standard_library_become_faults(self):
        self.write("a.cpp", "#include <virtine/guest.hpp>\n#include <optional>\n#include <array>\n"
                   "static int f(std::string_view s) {\n"
                   "  static struct counter { int n = 0; ~counter() { n = 0; } } c;\n"
                   "  std::array<int, 3> a{1, 2, 3};\n"
                   "  std::optional<int> o;\n  if (s.size() > 9) o = 3;\n"
                   "  return ++c.n + s.substr(3).size() + s.at(2) + a.at(s.size()) + o.value();\n"
                   "}\nVIRTINE_EXPORT(f);\n")
        self.build("a.cpp", "a.hpp")

    def test_compiler_options_reach_the_compiler(self):
        self.write("in/value.h", "#define VALUE 5\n")
        self.write("a.c", '#include "value.h"\n#if __STDC_VERSION__ != 201710L || !defined X\n'
                   "#error\n#endif\nint value(void) { return VALUE + Y; }\n")
        self.write("b.cpp", '#include <virtine/guest.hpp>\n#if __cplusplus <= 202002L\n#error\n'
                   '#endif\n#ifdef __OPTIMIZE__\n#error\n#endif\nextern "C" int value();\n'
                   "static int f() { return value(); }\nVIRTINE_EXPORT(f);\n")
        self.build("-Iin", "-D", "X", "-DY=2", "-O0", "-std=c17", "-std=c++2b", "a.c", "b.cpp",
                   "a.hpp")

    def test_archives_give_what_is_asked_of_them(self):
        self.write("one.c", "int one(void) { return 1; }\nint idle(void) { return 2; }\n")
        self.write("two.c", "int missing(void);\nint two(void) { return missing(); }\n")
        self.write("fortified.c", "#include <stdio.h>\n#include <string.h>\n"
                   "int fill(char* to, const char* from) {\n  char own[8];\n"
                   '  strcpy(own, from);\n  return sprintf(to, "%s", own);\n}\n')
        for name in ("one", "two", "fortified"):
            subprocess.check_call(["gcc", "-c", "-O2", "-D_FORTIFY_SOURCE=2",
                                   "-fstack-protector-strong", "-ffunction-sections", f"{name}.c"], cwd=self.work)
        subprocess.check_call(["ar", "rcs", "lib.a", "one.o", "two.o", "fortified.o"],
                              cwd=self.work)
        self.write("a.cpp", '#include <virtine/guest.hpp>\nextern "C" int one();\n'
                   'extern "C" int fill(char*, const char*);\nstatic int f(std::string_view s) {'
                   "\n  char to[99];\n  return one() + fill(to, s.data());\n}\n"
                   "VIRTINE_EXPORT(f);\n")
        text = self.build("a.cpp", "lib.a", "a.hpp")
        for name in ('"one"', '"__strcpy_chk"', '"__stack_chk_fail"'):
            self.assertIn(name, text)
        for name in ('"two"', '"idle"'):
            self.assertNotIn(name, text)
        self.write("b.cpp", '#include <virtine/guest.hpp>\nextern "C" int two();\n'
                   "static int f() { return two(); }\nVIRTINE_EXPORT(f);\n")
        self.fails("b.cpp", "lib.a", says="defined: missing (by f -> two)")
        subprocess.check_call(["ar", "rcsT", "thin.a", "one.o"], cwd=self.work)
        self.fails("a.cpp", "thin.a", says="thin archives")

    def test_what_is_left_out_of_small_images(self):
        sizes = {}
        for name, body in {"square": "return n * n;",
                           "vector": "std::vector<int> v(n, 3); v.push_back(n); return v[n / 2];",
                           "map": "std::map<int, int> m; m[n] = 1; return m.at(n);",
                           "throws": "if (n == 3) throw n; return n;",
                           "catches": "try { if (n == 3) throw n; } catch (int) { return 1; } "
                                      "return n;"}.items():
            self.write("a.cpp", "#include <virtine/guest.hpp>\n#include <iostream>\n"
                       "#include <map>\n#include <vector>\n"
                       f"static int f(int n) {{ {body} }}\nVIRTINE_EXPORT(f);\n")
            self.build("--keep", "kept", "a.cpp", "a.hpp")
            segments, _ = read_elf(self.work / "kept" / "a.elf")
            sizes[name] = sum(segment[1] for segment in segments)
        print("bytes of images:", sizes, file=sys.stderr)
        self.assertLess(sizes["square"], 200)
        self.assertLess(sizes["throws"], sizes["catches"] / 2)
        self.assertLess(sizes["map"], 20000)
        self.assertLess(sizes["map"], sizes["catches"])

    def make_libc(self, code):
        """Returns a folder with musl's headers and a libc.a whose function `libc` is of `code`."""
        folder = self.directory / "musl"
        (folder / "lib").mkdir(parents=True, exist_ok=True)
        if not (folder / "include").exists():
            (folder / "include").symlink_to("/usr/include/x86_64-linux-musl")
        self.write("libc.asm", f"bits 64\nsection .text\nglobal libc:function\nlibc:\n{code}\n")
        subprocess.check_call(["nasm", "-felf64", "libc.asm", "-o", "libc.o"], cwd=self.work)
        subprocess.check_call(["ar", "rcs", folder / "lib" / "libc.a", "libc.o"], cwd=self.work)
        self.write("a.cpp", '#include <virtine/guest.hpp>\nextern "C" int libc();\n'
                   "static int f() { return libc(); }\nVIRTINE_EXPORT(f);\n")
        return str(folder)

    def test_system_calls_of_the_library_are_rewritten_and_nothing_else(self):
        code = """mov eax, 0x050f
            mov byte [rax + rcx + 15], 5
            mov rdx, 0x11050f22050f3344
            db 0x81, 0x25, 0, 0, 0, 0, 0x11, 0x22, 0x33, 0x0f
            add eax, 0x01020304
            syscall
            ret"""
        self.build("--keep", "kept", "a.cpp", "a.hpp", VIRTINE_MUSL=self.make_libc(code))
        done = subprocess.run(["objdump", "-d", "--no-show-raw-insn", "kept/a.elf"],
                              cwd=self.work, stdout=subprocess.PIPE, encoding="utf-8", check=True)
        text = re.sub(r"\s+", " ", done.stdout)
        for left in ("mov $0x50f,%eax", "movb $0x5,0xf(%rax,%rcx,1)",
                     "movabs $0x11050f22050f3344,%rdx", "add $0x1020304,%eax"):
            self.assertIn(left, text)
        self.assertEqual(text.count("out %eax,$0xe8"), 1)
        self.assertNotIn("syscall", text)

    def test_a_library_of_which_not_all_is_code_is_refused(self):
        folder = self.make_libc("ret\ndb 0x06, 0x0f, 0x05, 0x06")
        self.build("a.cpp", "a.hpp", VIRTINE_MUSL=folder)  # syscall, between what is no code
        folder = self.make_libc("ret\ndb 0xc4, 0xe0, 0x0f, 0x05, 0xff")
        self.fails("a.cpp", says=["libc.a(libc.o)", "may or may not be a system call"],
                   VIRTINE_MUSL=folder)

    def test_system_calls_of_others_stay(self):
        self.write("b.asm", '%include "virtine.inc"\nsection .text\nvirtine_export f, "v()"\n'
                   " syscall\n ret\n")
        self.build("--keep", "kept", "b.asm", "b.hpp")
        self.assertIn(b"\x0f\x05\xc3", (self.work / "kept" / "b.elf").read_bytes())

    def test_headers_of_hosts_compile_in_a_guest(self):
        names = """algorithm any array atomic barrier bitset charconv chrono cmath complex
            condition_variable coroutine cstdio cstdlib cstring ctime cuchar deque exception
            filesystem format fstream functional future iomanip iostream latch list locale map
            memory memory_resource mutex new numeric optional ostream random ranges regex
            semaphore set shared_mutex span sstream stop_token string string_view syncstream
            system_error thread tuple unordered_map variant vector pthread.h sys/socket.h
            immintrin.h linux/kvm.h virtine/virtine.hpp""".split()
        text = "".join(f"#if __has_include(<{name}>)\n#include <{name}>\n#endif\n"
                       for name in names)
        self.write("a.cpp", text + "#ifndef VIRTINE_GUEST\n#error\n#endif\n#ifdef __GLIBC__\n"
                   "#error\n#endif\n" + SQUARE)
        self.build("a.cpp", "a.hpp")

    def test_views_compile_where_clang_knows_them(self):
        self.write("a.cpp", "#include <ranges>\n#include <virtine/guest.hpp>\nint sum(int n) {\n"
                   "  int all = 0;\n  for (int each : std::views::iota(0, n)) all += each;\n"
                   "  return all;\n}\nVIRTINE_EXPORT(sum);\n")
        newer = next((name for name in ("clang-16", "clang-17", "clang-18", "clang-19")
                      if shutil.which(name)), None)
        if newer is None:
            self.skipTest("no clang 16 or newer is installed")
        self.build("a.cpp", "a.hpp", VIRTINE_CLANG=newer)

    def test_a_clang_can_be_chosen(self):
        self.write("square.cpp", SQUARE)
        chosen = self.directory / "my-clang"
        chosen.write_text('#!/bin/sh\ntouch used\nexec clang "$@"\n')
        chosen.chmod(0o755)
        self.build("square.cpp", "square.hpp", VIRTINE_CLANG=str(chosen))
        self.assertTrue((self.work / "used").exists())

    def test_debug_information(self):
        self.write("sub/a.cpp", """#include <virtine/guest.hpp>
            static int divide(int a, int b) {
              asm("" : "+r"(b));
              return a / b;
            }
            VIRTINE_EXPORT(divide);
            """)
        plain = self.build("sub/a.cpp", "a.hpp")
        text = self.build("-g", "sub/a.cpp", "--keep", "kept", "a.hpp")
        self.assertNotIn("source_line", plain)
        self.assertIn(".lines = ::guests_data::a::lines,", text)
        self.assertIn('"sub/a.cpp";', text)
        body = re.search(r"source_line lines\[\] = \{\n(.*?)\n\};", text, re.DOTALL)[1]
        rows = re.findall(r"\{(0x[0-9a-f]+)(?:, ::guests_data::a::(file_\d+), (\d+))?\},", body)
        addresses = [int(row[0], 16) for row in rows]
        self.assertEqual(addresses, sorted(set(addresses)))
        self.assertEqual(addresses[0], 0x20000)
        file = re.search(r'char (file_\d+)\[\] = "sub/a.cpp";', text)[1]
        self.assertIn((file, "4"), [row[1:] for row in rows])
        self.assertEqual(rows[-1][1:], ("", ""))
        # The image itself is the same, and whatever is built is described without warnings.
        content = r"char content_0\[\] =\n(.*?);"
        self.assertEqual(re.search(content, plain, re.DOTALL)[1],
                         re.search(content, text, re.DOTALL)[1])
        self.write("host.cpp", '#include "a.hpp"\nint main() {}\n')
        self.compile_host("g++", "host.cpp")
        # gdb and others find the lines in what is kept; the map says what is where.
        self.assertIn(b".debug_line", (self.work / "kept" / "a.elf").read_bytes())
        self.assertIn(".text", (self.work / "kept" / "a.map").read_text())

    def test_debug_information_of_nasm(self):
        self.write("fib.asm", FIB16.replace("  virtine_done", "  mov bx, 1\n  virtine_done"))
        text = self.build("-g", "--mode", "real16", "fib.asm", "fib.hpp")
        file = re.search(r'char (file_\d+)\[\] = "fib.asm";', text)[1]
        self.assertIn(f"{{0x8000, ::guests_data::fib::{file}, 4}},", text)

    def test_disassembly(self):
        self.write("square.cpp", SQUARE)
        for options, there in (([], False), (["-g"], True)):
            done = self.run_cc(*options, "--disassemble", "square.cpp", "-o", "square.hpp")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("<virtine_entry_square>:", done.stdout)
            self.assertIn("imull", done.stdout)
            self.assertEqual("return n * n" in done.stdout, there)
            self.assertNotIn(str(self.temporary), done.stdout)
        self.write("fib.asm", "%include \"virtine.inc\"\nsection .text\n"
                   "virtine_export fib, \"i4(i4)\"\n  mov bx, 0x1234\n  virtine_done\n")
        done = self.run_cc("--mode", "real16", "--disassemble", "fib.asm", "-o", "fib.hpp")
        self.assertRegex(done.stdout, r"movw\s+\$(4660|0x1234), %bx")

    def test_bare_images(self):
        self.write("fib.asm", FIB16)
        for mode, memory in (("real16", 0x10000), ("protected32", 0x100000),
                             ("long64", 0x100000)):
            text = self.build("--mode", mode, "--keep", "kept", "fib.asm", "fib.hpp")
            segments, types = read_elf(self.work / "kept" / "fib.elf")
            self.assertEqual((types, len(segments)), ({1}, 1))
            self.assertEqual((segments[0][0], segments[0][3]), (0x8000, 7))
            self.assertIn(f"cpu_mode::{mode},", text)
            self.assertIn(f".memory_size = {memory:#x},", text)
            self.assertIn(".arguments_size = 0x1000,", text)
            self.assertIn(".boot = 0x0,", text)
            self.assertIn("address = 0x8000;", text)

    def test_boot_code_comes_first(self):
        self.write("fib.asm", FIB16 + "section .data\ndd 1\nsection .bss\nresb 100\n")
        for mode in ("protected32", "long64"):
            text = self.build("--mode", mode, "--boot", "--memory", "4M", "--arguments", "12K",
                              "fib.asm", "fib.hpp")
            self.assertIn(".boot = 0x8000,", text)
            self.assertIn(".memory_size = 0x400000,", text)
            self.assertIn(".arguments_size = 0x3000,", text)
            # lgdt, in real mode
            self.assertRegex(text, r'content_0\[\] =\n    "\\017\\001\\026')
            address = int(re.search(r"address = (0x[0-9a-f]+);", text)[1], 16)
            self.assertGreater(address, 0x8000)


class CompilersOptions(Case):
    def test_what_compilers_take(self):
        self.write("system dir/found.hpp", "inline int signed_one() { int i = 1.5; return i; }\n")
        self.write("first.hpp", "#define FIRST 1\n")
        self.write("my-app.1.cxx", SQUARE + """#include <found.hpp>
            #include <stdio.h>
            #ifdef GONE
            #error "-U does nothing"
            #endif
            #ifdef __GXX_RTTI
            #error "-fno-rtti does nothing"
            #endif
            #ifndef __SSE4_2__
            #error "-m does nothing"
            #endif
            #ifdef __GLIBC__
            #error "the host's headers are in front"
            #endif
            extern "C" unsigned long crc32(unsigned long, const void*, unsigned);
            unsigned long sum(int n) { return signed_one() == FIRST ? crc32(0, &n, sizeof n) : 0; }
            VIRTINE_EXPORT(sum);
            """)
        # An archive in a folder of -L, one that the guest has anyway, and words that say nothing here.
        self.write("sum.c", "unsigned long crc32(unsigned long n, const void* p, unsigned z) {"
                   " return n + z + (p != 0); }\n")
        self.assertEqual(self.run_cc("-c", "sum.c", "-o", "sum.o").returncode, 0)
        self.write("lib/x", "")
        subprocess.run(["ar", "rcs", "lib/libsum.a", "sum.o"], cwd=self.work, check=True)
        text = self.build(
            "-isystem", "system dir", "-isystem/usr/include", "-I/usr/include", "-include", "first.hpp",
            "-DGONE", "-UGONE", "-fno-rtti", "-fPIC", "-msse4.2", "-Wall", "-Wconversion", "-Werror",
            "-Wno-such-warning", "-W", "-pedantic", "-pthread", "-pipe", "-ggdb3", "-L", "lib",
            "-lsum", "-lm", "-lpthread", "--depfile", "a.d", "my-app.1.cxx", "my-app.1.hpp")
        self.assertIn("struct my_app {", text)
        self.assertIn("source_line lines[]", text)
        rule = (self.work / "a.d").read_text()
        for path in ("system\\ dir/found.hpp", "first.hpp", "lib/libsum.a", "linux-musl/stdio.h"):
            self.assertIn(path, rule)
        self.write("bad.cpp", SQUARE + "int f() { int unused; return 1; }\n")
        self.fails("-Werror", "bad.cpp", says="bad.cpp does not compile")
        self.build("-Werror", "-Wno-unused", "bad.cpp", "2nd.hpp")
        self.assertIn("struct image_2nd {", (self.work / "2nd.hpp").read_text())
        self.assertIn("struct kept_ {", self.build("-Wno-unused", "bad.cpp", "kept_.hpp"))

    def test_what_is_not_for_guests(self):
        self.write("square.cpp", SQUARE)
        for option in ("-flto", "-flto=thin", "-Wl,-x", "-m32", "-mcmodel=large", "-mllvm", "-fprofile-generate",
                       "-foptimization-record-file=f", "-fsave-optimization-record", "-ftest-coverage",
                       "-fcrash-diagnostics-dir=d", "-ftime-trace", "-fsyntax-only"):
            self.fails(option, "square.cpp", says=[f"{option} is not for guests: ", "leave it out"])
        self.write("fib.asm", FIB16)
        self.fails("--mode", "real16", "-lz", "fib.asm", says="-l is for --mode user64")
        self.fails("-U", "1x", "square.cpp", says="-U '1x' is not a name")
        self.fails("-lnowhere", "square.cpp", says=["-lnowhere: libnowhere.a was not found; install",
                                                    "-L"])
        self.write("lib/libonly.so", "")
        self.write("liba.a", "/* GNU ld script */ GROUP ( b.a )\n")
        self.fails("square.cpp", "liba.a", says=["a linker's script", "give the archives"])
        self.write("libz.so.1", "")
        self.fails("square.cpp", "libz.so.1", says=["a shared library", "give the static one, libz.a"])
        self.write("a.c", "int f(void) { return 1; }\n")
        for command, words in ((["gcc", "-flto", "-c"], "no machine code, as -flto makes it"),
                               (["clang", "-flto", "-c"], "LLVM's bitcode, as -flto makes it"),
                               (["gcc", "-shared", "-fPIC"], "a program or a shared library")):
            subprocess.run([*command, "a.c", "-o", "a.o"], cwd=self.work, check=True)
            self.fails("square.cpp", "a.o", says=["a.o", words])

    def test_each_clang_that_is_here(self):
        self.write("a.cpp", SQUARE + "#include <map>\n#include <string>\n#include <stdexcept>\n"
                   "static std::map<std::string, int> table{{\"a\", 1}};\n"
                   "int look(std::string_view s) { try { return table.at(std::string(s)); }"
                   " catch (const std::out_of_range&) { return -1; } }\nVIRTINE_EXPORT(look);\n")
        found = [path for version in range(14, 25) if (path := shutil.which(f"clang-{version}"))]
        for clang in found:
            with self.subTest(clang):
                self.build("a.cpp", "a.hpp", VIRTINE_CLANG=clang)


class Failures(Case):
    def setUp(self):
        super().setUp()
        self.write("square.cpp", SQUARE)

    def test_missing_tools(self):
        self.fails("square.cpp", says=["clang was not found", "apt install clang"],
                   PATH=self.path_with("ld.lld", "nasm"))
        self.fails("square.cpp", says=["ld.lld was not found", "apt install lld"],
                   PATH=self.path_with("clang"))
        self.write("fib.asm", FIB16)
        self.fails("--mode", "real16", "fib.asm", says=["nasm was not found", "apt install nasm"],
                   PATH=self.path_with("clang", "ld.lld"))
        self.fails("square.cpp", says=["VIRTINE_CLANG", "'no-such-clang'"],
                   VIRTINE_CLANG="no-such-clang")

    def test_missing_pyelftools(self):
        # -S leaves out the folders where packages are.
        program = self.directory / "guests" / "virtine-cc"
        program.parent.mkdir()
        text = VIRTINE_CC.read_text().replace("#!/usr/bin/python3\n", "#!/usr/bin/python3 -S\n", 1)
        program.write_text(text)
        program.chmod(0o755)
        for folder in ("runtime", "virtine_cc"):
            (program.parent / folder).symlink_to(GUESTS / folder)
        (self.directory / "include").symlink_to(INCLUDE)
        self.fails("-g", "square.cpp", says=["pyelftools", "apt install python3-pyelftools"],
                   program=program, PYTHONPATH="")

    def test_other_versions_of_the_tools_are_found(self):
        folder = self.directory / "versions"
        folder.mkdir()
        (folder / "clang-15").symlink_to(shutil.which("clang"))
        (folder / "ld.lld-14").symlink_to(shutil.which("ld.lld"))
        self.build("square.cpp", "square.hpp", PATH=str(folder))

    def test_sources_that_do_not_compile(self):
        self.write("bad.cpp", "#include <virtine/guest.hpp>\nint f() { return x; }\n")
        said = self.fails("bad.cpp", says="bad.cpp does not compile")
        self.assertIn("bad.cpp:2:18: error: use of undeclared identifier 'x'", said)
        self.write("bad.asm", "  frobnicate eax\n")
        said = self.fails("bad.asm", says="bad.asm does not compile")
        self.assertIn("bad.asm:1", said)
        self.write("missing.cpp", "#include <no_such_header>\n")
        said = self.fails("missing.cpp", says="missing.cpp does not compile")
        self.assertIn("'no_such_header' file not found", said)
        self.assertNotIn("-o", said.splitlines()[-1])

    def test_a_header_of_another_name_than_the_file_includes(self):
        self.write("app.cpp", '#include <virtine/virtine.hpp>\n#include "app.guest.hpp"\n'
                   "VIRTINE(same, (int n) -> int) { return n; }\n")
        self.fails("app.cpp", says="if app.guest.hpp is the header that this makes of it, give "
                   "that name to -o")

    def test_missing_headers(self):
        self.fails("square.cpp", says=["stdio.h was not found", "apt install musl-dev"],
                   VIRTINE_MUSL="nowhere")
        lost = self.directory / "lost-clang"
        lost.write_text('#!/bin/sh\nfor word; do [ "$word" = -E ] && exit; done\n'
                        'exec clang "$@"\n')
        lost.chmod(0o755)
        self.fails("square.cpp", says=["C++ standard headers", "apt install g++"],
                   VIRTINE_CLANG=str(lost))

    def test_misuse_of_types_is_explained(self):
        self.write("bad.cpp", "#include <virtine/guest.hpp>\nint f(int* p) { return *p; }\n"
                   "VIRTINE_EXPORT(f);\n")
        self.assertIn("virtine [V101]", self.fails("bad.cpp", says="bad.cpp does not compile"))

    def test_undefined_symbols(self):
        self.write("a.cpp", SQUARE + 'extern "C" int printf(const char*, ...);\nint other(long);\n'
                   'int f() { return printf("x") + other(3); }\nVIRTINE_EXPORT(f);\n')
        self.fails("a.cpp", says=["defined: other(long) (by f);",
                                  "nor its C and C++ library"])

    def test_defined_twice(self):
        self.write("a.c", "int helper(void) { return 1; }\n")
        self.write("b.c", "int helper(void) { return 2; }\n")
        self.fails("square.cpp", "a.c", "b.c", says="defined twice: helper")

    def test_exports(self):
        self.write("none.cpp", "int square(int n) { return n * n; }\n")
        self.fails("none.cpp", says=["no function is exported", "VIRTINE in", "VIRTINE_EXPORT"])
        (self.work / "empty.a").write_bytes(b"!<arch>\n")
        self.fails("none.cpp", "empty.a", says="exports in archives are not looked for")
        self.write("again.cpp", SQUARE)
        self.fails("square.cpp", "again.cpp", says="'square' is exported twice, by square.cpp and "
                   "by again.cpp")
        self.write("two.cpp", SQUARE + "int f() { return 1; }\nVIRTINE_EXPORT(f);\n")
        self.fails("--name", "f", "two.cpp", says=["'f' has the name of the image", "--name"])
        self.write("member.cpp", "#include <virtine/guest.hpp>\nint image() { return 1; }\n"
                   "VIRTINE_EXPORT(image);\n")
        self.fails("member.cpp", says=["'image'", "choose another name"])
        self.write("word.asm", '%include "virtine.inc"\nsection .text\n'
                   'virtine_export delete, "v()"\n ret\n')
        self.fails("word.asm", says=["'delete'", "choose another name"])
        self.write("lost.asm", "section .virtine.exports noalloc\ndb 'f', 0, 'v()', 0\n")
        self.fails("lost.asm", says="its entry virtine_entry_f is not defined")
        self.write("torn.asm", "section .virtine.exports noalloc\ndb 'f', 0\n")
        self.fails("torn.asm", says="damaged .virtine.exports")

    def test_option_values(self):
        for option, value, says in (
                ("--stack", "lots", "is not a size"), ("--stack", "0", "out of range"),
                ("--stack", "-1", ""), ("--arguments", "1.5M", "is not a size"),
                ("--memory", "1G", "is not a size"), ("--mode", "real32", "choose one of user64"),
                ("--name", "two words", "cannot be the name"), ("--name", "class", "C++"),
                ("--name", "a__b", "cannot be the name"), ("-O", "9", "use -O0"),
                ("--no-such-option", "1", "")):
            self.fails(option, value, "square.cpp", says=[says, value if says else ""])
        self.fails("--boot", "square.cpp", says="--boot does not go with --mode user64")
        self.fails(says="see virtine-cc --help")

    def test_bare_option_values(self):
        self.write("fib.asm", FIB16)
        self.fails("--boot", "--mode", "real16", "fib.asm",
                   says="--boot does not go with --mode real16")
        self.fails("--stack", "8K", "--mode", "long64", "fib.asm", says="--stack is for")
        self.fails("--arguments", "16K", "--mode", "long64", "fib.asm",
                   says="it can be 1 to 12288 bytes")
        self.fails("--memory", "32K", "--mode", "real16", "fib.asm", says="begins at 0x8000")
        self.fails("--memory", "2M", "--mode", "real16", "fib.asm", says="1 to 1048576 bytes")
        self.fails("--mode", "long64", "square.cpp", says="bare images are written in nasm")

    def test_unreadable_inputs(self):
        self.fails("none.cpp", says="none.cpp cannot be read: No such file or directory")
        self.fails(self.directory, says="cannot be read: Is a directory")
        self.write("a.txt", "")
        self.fails("a.txt", says="a.txt is none of .c .cpp")
        self.write("a.o", "not an object")
        self.fails("a.o", says="a.o is not an object file")
        shutil.copy("/bin/true", self.work / "b.o")
        self.fails("b.o", says="b.o is a program or a shared library")
        data = bytearray(subprocess.run(["nasm", "-felf64", "/dev/null", "-o", "/dev/stdout"],
                                        stdout=subprocess.PIPE, check=True).stdout)
        (self.work / "c.o").write_bytes(data[:100])
        self.fails("c.o", says="c.o is damaged")

    def test_damaged_archives(self):
        self.write("a.cpp", '#include <virtine/guest.hpp>\nextern "C" int one();\n'
                   "static int f() { return one(); }\nVIRTINE_EXPORT(f);\n")
        self.write("one.asm", "global one\none: ret\n")
        subprocess.check_call(["nasm", "-felf64", "one.asm"], cwd=self.work)
        subprocess.check_call(["ar", "rcs", "whole.a", "one.o"], cwd=self.work)
        whole = (self.work / "whole.a").read_bytes()
        for at, wrong in ((56, b"-60       "), (68, b"\xff\xff\xff\xff"),
                          (72, b"\xff\xff\xff\xf0"), (72, b"\0\0\0\x08")):
            (self.work / "wrong.a").write_bytes(whole[:at] + wrong + whole[at + len(wrong):])
            self.fails("a.cpp", "wrong.a", says="wrong.a is damaged: ")

    def test_images_larger_than_their_memory(self):
        self.write("large.cpp", SQUARE + "static char space[3 << 20];\n"
                   "int f(int n) { return ++space[n]; }\nVIRTINE_EXPORT(f);\n")
        self.fails("--memory", "1M", "large.cpp", says=["needs 3698688", "to 1048576;", "--memory"])
        self.build("--memory", "5M", "large.cpp", "large.hpp")
        (self.work / "large.hpp").unlink()
        self.write("large.asm", FIB16 + "  mov ax, [space]\nsection .bss\nspace: resb 40000\n")
        self.fails("--mode", "real16", "large.asm", says=["byte 72776", "65536 bytes", "--memory"])

    def test_what_would_run_elsewhere_than_before_the_snapshot(self):
        self.write("a.cpp", SQUARE + "[[gnu::destructor]] static void end() {}\n")
        self.fails("a.cpp", says=["a.cpp has a section .fini_array", "VIRTINE_INIT"])
        self.write("a.asm", FIB16 + "virtine_init\n  ret\n")
        self.fails("--mode", "real16", "a.asm", says=["a.asm has an initialiser", "user64"])

    def test_two_initialisers(self):
        self.write("a.cpp", SQUARE + "static void f() {}\nVIRTINE_INIT(f);\n")
        self.write("b.cpp", "#include <virtine/guest.hpp>\nstatic void g() {}\n"
                   "VIRTINE_INIT(g);\n")
        self.fails("a.cpp", "b.cpp", says=["named twice, by a.cpp and by b.cpp", "VIRTINE_INIT"])

    def test_initialiser_of_another_type(self):
        self.write("a.cpp", SQUARE + "VIRTINE_INIT(square);\n")
        errors = self.fails("a.cpp", says="a.cpp does not compile")
        self.assertIn("VIRTINE_INIT names a function that takes arguments", errors)

    def test_thread_local(self):
        self.write("a.cpp", SQUARE + "alignas(128) thread_local int t;\nint f() { return ++t; }\n"
                   "VIRTINE_EXPORT(f);\n")
        self.fails("a.cpp", says=["thread_local variable that is aligned to more than 64"])
        self.write("a.asm", FIB16 + "section .tbss tls\nresb 4\n")
        self.fails("--mode", "real16", "a.asm", says=["a.asm has a thread_local variable, which"])

    def test_writable_code(self):
        self.write("a.asm", '%include "virtine.inc"\nsection .text write exec\n'
                   'virtine_export f, "v()"\n ret\n')
        self.fails("a.asm", says=[".text is both writable and executable"])

    def test_sections_without_a_place(self):
        self.write("a.cpp", SQUARE + '[[gnu::section("mine")]] int v = 3;\n'
                   "int f(int n) { return v += n; }\nVIRTINE_EXPORT(f);\n")
        self.fails("a.cpp", says=["no place for the sections mine;", ".rodata"])

    def test_relocations_that_are_left(self):
        self.write("a.c", "static int one(void) { return 1; }\n"
                   "static void* choose(void) { return one; }\n"
                   'int f(void) __attribute__((ifunc("choose")));\n')
        self.write("b.cpp", '#include <virtine/guest.hpp>\nextern "C" int f();\n'
                   "static int g() { return f(); }\nVIRTINE_EXPORT(g);\n")
        self.fails("a.c", "b.cpp", says=["relocations left to do", "ifunc"])

    def test_outputs_that_cannot_be_written(self):
        for out in ("none/out.hpp", "."):
            done = self.run_cc("--name", "a", "square.cpp", "-o", out)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"virtine-cc: error: {out} cannot be written: ", done.stderr)
        done = self.run_cc("square.cpp", "-o", "a.hpp", "--keep", "/dev/null/x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("virtine-cc: error: --keep /dev/null/x cannot be written", done.stderr)
        self.assertEqual(os.listdir(self.work), ["square.cpp"])

    def test_a_source_is_not_overwritten(self):
        for option in ("-o", "--depfile"):
            done = self.run_cc("square.cpp", "-o", "a.hpp", option, "./square.cpp")
            self.assertEqual(done.returncode, 1)
            self.assertIn("both read and written", done.stderr)
            self.assertEqual((self.work / "square.cpp").read_text(), SQUARE)

    def test_stopping_it_leaves_nothing(self):
        slow = self.directory / "slow-clang"
        slow.write_text("#!/bin/sh\ntouch ../started\nexec sleep 600\n")
        slow.chmod(0o755)
        self.write("out.hpp", "stale")
        with subprocess.Popen([VIRTINE_CC, "square.cpp", "-o", "out.hpp"], cwd=self.work,
                              env={**os.environ, "TMPDIR": str(self.temporary),
                                   "VIRTINE_CLANG": str(slow)}) as process:
            while not (self.directory / "started").exists():
                self.assertIsNone(process.poll())
                time.sleep(0.01)
            self.assertNotEqual(os.listdir(self.temporary), [])
            process.send_signal(signal.SIGTERM)
            self.assertNotEqual(process.wait(), 0)
        self.assertEqual(os.listdir(self.temporary), [])
        self.assertEqual(os.listdir(self.work), ["square.cpp"])


@unittest.skipUnless(shutil.which("rustc"), "there is no rustc")
class Rust(Case):
    EXPORT = "#![no_std]\nvirtine::export! { fn f(n: i32) -> i32 { n + 1 } }\n"

    def test_signatures_are_those_of_cxx(self):
        self.write("f.rs", """#![no_std]
            virtine::plain! { pub struct Pair { pub a: u8, pub b: [u32; 3] } }
            virtine::export! {
                fn nothing() {}
                fn numbers(a: i8, b: u16, c: i32, d: u64, e: usize, f: f32, g: f64) -> bool {
                    a != 0 && b != 0 && c != 0 && d != 0 && e != 0 && f != 0.0 && g != 0.0
                }
                pub fn shared(pair: Pair, bytes: virtine::Bytes<100>) -> [Pair; 2] {
                    [Pair { a: bytes[0], ..pair }; 2]
                }
                fn sequences(a: &[f64], b: &mut [Pair], c: virtine::Text, d: &mut [u8]) {
                    d[0] = c[0] + b[0].a + a[0] as u8
                }
                fn enums(a: virtine::Enum<u8>, b: &[virtine::Enum<i64>]) -> virtine::Enum<u8> {
                    if b.is_empty() { a } else { virtine::Enum(0) }
                }
            }
        """)
        text = self.build("f.rs", "f.hpp")
        found = dict(re.findall(r'name = "(\w+)";\n.*\n.*signature = "(.*)";', text))
        self.assertEqual(found, {
            "nothing": "v()",
            "numbers": "b(i1,u2,i4,u8,u8,f4,f8)",
            "shared": "{32.4}({16.4},y100)",
            "sequences": "v([f8],[={16.4}],s,[=u1])",
            "enums": "eu1(eu1,[ei8])",
        })

    def test_only_what_is_reached_is_linked(self):
        self.write("f.rs", self.EXPORT.replace("n + 1", "n.wrapping_add(1)"))
        self.assertIn(".imports = {},", self.build("f.rs", "f.hpp"))
        self.assertNotIn('"core::', self.build("f.rs", "f.hpp"))
        self.write("g.rs", self.EXPORT.replace("n + 1", "10 / n"))
        self.assertRegex(self.build("g.rs", "g.hpp"), r'"core::panicking::[\w:]+"')

    def test_same_input_same_bytes_from_any_directory(self):
        source = self.write("a/f.rs", self.EXPORT.replace("n + 1", "10 / n"))
        here = self.build("f.rs", "f.hpp", cwd=source.parent)
        there = self.write("b/c/f.rs", source.read_text())
        self.assertEqual(self.build("f.rs", "f.hpp", cwd=there.parent), here)

    def test_nothing_is_written_where_it_is_run(self):
        source = self.write("f.rs", self.EXPORT)
        self.build(source, self.work / "f.hpp", cwd="/proc")  # where not even root can write

    def test_beside_cxx(self):
        self.write("twice.rs", "#![no_std]\nextern crate virtine;\n#[no_mangle]\n"
                   "pub extern \"C\" fn twice(n: i32) -> i32 { n.checked_mul(2).unwrap() }\n")
        self.write("f.cpp", '#include <virtine/guest.hpp>\nextern "C" int twice(int);\n'
                   "VIRTINE_EXPORT(twice);\n")
        self.assertIn("struct twice {", self.build("twice.rs", "f.cpp", "f.hpp"))

    def test_depfile(self):
        self.write("f.rs", self.EXPORT.replace("virtine", "mod g;\nvirtine", 1))
        self.write("g.rs", "")
        self.build("f.rs", "--depfile", "f.d", "f.hpp")
        needed = (self.work / "f.d").read_text()
        for name in ("f.rs", "g.rs", str(GUESTS / "runtime" / "virtine.rs")):
            self.assertRegex(needed, r"\s%s(\s|$)" % re.escape(name.replace(" ", "\\ ")))

    def test_mistakes(self):
        for source, says in {
            "fn f(n: &str) -> u8 { n.len() as u8 }": r"`&str: (Argument<'static>|Plain)` is not satisfied",
            "fn f(n: &[u8]) -> &[u8] { n }": r"`&\[u8\]: (Reply|Plain)` is not satisfied",
            "fn f(n: &'static [u8]) -> u8 { n[0] }": r"does not live long enough|temporary value dropped",
            "fn f(n: Option<u8>) -> u8 { n.unwrap() }": r"Plain` is not",
            "fn f(" + ", ".join(f"a{i}: &mut [u64]" for i in range(60)) + ") {}":
                r"virtine \[V115\]|evaluation of constant value failed",  # rustc 1.63 has no text
        }.items():
            with self.subTest(source):
                self.write("f.rs", f"#![no_std]\nvirtine::export! {{ {source} }}\n")
                self.assertRegex(self.fails("f.rs", says="f.rs does not compile"), says)
        self.write("f.rs", "#![no_std]\nvirtine::plain! { struct S { b: bool } }\n")
        self.assertIn("`bool: Plain` is not", self.fails("f.rs", says="f.rs does not compile"))

    def test_failures(self):
        self.write("f.rs", self.EXPORT)
        self.fails("f.rs", says=["rustc was not found", "apt install rustc"],
                   PATH=self.path_with("clang", "ld.lld"), VIRTINE_RUSTC="")
        self.fails("--mode", "long64", "f.rs", says="bare images are written in nasm")
        self.write("std.rs", self.EXPORT.replace("#![no_std]", ""))
        self.fails("std.rs", says="#![no_std]")
        self.write("none.rs", "#![no_std]\nextern crate virtine;\n")
        self.fails("none.rs", says="no function is exported")


if __name__ == "__main__":
    unittest.main()
