#!/usr/bin/python3
# Tests what virtine-cc makes of host files with marked functions, and that such a file compiles only
# with the image of itself. Usage: test_single_source.py VIRTINE_CC [unittest arguments]
# SPDX-License-Identifier: MIT

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from test_virtine_cc import GUESTS, INCLUDE, VIRTINE_CC, Case

sys.path.insert(0, str(GUESTS))
# pylint: disable=wrong-import-position
from virtine_cc.compile import CLANG_FLAGS
from virtine_cc.constructors import changed_by, is_constructor, made_by
from virtine_cc.elf import Object
from virtine_cc.reach import Definition, owner
from virtine_cc.toolchain import Toolchain

HEAD = """#include <iostream>
#include <map>
#include <string>
#include <virtine/virtine.hpp>
#include <guests/app.hpp>
"""
SMALL_HEAD = """#include <virtine/single_source.hpp>
#include <guests/app.hpp>
"""
SQUARE = """VIRTINE(square, (int x) -> int) { return x * x; }
"""
MAIN = """int main() { auto r = square.try_call(3); std::cout << (r ? *r : 0); return r ? 0 : 77; }
"""
COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]


class SingleSource(Case):
    def setUp(self):
        super().setUp()
        (self.work / "guests").mkdir()

    def image(self, text, *options, name="app.cpp"):
        """Builds <guests/app.hpp> of a file and returns its text."""
        self.write(name, text)
        return self.build(*options, "--depfile", "guests/app.d", name, "guests/app.hpp")

    def refused(self, text, *says):
        self.write("app.cpp", text)
        done = self.run_cc("app.cpp", "-o", "guests/app.hpp")
        self.assertEqual(done.returncode, 1, done.stderr)
        last = done.stderr.rstrip("\n").split("\n")[-1]
        for word in says:
            self.assertIn(word, last)
        self.assertEqual(os.listdir(self.work / "guests"), [])
        return last

    def command(self, compiler, *options):
        return [compiler, "-std=c++20", "-pthread", f"-I{INCLUDE}", "-I.", *options]

    def host(self, compiler, *options, source="app.cpp", cwd=None, **environment):
        return subprocess.run([*self.command(compiler, *options), source], cwd=cwd or self.work,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                              check=False, env={**os.environ, **environment})

    def with_host(self, *command, source="app.cpp", header="guests/app.hpp"):
        """Makes an image and compiles the host by one command."""
        return self.run_cc(source, "-o", header, "--host", *command)

    def symbols(self, text):
        return re.findall(r"\{0x[0-9a-f]+, [0-9]+, \"([^\"]*)\"\}", text)

    def test_only_what_marked_functions_need(self):
        text = self.image(HEAD + "static std::map<std::string, int> names{{\"a\", 1}};\n"
                          "thread_local int used;\n"
                          "static int twice(int x) { return 2 * x + int(names.size()) + used++; }\n"
                          + SQUARE + MAIN.replace("*r :", "twice(*r) :"))
        self.assertEqual(set(self.symbols(text)) - {"virtine_code_end"}, {"square"})
        self.assertIn(".init = 0x0,", text)

    def test_lines_of_calls_among_marked_functions(self):
        text = self.image(HEAD + "VIRTINE(deep, (int n) -> int) {\n"
                          "  volatile char used[99]; used[0] = char(n);\n"
                          "  return n == 0 ? 0 : deep(n - 1) + used[0];\n}\n", "-g")
        self.assertIn("app.cpp", text)
        self.assertNotIn("single_source.hpp", text)

    def test_warnings_are_the_host_compilers(self):
        self.write("app.cpp", HEAD + SQUARE + "int main() { int unused = 1; }\n")
        done = self.run_cc("app.cpp", "-o", "guests/app.hpp")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("unused", self.host("g++", "-Wall", "-fsyntax-only").stdout)

    def test_constructors_of_variables_that_are_used(self):
        text = self.image(HEAD + "static std::map<std::string, int> names{{\"a\", 1}};\n"
                          "VIRTINE(count, () -> int) { return int(names.size()); }\n"
                          "int main() { return count.try_call().value_or(0); }\n")
        self.assertNotIn(".init = 0x0,", text)
        self.assertIn("std::_Rb_tree_insert_and_rebalance", text)

    def test_what_constructors_make_and_change(self):
        text = """int level = 3, changed, *kept;
            struct host_only { host_only(int n); ~host_only(); int here; };
            [[gnu::noinline]] void store(int* p) { asm("" : "+r"(p)); PLACE; }
            host_only::host_only(int n) : here(n) { store(&here); }
            host_only::~host_only() {}
            host_only once(level);
            """
        for place, others in (("kept = p", {"kept"}), ("changed += *p", {"changed"}),
                              ("++*&changed", {"changed"}), ("*p = level", set()),
                              ("*p += level * changed", set()), ("*p = level > 2", set()),
                              ("*(kept ? kept : &changed) = 1", {"changed"}),
                              ("*p = double(level)", set()), ("level = changed", {"level"})):
            self.write("a.cpp", text.replace("PLACE", place))
            for level in ("-O0", "-O2"):
                subprocess.run([Toolchain().clang, "-c", *CLANG_FLAGS, "-fno-pic", level, "-w",
                                "-fno-c++-static-destructors", "a.cpp"], cwd=self.work, check=True)
                item = Object("a.o", (self.work / "a.o").read_bytes())
                definitions = {symbol.name: Definition(item, symbol) for symbol in item.symbols
                               if symbol.binding and symbol.section}
                table, = (each.number for each in item.sections if is_constructor(each))
                found = {owner(item, number) for number in made_by(item, table)}
                self.assertEqual(found, {"once"})
                found |= {owner(*key) for key in changed_by(item, table, definitions, {item})}
                self.assertEqual(found, {"once", *others}, place + level)

    def test_constructors_that_no_guest_can_have(self):
        said = self.refused(HEAD + "static int first = [] { std::cout << 1; return 1; }();\n"
                            "static int second = [] { return std::rand(); }();\n"
                            "VIRTINE(f, () -> int) { return second; }\nint main() {}\n",
                            "a guest cannot have std::cout: f -> second -> constructors of app.cpp "
                            "-> std::cout;", "because it uses second, so make that constinit")
        self.assertNotIn("init_array", said)

    def test_names_of_the_header(self):
        for header in ("app.guest.hpp", "guests/app.hpp", "a/b/app.x.y.hpp"):
            (self.work / header).parent.mkdir(parents=True, exist_ok=True)
            self.write("x.cpp", HEAD.replace("guests/app.hpp", header) + SQUARE)
            self.assertIn("struct app {", self.build("x.cpp", header))

    def test_the_image_can_have_the_name_of_a_function(self):
        text = self.image(HEAD + SQUARE + "VIRTINE(app, (int x) -> int) { return square(x); }\n"
                          "int main() { return app.try_call(2).value_or(77); }\n")
        self.assertIn("using app = ::guests::app::entry;", text)
        for compiler in COMPILERS:
            self.assertEqual(self.host(compiler, "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic",
                                       "-Werror").stdout, "")

    def test_the_image_must_be_of_the_file_as_it_is(self):
        self.write("part.hpp", "inline int part(int x) { return 4 * x; }\n")
        self.write("app.cpp", SMALL_HEAD + '#include "part.hpp"\n' + SQUARE.replace("x;", "part(x);"))
        macros = set()
        for edited in (None, "app.cpp", "part.hpp", "part.hpp"):
            if edited:  # within a second, and by as many bytes
                text = (self.work / edited).read_text()
                self.write(edited, text.replace("x *", "x +") if "x *" in text else
                           text.replace("4 *", "5 *").replace("5 *", "4 *", "5 *" in text))
            done = self.with_host("sh", "-c", "printf %s \"$0\"")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertRegex(done.stdout, "^-DVIRTINE_IMAGE_[0-9a-f]{32}$")
            macros.add(done.stdout)
        # Who compiles by itself is not told so, or is told of another image.
        self.assertEqual(len(macros), 3)
        macros.remove(done.stdout)
        for compiler in COMPILERS:
            for options in ([], macros):
                said = self.host(compiler, "-fsyntax-only", *options).stdout
                self.assertEqual(said.count("error: "), 1, said)
                self.assertIn("[V118]", said)
            said = self.with_host(*self.command(compiler, "-fsyntax-only", "-Werror", "app.cpp"))
            self.assertEqual((said.returncode, said.stdout, said.stderr), (0, "", ""))

    def test_files_that_change_while_they_are_compiled(self):
        self.write("part.hpp", "")
        self.write("app.cpp", SMALL_HEAD + '#include "part.hpp"\n' + SQUARE)
        for name in ("app.cpp", "part.hpp"):
            done = self.with_host("sh", "-c", f"touch -d 1970-01-01 {name}; exit 3")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(f"{name} was changed while it was read; run virtine-cc again",
                          done.stderr)
            self.assertEqual(os.listdir(self.work / "guests"), [])

    def test_the_command_of_the_host(self):
        self.write("app.cpp", SMALL_HEAD + SQUARE)
        done = self.with_host("sh", "-c", "echo said; echo wrong >&2; exit 3")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (3, "said\n", "wrong\n"))
        self.assertEqual(os.listdir(self.work / "guests"), ["app.hpp"])
        done = self.with_host("sh", "-c", "kill -9 $$")
        self.assertEqual((done.returncode, done.stdout), (137, ""))
        for command, says in ((["no/such program"], "--host no/such program cannot be run: No such"),
                              (["make"], "--host takes the command of a compiler, such as g++, "),
                              (["/usr/bin/cmake", "--build", "."], "and not /usr/bin/cmake, which"),
                              ([], "--host is the last option")):
            done = self.with_host(*command)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(says, done.stderr)
            self.assertEqual(os.listdir(self.work / "guests"), [])
        done = self.run_cc("app.cpp", "-c", "-o", "app.o", "--host", "true")
        self.assertIn("does not go with -c", done.stderr)

    def test_times_and_places_are_of_no_account(self):
        text = self.image(SMALL_HEAD + SQUARE)
        os.utime(self.work / "app.cpp", (1, 1))
        copy = self.directory / "a copy"
        shutil.copytree(self.work, copy)
        (copy / "guests" / "app.hpp").unlink()
        self.assertEqual(self.build("--depfile", "d", "app.cpp", "guests/app.hpp", cwd=copy), text)
        self.assertNotIn(str(self.directory), text)
        (copy / "app.cpp").rename(copy / "b.cpp")
        for compiler in COMPILERS:
            for place, source in ((copy, self.work / "app.cpp"), (self.work, "./app.cpp")):
                said = self.host(compiler, "-fsyntax-only", "-Wall", "-Wextra", "-Wdate-time",
                                 "-Werror", cwd=place, source=source, SOURCE_DATE_EPOCH="86400")
                self.assertEqual(said.stdout, "")
            self.assertIn("[V117]", self.host(compiler, "-fsyntax-only", cwd=copy,
                                              source="b.cpp").stdout)

    def test_two_files_of_one_name_in_a_program(self):
        for folder, factor in (("a", 1), ("b", 100)):
            self.write(f"{folder}/app.cpp", SMALL_HEAD.replace("<guests/app.hpp>", '"app.guest.hpp"')
                       + f"VIRTINE(scaled, (int x) -> int) {{ return {factor} * x; }}\n"
                       f"int {folder}(int x) {{ return scaled.try_call(x).value_or(77); }}\n")
        self.write("main.cpp", "#include <cstdio>\nint a(int), b(int);\n"
                   'int main() { std::printf("%d %d\\n", a(4), b(3)); }\n')
        compiler = COMPILERS[-1]
        done = self.run_cc(
            "a/app.cpp", "-o", "a/app.guest.hpp", "--host", VIRTINE_CC,
            "b/app.cpp", "-o", "b/app.guest.hpp", "--host",
            *self.command(compiler, "a/app.cpp", "b/app.cpp", "main.cpp", "-o", "app"))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        said = subprocess.run([self.work / "app"], stdout=subprocess.PIPE, check=False).stdout
        self.assertEqual(said, b"4 300\n" if os.path.exists("/dev/kvm") else b"77 77\n")
        # Here b/app.cpp takes the image of a/app.cpp for its own.
        self.run_cc("a/app.cpp", "-o", "a/app.guest.hpp", "--depfile", "d")
        shutil.copy(self.work / "a" / "app.guest.hpp", self.work / "b" / "app.guest.hpp")
        for name in COMPILERS:
            self.assertIn("[V117]", self.host(name, "-fsyntax-only", source="b/app.cpp").stdout)

    @unittest.skipUnless(shutil.which("ccache"), "there is no ccache")
    def test_a_compiler_with_a_cache(self):
        made = []
        # ccache takes a $ in the name of its folder for a variable.
        folder = tempfile.TemporaryDirectory(prefix="virtine-test-")
        self.addCleanup(folder.cleanup)
        os.environ["CCACHE_DIR"] = folder.name
        self.addCleanup(os.environ.pop, "CCACHE_DIR")
        for factor in ("2", "3", "2"):
            self.write("app.cpp", SMALL_HEAD + SQUARE.replace("x * x", f"x * {factor}")
                       + "int host() { return square.try_call(3).value_or(77); }\n")
            done = self.with_host("ccache", *self.command("g++", "-c", "app.cpp", "-o", "app.o"))
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            made.append((self.work / "app.o").read_bytes())
        self.assertTrue(made[0] != made[1] and made[0] == made[2])
        said = subprocess.run(["ccache", "--print-stats"], stdout=subprocess.PIPE,
                              encoding="utf-8", check=True).stdout
        self.assertEqual(sum(map(int, re.findall(r"(?:direct|preprocessed)_cache_hit\t(\d+)", said))),
                         1, said)

    def test_ordinary_functions(self):
        text = self.image(SMALL_HEAD + """
namespace names { static int twice(int n) noexcept { return 2 * n; } }
struct type { static long half(long n) { return n / 2; } };
template <class T> T largest(T a, T b) { return a < b ? b : a; }
int over(int n) { return n; }
double over(double n) { return n / 2; }
VIRTINE_AS(isolated_twice, names::twice);
VIRTINE_AS(half, &type::half);
VIRTINE_AS(largest_of_ints, &largest<int>);
VIRTINE_AS(over_double, static_cast<double (*)(double)>(&over));
VIRTINE(all, (int n) -> int) { return isolated_twice(n) + int(over_double(over(n))); }
int host() { return names::twice(over(1)) + isolated_twice.try_call(1).value_or(0); }
""")
        self.assertRegex(text, "(?s)struct isolated_twice .*struct half .*struct largest_of_ints ")
        for compiler in COMPILERS:
            said = self.host(compiler, "-c", "-o", "app.o", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
            self.assertEqual(said.stdout, "")
            self.assertRegex(self.symbols_of("app.o"), r" t \w*5twice")

    def test_without_exceptions(self):
        self.image(SMALL_HEAD + """
namespace { struct number { int n; }; }
VIRTINE(next, (number n) -> number) { return {n.n + 1}; }
VIRTINE(after, (int n) -> int) { return n == 0 ? 0 : next(number{n}).n + after(n - 1); }
int host() { return after.try_call(1) ? 0 : 1; }
#ifdef WRONG
int wrong() { return after(1); }
#endif
""")
        for compiler in COMPILERS:
            options = ("-fno-exceptions", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "-o", "app.o")
            self.assertEqual(self.host(compiler, *options).stdout, "")
            said = self.host(compiler, *options, "-DWRONG")
            errors = [line for line in said.stdout.splitlines() if ": error: " in line]
            self.assertEqual(len(errors), 1, said.stdout)
            self.assertIn("use try_call", errors[0])

    def test_a_const_result_is_its_value(self):
        self.image(HEAD + "struct pair { int a, b; };\n"
                   "VIRTINE(number, (int n) -> const int) { return n; }\n"
                   "VIRTINE(twice, (int n) noexcept -> const pair) { return {n, n}; }\n"
                   "int main() { int n = number(1); pair p = twice(n); return p.a; }\n")
        for compiler in COMPILERS:
            self.assertEqual(self.host(compiler, "-fsyntax-only").stdout, "")

    def test_a_name_that_something_else_has(self):
        text = HEAD + "VIRTINE(div, (int a, int b) -> int) { return a / b; }\n"
        text += "int main() { std::cout << div(6, 3); }\n"
        self.write("app.cpp", text)
        done = self.run_cc("app.cpp", "-o", "guests/app.hpp")
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.refused(text, "app.cpp:6: VIRTINE(div, ...) takes a name that ", "stdlib.h:",
                     "give the function another name")
        self.refused("int sum;\n" + HEAD + "VIRTINE(sum, (int a) -> int) { return a; }\n",
                     "app.cpp:7: VIRTINE(sum, ...) takes a name that app.cpp:1 declares")

    def test_wrong_forms_are_one_message(self):
        square = "VIRTINE(square, (int n) -> int) { return n * n; }\n"
        for text, says in (
                (square + square, "takes a name that app.cpp:3 declares; give the function another"),
                (square + square.replace("int", "long"), "takes a name that app.cpp:3 declares"),
                ("static int f(int n) { return n; }\nVIRTINE_AS(a, &f);\nVIRTINE_AS(a, &f);\n",
                 "takes a name that app.cpp:4 declares"),
                (f"struct s {{ {square} }};\n", "VIRTINE stands in a class"),
                ("struct s { static int f(int); };\n" + square.replace("square", "s::f"),
                 "VIRTINE marks a member of a class"),
                ("template <class T>\n" + square, "VIRTINE marks a template"),
                (square.replace("int n", "auto n"), "VIRTINE marks a template"),
                (square.replace(" -> int", ""), "VIRTINE takes the form VIRTINE(name, "),
                (square.replace("-> int", "-> auto"), "VIRTINE takes the form VIRTINE(name, "),
                (square.replace(" ->", ""), "VIRTINE takes the form VIRTINE(name, "),
                ("VIRTINE(f, int(int n)) { return n; }\n", "VIRTINE takes the form VIRTINE(name, "),
                ("static " + square, "VIRTINE makes the function static and inline; leave out what"),
                ("inline " + square, "VIRTINE makes the function static and inline; leave out what"),
                (square.replace("int)", "int) noexcept"), "VIRTINE takes noexcept within its paren"),
                (square.replace("int n", "int n = 3"), "VIRTINE takes no default arguments"),
                ("int f(int);\ndouble f(double);\nVIRTINE_AS(a, &f);\n", "more than one function"),
                ("struct s { int f(); };\nVIRTINE_AS(a, &s::f);\n", "VIRTINE_AS takes the address")):
            with self.subTest(text):
                self.write("app.cpp", SMALL_HEAD + text)
                done = self.run_cc("app.cpp", "-o", "guests/app.hpp")
                self.assertEqual(done.returncode, 1)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                self.assertIn(says, done.stderr)

    def test_many_empty_lines(self):
        self.image("\n" * 300000 + HEAD + SQUARE + MAIN)

    def test_without_its_image_nothing_is_compiled(self):
        self.write("app.cpp", HEAD.replace("#include <guests/app.hpp>\n", "") + SQUARE)
        self.assertIn("[V117]", self.run_cc("app.cpp", "-o", "guests/app.hpp").stderr)
        for compiler in COMPILERS:
            self.assertIn("[V117]", self.host(compiler, "-fsyntax-only").stdout)

    def test_the_header_is_included_by_a_path_with_dots(self):
        self.write("a/b/app.cpp", HEAD.replace("<guests/app.hpp>", '"../../guests/app.hpp"')
                   + SQUARE)
        self.build("app.cpp", "../../guests/app.hpp", cwd=self.work / "a/b")

    def test_marked_functions_in_several_files(self):
        self.write("more.cpp", HEAD + "VIRTINE(cube, (int x) -> int) { return x * x * x; }\n"
                   "int host() { return cube.try_call(3).value_or(0); }\n")
        text = self.image(HEAD + SQUARE + MAIN, "more.cpp")
        self.assertEqual(text.count("struct virtine::detail::source_image<"), 2)
        for compiler in COMPILERS:
            for source in ("app.cpp", "more.cpp"):
                self.assertEqual(self.host(compiler, "-fsyntax-only", source=source).stdout, "")
        self.write("again/app.cpp", HEAD + "VIRTINE(half, (int x) -> int) { return x / 2; }\n")
        done = self.run_cc("app.cpp", "again/app.cpp", "-o", "guests/app.hpp")
        self.assertIn("one file name", done.stderr)

    def test_no_native_code_but_by_its_loud_name(self):
        self.image(HEAD + SQUARE.replace("return", 'asm("nop"); return') + MAIN)
        native = "-DVIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION"
        for compiler in COMPILERS:
            for level in ("-O0", "-O2"):
                done = self.host(compiler, level, "-c", "-o", "app.o")
                self.assertEqual(done.stdout, "")
                self.assertNotIn("virtine_body_", self.symbols_of("app.o"))
            done = self.host(compiler, "-O0", native, "-c", "-o", "app.o")
            self.assertIn("WITHOUT ISOLATION", done.stdout)
            self.assertIn("virtine_body_", self.symbols_of("app.o"))
            self.host(compiler, native, "-o", "app")
            said = subprocess.run([self.work / "app"], stdout=subprocess.PIPE, check=False)
            self.assertEqual((said.returncode, said.stdout), (0, b"9"))

    def symbols_of(self, name):
        return subprocess.run(["nm", self.work / name], stdout=subprocess.PIPE, encoding="utf-8",
                              check=True).stdout


if __name__ == "__main__":
    unittest.main()
