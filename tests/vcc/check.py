#!/usr/bin/python3
# Checks vcc: programs that must do the same natively and in virtual machines, what it refuses, how it
# stands in for a compiler, and what calls that fail do.
# SPDX-License-Identifier: MIT
"""check.py ROOT LIBRARY compile|run: where vcc is; libvirtine_c; what to check."""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT, RUNTIME = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).parent
HERE = pathlib.Path(__file__).resolve().parent
VCC = str(ROOT / "guests" / "vcc")
HEADERS = f"-I{ROOT / 'guests' / 'c'}"
NATIVE = "-DVIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION"
PROGRAMS = {"docs": [], "scalars": [], "structs": [], "arrays": [], "language": [], "process": [], "grants": [],
            "rare": [], "several": ["several_1.c", "several_2.c"], "apart": ["apart_1.c", "apart_2.c", "apart_3.c"]}
failures = []


def run(words, cwd=None, compiler=None, **more):
    environment = {**os.environ, "VCC_RUNTIME": str(RUNTIME), "LC_ALL": "C"}
    if compiler:
        environment["VCC_CC"] = compiler
    return subprocess.run(list(map(str, words)), cwd=cwd, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False, **more)


def expect(is_so, what, done=None):
    if not is_so:
        failures.append(what + (f"\n{done.stdout[:1500]}{done.stderr[:1500]}" if done else ""))


def in_parallel(work, items):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, items))


def refusals(folder):
    """Programs that must not compile, with the message that says why."""
    text = re.sub(r"(?m)^#(?! *include).*\n", "", (HERE / "misuse.txt").read_text())
    cases = re.findall(r"(?ms)^== ([^\n]*)\n(.*?)^> ([^\n]*)\n", text)
    expect(len(cases) >= 40, "misuse.txt has lost its cases")

    def check(case):
        name, program, message = case
        source = folder / (re.sub(r"\W+", "_", name) + ".c")
        source.write_text("#include <virtine.h>\n" + program)
        done = run([VCC, "-Werror", "-Wno-error", "-Wno-unused-value", "-c", source, "-o", source.with_suffix(".o")])
        is_refused = done.returncode != 0 and not source.with_suffix(".o").exists()
        if "warning: virtine:" in done.stderr and "error: virtine:" not in done.stderr:
            is_refused = True  # It says so, and -Werror makes it an error.
        expect(is_refused and message in done.stderr, f"misuse: {name}: expected: {message}", done)
        expect("Traceback" not in done.stderr, f"misuse: {name}: vcc broke down", done)
    in_parallel(check, cases)


def stands_in(folder):
    """Does what the compiler beneath does."""
    plain = folder / "plain.c"
    plain.write_text('#include <stdio.h>\nint main(void) { puts("hi"); return 0; }\n')
    marked = folder / "marked.c"
    marked.write_text('#include <virtine.h>\n#include "own.h"\n\nvirtine int square(int x) { int unused; return x * x; }\n'
                      '\nint main(void) { int other; return square(OWN) - 9; }\n')
    (folder / "own.h").write_text("#define OWN 3\n")
    for compiler in ("gcc", "clang"):
        if not shutil.which(compiler):
            continue
        for options in (["-O0"], ["-O2", "-g"], ["-O1", "-fPIC", "-Wall"]):
            run([compiler, *options, "-c", plain, "-o", folder / "a.o"])
            done = run([VCC, *options, "-c", plain, "-o", folder / "b.o"], compiler=compiler)
            expect(done.returncode == 0 and (folder / "a.o").read_bytes() == (folder / "b.o").read_bytes(),
                   f"{compiler} {options}: an unmarked file gives another object", done)
        # Warnings are the compiler's, once, and of the user's lines.
        done = run([VCC, "-Wall", "-Wextra", "-c", "marked.c"], folder, compiler)
        native = run([compiler, "-Wall", "-Wextra", NATIVE, HEADERS, "-c", "marked.c"], folder)
        expect(done.returncode == 0 and done.stderr == native.stderr, f"{compiler}: other warnings", done)
        done = run([VCC, "-Wall", "-Werror", "-c", "marked.c"], folder, compiler)
        expect(done.returncode != 0, f"{compiler}: -Werror is ignored", done)
        # The same object from the same sources, and dependencies with it.
        for name in ("one", "two"):
            done = run([VCC, "-g", "-O2", "-MMD", "-c", "marked.c", "-o", f"{name}.o"], folder, compiler)
            expect(done.returncode == 0, f"{compiler}: -MMD", done)
        expect((folder / "one.o").read_bytes() == (folder / "two.o").read_bytes(),
               f"{compiler}: an object is not the same when it is made again")
        rules = (folder / "one.d").read_text()
        expect("one.o:" in rules and "own.h" in rules and "marked.c" in rules, f"{compiler}: rules: {rules}")
        for words in (["-S", "marked.c"], ["-E", "marked.c"], ["-M", "marked.c"], ["-fsyntax-only", "marked.c"],
                      ["-c", "-flto", "marked.c", "-o", "lto.o"], ["-c", "-std=c89", "-c", "marked.c"],
                      ["-c", "-std=c17", "-pedantic", "marked.c"], ["-c", "-fsanitize=address,undefined", "marked.c"],
                      ["-shared", "-fPIC", "marked.c", "-o", "libmarked.so"], ["@words"]):
            (folder / "words").write_text("-c -O2 'marked.c' -o from_words.o\n")
            done = run([VCC, *words], folder, compiler)
            expect(done.returncode == 0, f"{compiler}: vcc {' '.join(words)}", done)
        expect((folder / "from_words.o").exists(), "@file is not read")
        # Lines of the host's half are the user's.
        done = run(["nm", "-l", "one.o"], folder)
        expect(re.search(r"square\s.*marked\.c:4", done.stdout) is not None, f"{compiler}: lines", done)
    # No other compiler makes anything of it.
    done = run(["gcc", HEADERS, "-c", "marked.c"], folder)
    expect(done.returncode != 0 and "compile it with vcc" in done.stderr, "the file compiles natively", done)
    # Objects of vcc link by cc, too; and vcc links what it did not compile.
    done = run(["gcc", "one.o", f"-L{RUNTIME}", "-lvirtine_c", "-o", "by_cc"], folder)
    expect(done.returncode == 0, "cc does not link vcc's objects", done)
    done = run([VCC, "one.o", "-o", "by_vcc"], folder)
    expect(done.returncode == 0, "vcc does not link its objects", done)
    done = run([VCC, "-m32", "-c", "marked.c"], folder)
    expect(done.returncode != 0, "-m32 is not refused", done)
    (folder / "cc").symlink_to(VCC)
    done = run(["env", f"PATH={folder}:{os.environ['PATH']}", "cc", "-c", "plain.c", "marked.c"], folder)
    expect(done.returncode == 0, "vcc is not what cc is a link to", done)
    done = run([VCC, "-c", "marked.c"], folder, VCC)
    expect(done.returncode != 0 and "which is vcc itself" in done.stderr, "vcc beneath vcc", done)
    run([VCC, "-E", "marked.c", "-o", "marked.i"], folder)
    done = run([VCC, "-c", "marked.i"], folder)
    expect(done.returncode != 0 and "give vcc the source" in done.stderr, "a preprocessed file", done)
    done = run([VCC, "-c", "nowhere.c"], folder)
    expect(done.returncode != 0 and "Traceback" not in done.stderr, "a missing file", done)


def apart(folder):
    """What marked functions call is in files that are compiled one by one."""
    texts = {
        "caller": "#include <virtine.h>\nint helper(int);\nvirtine int f(int n) { return helper(n); }\n",
        "main": "int f(int);\nint main(void) { return f(1); }\n",
        "helper": "int other(int);\nint helper(int n) { return other(n) + 1; }\n",
        "other": "int other(int n) { return n; }\n",
        "counts": "static int calls;\nint other(int n) { return n + ++calls; }\n",
        "private": "#include <virtine.h>\nvirtine_private int calls;\nint other(int n) { return n + ++calls; }\n"
                   "virtine int g(void) { return 1; }\n",
    }
    for name, text in texts.items():
        (folder / f"{name}.c").write_text(text)
        done = run([VCC, "-ffunction-sections", "-c", f"{name}.c"], folder)
        expect(done.returncode == 0, f"apart: {name}.c", done)
    (folder / "own.c").write_text("int index(const char *s, int c) { return (int)s[0] + c; }\n")
    (folder / "libc.c").write_text("#include <virtine.h>\nint index(const char *, int);\n"
                                   "virtine int f(int n) { return index(\"a\", n) == 0; }\n")
    for words, is_told in ((["libc.c", "own.c"], False), (["own.o", "libc.o"], True)):
        for source in ("libc.c", "own.c"):
            run([VCC, "-fno-builtin", "-c", source], folder)
        done = run([VCC, "-fno-builtin", "main.c", *words, "-o", "linked"], folder)
        expect(done.returncode == 0 and is_told == ("index() is the C library's" in done.stderr),
               f"apart: own function, {words}", done)
    (folder / "new").mkdir()
    run(["ar", "rcs", "new/libhelp.a", "helper.o", "other.o"], folder)
    run(["ar", "rcsT", "thin.a", "caller.o", "helper.o", "other.o"], folder)
    run(["ar", "rcs", "unused.a", "caller.o"], folder)
    done = run([VCC, "-r", "caller.o", "helper.o", "-o", "some.o"], folder)
    expect(done.returncode == 0, "apart: -r", done)
    for words in (["main.o", "caller.o", "helper.o", "other.o"], ["main.o", "caller.o", "-Lnew", "-lhelp"],
                  ["main.o", "thin.a"], ["main.o", "some.o", "other.o"], ["main.c", "caller.c", "new/libhelp.a"],
                  ["main.o", "caller.o", "helper.o", "private.o"], ["-shared", "-fPIC", "caller.o", "new/libhelp.a"],
                  ["main.o", "-Df=f", "-fvirtine-sources=helper.c,other.c", "caller.o"],
                  ["-DF", "main.c", "unused.a", "-include", "unused.h"]):
        (folder / "unused.h").write_text("static int f(int n) { return n - 1; }\n")
        done = run([VCC, *words, "-o", "linked"], folder)
        expect(done.returncode == 0, f"apart: vcc {' '.join(words)}", done)
    for words, message in (
            (["main.o", "caller.o", "helper.o"], "caller.c: these functions or variables are used but not defined: "
             "other (by f -> helper). A marked function takes with it what it calls: give the file"),
            (["main.o", "unused.a"], "used but not defined: helper (by f)"),
            (["main.o", "caller.o", "helper.o", "counts.o"], "'calls' is a variable that outlives calls, and other() "
             "in counts.o can use it")):
        done = run([VCC, *words, "-o", "wrong"], folder)
        expect(done.returncode != 0 and message in done.stderr, f"apart: expected: {message}", done)
    done = run(["gcc", "main.o", "caller.o", "helper.o", "other.o", f"-L{RUNTIME}", "-lvirtine_c"], folder)
    expect("undefined reference to `virtine_link_with_vcc_" in done.stderr, "apart: cc links it", done)
    done = run([VCC, "-flto", "-c", "caller.c"], folder)
    expect(done.returncode != 0 and "used but not defined: helper (by f)" in done.stderr, "apart: -flto", done)


def has_kvm():
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def programs(folder):
    """Builds the programs of the suite both ways, and those that fail; returns the paths."""
    sources = {name: [HERE / "programs" / each for each in files or [f"{name}.c"]]
               for name, files in PROGRAMS.items()}
    link = ["-lm", "-pthread"]
    built = []

    def build(item):
        name, compiler, options = item
        out = folder / f"{name}-{compiler}{''.join(options)}"
        # Emulated hosts that others use, too, take their time.
        words = [VCC, "-std=gnu11", "-w", "-fvirtine-timeout=60s", *options]
        made = sources[name]
        if name == "apart":
            made = [folder / f"{source.stem}-{compiler}.o" for source in made]
            for source, each in zip(sources[name], made):
                run([*words, "-c", source, "-o", each], compiler=compiler)
        done = run([*words, *made, "-o", out, *link], compiler=compiler)
        expect(done.returncode == 0, f"{name} does not compile by vcc, {compiler} {options}", done)
        if done.returncode == 0:
            built.append((name, out))

    def native(name):
        done = run(["gcc", "-std=gnu11", "-w", NATIVE, HEADERS, *sources[name], "-o", folder / name, *link])
        expect(done.returncode == 0, f"{name} does not compile natively", done)

    in_parallel(native, sources)
    in_parallel(build, [(name, *how) for name in sources
                        for how in (("gcc", ["-O2", "-g"]), ("clang", ["-O0"])) if shutil.which(how[0])])
    done = run([VCC, "-w", "-g", "-O1", HERE / "failures.c", "-o", folder / "failures"])
    expect(done.returncode == 0, "failures.c does not compile", done)
    return built


def run_all(folder):
    built = programs(folder)
    if failures:
        return 1
    commands = [path for _, path in built] + [folder / "failures"]
    if has_kvm():
        said = {path.name: run([path], timeout=120).stdout for path in commands}
    else:
        host = ROOT / "tests" / "hosts" / "run"
        words = [word for path in commands for word in ("++", path)][1:]
        done = run([host, "svm", "--timeout", "400", "--", *words])
        if done.returncode in (77, 125):
            print(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no emulated host")
            return 77
        said = dict(re.findall(r"(?ms)^== (\S+)\n(.*?)^== \1: exit status \d+$", done.stdout))
        expect(set(said) == {path.name for path in commands}, "not all programs ran", done)
    for name, path in built:
        wanted = run([folder / name]).stdout
        expect(said.get(path.name) == wanted, f"{path.name}: expected\n{wanted}and got\n{said.get(path.name)}")
    expect("all failed as they should" in said.get("failures", ""), f"failures: {said.get('failures')}")
    return 0


def main():
    done = subprocess.run(["/usr/bin/python3", "-c", "import clang.cindex as c; c.Index.create()"],
                          stderr=subprocess.DEVNULL, check=False)
    if done.returncode:
        print("skipped: there is no libclang for Python (python3-clang-14)")
        return 77
    status = 0
    with tempfile.TemporaryDirectory(prefix="vcc-check-") as name:
        folder = pathlib.Path(name)
        if sys.argv[3] == "compile":
            refusals(folder)
            stands_in(folder)
            apart(folder)
        else:
            status = run_all(folder)
    for each in failures:
        print("FAILED:", each)
    return 1 if failures else status


sys.exit(main())
