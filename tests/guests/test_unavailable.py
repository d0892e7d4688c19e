#!/usr/bin/python3
# Tests that virtine-cc says in words what a guest cannot have and how it comes to ask for it, and
# with --explain how it comes to have the rest. Usage: test_unavailable.py VIRTINE_CC [...]
# SPDX-License-Identifier: MIT

import re
import subprocess
import sys
import unittest

from test_virtine_cc import GUESTS, Case

sys.path.insert(0, str(GUESTS))
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
        for thing in THINGS:
            for headers, body, words in ASKING[thing.what]:
                with self.subTest(body=body):
                    self.write("a.cpp", source(headers, body))
                    self.fails("a.cpp", says=[f"a guest cannot have {words}",
                                              ": exported -> deep::ask(int)", " -> ",
                                              thing.instead], files=["a.cpp"])

    def test_what_it_can_have(self):
        for headers, body in HAVING:
            with self.subTest(body=body):
                self.write("a.cpp", source(headers, body))
                self.build("a.cpp", "a.hpp")

    def test_own_functions_of_such_names(self):
        self.write("b.c", "int connect(int x) { return x; }\nint pause(int x) { return x; }\n")
        body = 'extern "C" int connect(int), pause(int);'
        self.write("a.cpp", source("cstdlib", "return connect(x) + pause(x);").replace(
            "namespace", body + "\nnamespace", 1))
        self.build("a.cpp", "b.c", "a.hpp")
        subprocess.run(["clang", "-c", "b.c"], cwd=self.work, check=True)
        subprocess.run(["ar", "rcs", "libb.a", "b.o"], cwd=self.work, check=True)
        self.build("a.cpp", "libb.a", "a.hpp")
        self.fails("a.cpp", says="a guest cannot have a socket")

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
