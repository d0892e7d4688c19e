#!/usr/bin/python3
# Tests what virtine-cc makes of host files with marked functions, and that such a file compiles only
# with the image of itself. Usage: test_single_source.py VIRTINE_CC [unittest arguments]
# SPDX-License-Identifier: MIT

import os
import re
import shutil
import subprocess
import unittest

from test_virtine_cc import INCLUDE, Case

HEAD = """#include <iostream>
#include <map>
#include <string>
#include <virtine/virtine.hpp>
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
        return self.build(*options, name, "guests/app.hpp")

    def refused(self, text, *says):
        self.write("app.cpp", text)
        done = self.run_cc("app.cpp", "-o", "guests/app.hpp")
        self.assertEqual(done.returncode, 1, done.stderr)
        last = done.stderr.rstrip("\n").split("\n")[-1]
        for word in says:
            self.assertIn(word, last)
        self.assertEqual(os.listdir(self.work / "guests"), [])
        return last

    def host(self, compiler, *options, source="app.cpp"):
        return subprocess.run([compiler, "-std=c++20", "-pthread", f"-I{INCLUDE}", f"-I{self.work}",
                               *options, source], cwd=self.work, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", check=False)

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
        self.image(HEAD + SQUARE + MAIN)
        for compiler in COMPILERS:
            self.assertEqual(self.host(compiler, "-fsyntax-only").stdout, "")
        os.utime(self.work / "app.cpp", (1, 1))
        for compiler in COMPILERS:
            self.assertIn("[V118]", self.host(compiler, "-fsyntax-only").stdout)
        shutil.copy(self.work / "app.cpp", self.work / "other.cpp")
        for compiler in COMPILERS:
            self.assertIn("[V117]", self.host(compiler, "-fsyntax-only", source="other.cpp").stdout)

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
        self.assertEqual(len(re.findall(r"source_image<0x", text)), 2)
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
