#!/usr/bin/python3
# Tests that virtine-cc says in words what a guest cannot have and how it comes to ask for it, and
# with --explain how it comes to have the rest. Usage: test_unavailable.py VIRTINE_CC [...]
# SPDX-License-Identifier: MIT

import collections
import re
import subprocess
import sys
import unittest

from test_virtine_cc import GUESTS, INCLUDE, Case

sys.path.insert(0, str(GUESTS))
from virtine_cc.suppliers import RUNTIME  # pylint: disable=wrong-import-position
from virtine_cc.unavailable import THINGS  # pylint: disable=wrong-import-position

# What each row of the table says of a function with this body: headers, body, the words.
ASKING = {
    "a thread": [
        ("thread", "std::thread t([] {}); t.join();", "a thread"),
        ("future", "return std::async([] { return 1; }).get();", "a thread"),
        ("pthread.h", "pthread_t t; return pthread_create(&t, nullptr, nullptr, nullptr);",
         "a thread"),
    ],
    "a condition variable": [
        ("mutex condition_variable", "std::mutex m; std::unique_lock l(m); "
         "std::condition_variable c; c.wait(l);", "a condition variable"),
    ],
    "std::{0}": [
        ("iostream", "std::cout << x;", "std::cout"),
        ("iostream", "std::cin >> x;", "std::cin"),
        ("iostream", "std::cerr << x;", "std::cerr"),
        ("iostream", "std::wclog << x;", "std::wclog"),
    ],
    "a file stream of C++": [
        ("fstream", 'std::ifstream f("x"); f >> x;', "a file stream"),
        ("fstream", 'std::ofstream f("x"); f << x;', "a file stream"),
    ],
    "a socket": [
        ("sys/socket.h", "return socket(AF_INET, SOCK_STREAM, 0);", "a socket"),
        ("netdb.h", "return getaddrinfo(nullptr, nullptr, nullptr, nullptr);", "a socket"),
    ],
    "another process": [
        ("unistd.h", "return fork();", "another process"),
        ("unistd.h", 'return execl("x", "x", nullptr);', "another process"),
        ("cstdlib", 'return system("x");', "another process"),
    ],
    "a shared library": [
        ("dlfcn.h", 'return dlopen("x", RTLD_NOW) != nullptr;', "a shared library"),
    ],
    "{0}(), which only glibc has": [
        ("execinfo.h", "void* at[4]; return backtrace(at, 4);", "backtrace(), which only glibc has"),
        ("error.h", 'error(1, 0, "x");', "error(), which only glibc has"),
        ("argp.h", "return argp_parse(nullptr, 0, nullptr, 0, nullptr, nullptr);", "argp_parse(), "),
    ],
    "signals": [
        ("csignal", "std::signal(SIGINT, SIG_DFL);", "signals"),
        ("csignal", "return std::raise(SIGINT);", "signals"),
    ],
}
# What is near to that, and can be had.
HAVING = [
    ("future", "return std::async(std::launch::deferred, [] { return 1; }).get();"),
    ("mutex", "static std::mutex m; std::lock_guard l(m);"),
    ("iostream sstream", "std::ostringstream s; s << x; return static_cast<int>(s.str().size());"),
    ("cstdio", 'std::printf("%d", x); std::FILE* f = std::fopen("x", "r"); return f != nullptr;'),
    ("cstdlib", "if (x == 77) std::abort();"),
    # Headers that only glibc has, for the host's half of a file.
    ("execinfo.h error.h argp.h printf.h gnu/libc-version.h sys/cdefs.h fts.h obstack.h mcheck.h "
     "sys/queue.h", "static argp_option none{}; return none.key + static_cast<int>(sizeof(printf_info));"),
]


def source(headers, body):
    return ("#include <virtine/guest.hpp>\n"
            + "".join(f"#include <{header}>\n" for header in headers.split())
            + "namespace deep {\n[[gnu::noinline]] int ask(int x) { " + body + " return x; }\n}\n"
            "static int host(int x) { return deep::ask(x); }\n"
            "static int exported(int x) { return x ? deep::ask(x) : 0; }\n"
            "int main() { return host(1); }\n"
            "VIRTINE_EXPORT(exported);\n")


class Unavailable(Case):
    def test_what_a_guest_cannot_have(self):
        self.assertEqual(sorted(ASKING), sorted(thing.what for thing in THINGS))
        # Each run says all of it, but each thing once.
        rounds = []
        for thing in THINGS:
            said = collections.Counter()
            for headers, body, words in ASKING[thing.what]:
                number = said[words]
                said[words] += 1
                if number == len(rounds):
                    rounds.append([])
                rounds[number].append((headers, body, words, thing.instead))
        for asked in rounds:
            headers = sorted({name for each in asked for name in each[0].split()})
            text = "#include <virtine/guest.hpp>\n" + "".join(f"#include <{name}>\n" for name in headers)
            for number, (_, body, _, _) in enumerate(asked):
                text += (f"namespace deep {{\n[[gnu::noinline]] int ask{number}(int x) {{ {body} return x; }}"
                         f"\n}}\nstatic int exported{number}(int x) {{ return x ? deep::ask{number}(x) : 0; }}"
                         f"\nVIRTINE_EXPORT(exported{number});\n")
            self.write("a.cpp", text)
            said = self.fails("a.cpp", says="a guest cannot have ", files=["a.cpp"])
            for number, (_, body, words, instead) in enumerate(asked):
                with self.subTest(body=body):
                    self.assertRegex(
                        said, f"virtine-cc: error: a guest cannot have {re.escape(words)}[^:\\n]*: exported"
                        f"{number} -> deep::ask{number}\\(int\\) -> [^\\n]*; {re.escape(instead)}")

    def test_what_it_can_have(self):
        for headers, body in HAVING:
            with self.subTest(body=body):
                self.write("a.cpp", source(headers, body))
                self.build("a.cpp", "a.hpp")

    def test_all_that_it_cannot_have_is_said_in_one_run(self):
        self.write("a.cpp", source("thread iostream cstdlib sys/socket.h",
                                   'std::thread t([] {}); t.join(); std::cout << system("x") '
                                   "<< std::system(nullptr); return socket(1, 2, 3);"))
        said = self.fails("a.cpp", says="a guest cannot have ").splitlines()
        self.assertEqual(len(said), 4, said)
        for line, words in zip(sorted(said), ("a socket", "a thread", "another process", "std::cout")):
            self.assertTrue(line.startswith(f"virtine-cc: error: a guest cannot have {words}: exported "
                                            "-> deep::ask(int) -> "), line)
        self.assertIn("; a function socket of your own takes its place", sorted(said)[0])

    # What a library names: of each thing that fails, or ends the call.
    LIBRARY = """#include <csignal>
        #include <cstdlib>
        #include <fstream>
        #include <iostream>
        #include <mutex>
        #include <condition_variable>
        #include <thread>
        #include <dlfcn.h>
        #include <netdb.h>
        #include <sys/socket.h>
        #include <unistd.h>
        int library(int x) {
          std::thread t([] {});
          t.join();
          std::mutex m;
          std::unique_lock l(m);
          std::condition_variable c;
          c.wait(l);
          std::cout << std::ifstream("x").rdbuf();
          std::signal(SIGINT, SIG_DFL);
          return std::raise(x) + fork() + socket(1, 2, 3) + (dlopen("x", 1) != nullptr)
                 + std::system("x");
        }"""

    def test_what_libraries_name_is_no_error(self):
        self.write("lib.cc", self.LIBRARY)
        subprocess.run(["g++", "-std=c++20", "-c", "lib.cc"], cwd=self.work, check=True)
        subprocess.run(["ar", "rcs", "lib.a", "lib.o"], cwd=self.work, check=True)
        self.write("a.cpp", "#include <iostream>\n#include <virtine/guest.hpp>\nint library(int);\n"
                   "static int f(int x) { return library(x); }\nVIRTINE_EXPORT(f);\n")
        done = self.run_cc("a.cpp", "lib.o", "--explain", "-o", "a.hpp")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lacking = done.stdout.partition("\nguests do not have, so that a call of it fails:\n")[2]
        for name in ("fork", "pthread_cond_wait (ends the call)", "raise (ends the call)",
                     "signal", "socket", "pthread_create", "system"):
            self.assertRegex(lacking, rf"(?m)^    {re.escape(name)}: .* -> ")
        # The same in a source of one's own, or an object with exports, is an error; beside a library too.
        self.fails("a.cpp", "lib.cc", says="a guest cannot have ")
        both = self.LIBRARY + "\n#include <virtine/guest.hpp>\nVIRTINE_EXPORT(library);\n"
        self.write("both.cpp", both)
        self.assertEqual(self.run_cc("-c", "both.cpp", "-o", "both.o").returncode, 0)
        self.fails("both.o", says="a guest cannot have ")
        self.write("a.cpp", "#include <virtine/guest.hpp>\n#include <unistd.h>\nint library(int);\n"
                   "static int f(int x) { return library(x) + fork(); }\nVIRTINE_EXPORT(f);\n")
        said = self.fails("a.cpp", "lib.a", says="a guest cannot have another process: f -> fork")
        self.assertEqual(said.count("\n"), 1)

    def test_a_library_has_its_own_functions_of_such_names(self):
        self.write("own.c", "int fork(void) { return 3; }\nint raise(int x) { return x; }\n"
                   "int other(void) { return 5; }\n")
        self.write("lib.c", "int fork(void), raise(int), socket(int, int, int), other(void);\n"
                   "int library(int x) { return socket(1, 2, 3) + fork() + raise(x) + other(); }\n")
        for name in ("own", "lib"):
            subprocess.run(["gcc", "-fno-builtin", "-c", f"{name}.c"], cwd=self.work, check=True)
        subprocess.run(["ar", "rcs", "lib.a", "lib.o", "own.o"], cwd=self.work, check=True)
        self.write("a.cpp", '#include <virtine/guest.hpp>\nextern "C" int library(int);\n'
                   "static int f(int x) { return library(x); }\nVIRTINE_EXPORT(f);\n")
        done = self.run_cc("a.cpp", "lib.a", "--explain", "-o", "a.hpp")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m) fork[^,]*, lib.a\(own.o\): f")
        lacking = done.stdout.partition("\nguests do not have")[2]
        self.assertIn(" socket: ", lacking)
        self.assertNotIn("fork", lacking)

    def test_each_name_is_defined_once(self):
        # The runtime has what its table says, and all functions of C that are errors.
        done = subprocess.run(["clang", "-std=c++20", "-w", "-c", f"-I{INCLUDE}", "-o", "u.o",
                               GUESTS / "runtime" / "unavailable.cpp"], cwd=self.work, check=False)
        self.assertEqual(done.returncode, 0)
        said = subprocess.run(["nm", "--defined-only", "-g", "u.o"], cwd=self.work, check=True,
                              stdout=subprocess.PIPE, encoding="utf-8").stdout
        names = [line.split()[-1] for line in said.splitlines()]
        for name in names:
            self.assertRegex(name, rf"\A(?:{RUNTIME['unavailable.cpp']})\Z")
        for headers, body, _ in sum(ASKING.values(), []):
            for name in re.findall(r"\b(?:pthread_\w+|socket|getaddrinfo|fork|execl|system)\b(?=\()", body):
                self.assertIn(name, names)

    def test_own_functions_of_such_names(self):
        self.write("b.c", "int connect(int x) { return x; }\nint pause(int x) { return x; }\n")
        body = 'extern "C" int connect(int), pause(int);'
        self.write("a.cpp", source("cstdlib", "return connect(x) + pause(x);").replace(
            "namespace", body + "\nnamespace", 1))
        self.build("a.cpp", "b.c", "a.hpp")
        subprocess.run(["clang", "-c", "b.c"], cwd=self.work, check=True)
        subprocess.run(["ar", "rcs", "libb.a", "b.o"], cwd=self.work, check=True)
        self.build("a.cpp", "libb.a", "a.hpp")
        said = self.fails("a.cpp", says="a guest cannot have signals")
        self.assertIn("error: a guest cannot have a socket: ", said)

    def test_only_what_is_reached_counts(self):
        text = source("cstdlib", 'return system("x");')
        self.write("a.cpp", text.replace("x ? deep::ask(x) : 0", "x"))
        self.build("a.cpp", "a.hpp")

    def test_undefined_functions(self):
        self.write("a.cpp", source("cstdlib", "extern int nowhere(int); return nowhere(x);"))
        self.fails("a.cpp", says=["deep::nowhere(int) (by exported -> deep::ask(int))"])


class Explain(Case):
    def test_sizes_and_ways(self):
        self.write("a.cpp", source("algorithm vector cstdio",
                                   "std::vector<int> v{3, x}; std::sort(v.begin(), v.end()); "
                                   'char b[9]; return std::snprintf(b, sizeof b, "%d", v[0]);'))
        done = self.run_cc("--explain", "a.cpp", "-o", "a.hpp")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        said = done.stdout
        total = int(re.match(r"guests::a: (\d+) bytes\n", said)[1])
        parts = [int(size) for size in re.findall(r"(?m)^ +(\d+)  [a-z' +]+$", said)]
        self.assertEqual(sum(parts), total)
        self.assertRegex(said, r"(?m)^ +[0-9]+  your files$")
        self.assertRegex(said, r"(?m)^ +[0-9]+  libc$")
        self.assertRegex(said, r"(?m)^ +[0-9]+  deep::ask\(int\), a.cpp: exported$")
        self.assertRegex(said, r"(?m)^ +[0-9]+  vfprintf, libc.a\(vfprintf.lo\): "
                         r"exported -> deep::ask\(int\) -> snprintf -> vsnprintf$")
        self.assertRegex(said, r"(?m)^ +[0-9]+  void std::__introsort_loop<\.\.\.>, a.cpp: ")
        self.assertNotIn("host(int)", said)

    def test_texts_of_the_host_do_not_count(self):
        text = source("cstdio", 'static const char* const said[] = {"of the guest", "it, too"}; '
                                "return said[x & 1][0];")
        self.write("a.cpp", text + f'void other() {{ std::puts("{"x" * 5000}"); }}\n')
        done = self.run_cc("--explain", "a.cpp", "-o", "a.hpp")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^ +21  \.rodata\.str1\.1, a\.cpp: exported")
        parts = re.findall(r"(?m)^ +(-?\d+)  ", done.stdout)
        self.assertTrue(all(0 <= int(size) < 5000 for size in parts), done.stdout)


if __name__ == "__main__":
    unittest.main()
