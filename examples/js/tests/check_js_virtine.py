#!/usr/bin/env python3
# Runs js-virtine as a user does and checks what it prints and how it ends.
# Must not know how scripts are evaluated.
# SPDX-License-Identifier: MIT
"""usage: check_js_virtine.py PROGRAM SQUARES.js WORKLOAD.js"""

import base64
import json
import pathlib
import subprocess
import sys
import tempfile
import time

SKIPPED = 77


class Checker:
    def __init__(self, program, directory):
        self.program = program
        self.script = pathlib.Path(directory) / "script.js"

    def run(self, *arguments, stdin=""):
        done = subprocess.run([self.program, *arguments], input=stdin, encoding="utf-8",
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                              check=False)
        if done.returncode == SKIPPED:
            print(done.stderr, end="")
            sys.exit(SKIPPED)
        return done

    def evaluate(self, text, *options, stdin=""):
        self.script.write_text(text)
        return self.run(*options, str(self.script), stdin=stdin)

    def expect(self, text, *options, stdin="", out="", err="", status=0):
        done = self.evaluate(text, *options, stdin=stdin)
        found = (done.stdout, done.stderr, done.returncode)
        assert found == (out, err, status), f"{text}: {found}"


def check_scripts(js):
    js.expect("input.reduce(function (a, b) { return a + b })", stdin="[1, 2, 3]", out="6\n")
    js.expect("input", out="null\n")
    js.expect("get('who') + get('x') + get('missing')", "--set", "who=me=you", "--set", "x=",
              out='"me=youundefined"\n')
    js.expect("log('a\\u001b[31m\\n\\u009b1m\\u00a0'); 1", out="1\n", err="a?[31m??1m\u00a0\n")
    js.expect("throw '\\u001b[31m\\u009b1m\\u00e4\\n'", err="?[31m?1m\u00e4?\n", status=1)
    js.expect("\nthrow new Error('x')", err="Error: x (line 2)\n", status=1)
    js.expect("1;\n[1,", err="SyntaxError: parse error (line 2, end of input)\n", status=1)
    no_json = js.evaluate("input", stdin="{")
    assert no_json.returncode == 1 and no_json.stderr.startswith("SyntaxError: "), no_json
    js.expect("get('x').length", "--set", "x=" + "y" * 4000, out="4000\n")
    js.expect("for (;;) {}", "--timeout", "50", status=2,
              err="timed_out: the script took longer than --timeout allows\n")
    js.expect("new Array(300000).join('x')", status=2,
              err="the result is longer than 262144 bytes\n")
    large = json.dumps(["x" * 500] * 400, separators=(",", ":"))
    js.expect("input", stdin=large, out=large + "\n")
    too_large = js.evaluate("1", stdin='"' + "x" * (1 << 20) + '"')
    assert too_large.returncode == 2 and too_large.stderr.startswith("arguments_too_large")


def check_squares(js, squares):
    done = js.run("--set", "colour=blue", squares, stdin="[1, 2, 3]")
    assert (done.stdout, done.stderr) == ("[1,4,9]\n", "the colour is blue\n"), done


def check_workload(js, workload):
    text = bytes(range(32, 127)) * 5
    done = js.run(workload, stdin=json.dumps(text.decode()))
    assert json.loads(done.stdout) == base64.b64encode(text).decode(), done


def check_conversation(js):
    lines = ["var a = 20", "a * 2 + 2", "oops", "a", "for (;;) {}", "typeof a", "log('x')"]
    done = js.run("--timeout", "100", "--repl", stdin="\n".join(lines) + "\n")
    assert done.returncode == 0, done
    assert done.stdout == '> null\n> 42\n> > 20\n> > "undefined"\n> null\n> ', done.stdout
    assert done.stderr.splitlines() == [
        "ReferenceError: identifier 'oops' undefined (line 1)",
        "timed_out: the script took longer than --timeout allows", "x"], done.stderr


def check_clock(js):
    """A conversation's clock goes on between lines."""
    with subprocess.Popen([js.program, "--repl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          encoding="utf-8") as repl:
        repl.stdin.write("Date.now()\n")
        repl.stdin.flush()
        first = repl.stdout.readline()
        time.sleep(0.01)
        second = repl.communicate("Date.now()\n", timeout=60)[0]
    assert int(first.strip("> \n")) < int(second.strip("> \n")), (first, second)


def check_usage(js):
    for wrong in ([], ["--no-such-option", "x.js"], ["--timeout", "soon", "x.js"],
                  ["--set", "x", "x.js"], ["x.js", "y.js"], ["--repl", "x.js"], ["--timeout"],
                  ["--set", "x=" + "y" * 4001, "x.js"]):
        done = js.run(*wrong)
        assert done.returncode == 2 and done.stderr.startswith("usage:"), (wrong, done)
    done = js.run("/no/such/file.js")
    assert done.returncode == 2 and done.stderr == "/no/such/file.js cannot be read\n", done
    done = js.run("/")
    assert done.returncode == 2 and done.stderr == "/ cannot be read\n", done
    with open("/dev/zero", "rb") as endless:
        js.script.write_text("1")
        done = subprocess.run([js.program, str(js.script)], stdin=endless, timeout=60, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert done.returncode == 2 and done.stderr.startswith(b"arguments_too_large"), done
    with open("/dev/full", "wb") as full:
        js.script.write_text("1")
        done = subprocess.run([js.program, str(js.script)], stdin=subprocess.DEVNULL, stdout=full,
                              stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 2 and b"cannot be written" in done.stderr, done


def main(program, squares, workload):
    with tempfile.TemporaryDirectory() as directory:
        js = Checker(program, directory)
        check_scripts(js)
        check_squares(js, squares)
        check_workload(js, workload)
        check_conversation(js)
        check_clock(js)
        check_usage(js)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
