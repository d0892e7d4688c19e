#!/usr/bin/env python3
# Runs the extension in the command sqlite3, as a user does.
# Must not know how it does its part.
# SPDX-License-Identifier: MIT
"""usage: check_sqlite.py SQLITE3 EXTENSION.so ENGINE.virtine SAMPLE.virtine"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77


class Shell:
    def __init__(self, program, extension, sample, folder):
        self.program, self.extension, self.sample = program, extension, sample
        self.folder = folder

    def run(self, statements, database=":memory:", functions=()):
        """Returns what the shell prints for statements, errors among it; it goes on after one."""
        # The shell drops the rest of a line that has an error.
        statements = statements.replace(";", ";\n")
        define = "".join(f"SELECT virtine_{kind}({words});\n" for kind, words in functions)
        done = subprocess.run(
            [self.program, "-batch", str(database)], encoding="utf-8", timeout=120, check=False,
            input=f".load {self.extension}\n.mode list\n.nullvalue NULL\n.output /dev/null\n"
                  f"{define}.output stdout\n{statements}\n",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if "no_kvm" in done.stdout:
            print("skipped:", done.stdout)
            sys.exit(SKIPPED)
        return done.stdout

    def image(self, *names, kind="function", isolation=None):
        end = f", '{isolation}'" if isolation else ""
        return [(kind, f"'{name}', '{self.sample}', '{name}'{end}") for name in names]

    def expect(self, statements, *lines, **others):
        found = self.run(statements, **others).splitlines()
        assert len(found) == len(lines) and all(
            line in got for line, got in zip(lines, found)), (statements, found)


def check_functions(shell):
    functions = shell.image("is_cheap", "half", "reversed", "first", "divide", "counted")
    shell.expect("SELECT is_cheap(1, 3), is_cheap(1, 4), half(3), half(1.5), reversed('abc'), "
                 "first(NULL, 2), first(NULL, NULL), divide(7, 2);",
                 "1|0|1.5|0.75|cba|2|NULL|3", functions=functions)
    shell.expect("SELECT sum(is_cheap(value, 3)) FROM generate_series(1, 700);", "100",
                 functions=functions)
    shell.expect("SELECT counted(), counted(), counted();", "1|1|1", functions=functions)
    # An image as bytes.
    shell.expect("SELECT virtine_function('f', readfile('" + shell.sample + "'), 'half'); "
                 "SELECT f(5);", "NULL", "2.5")
    # What a guest is not given is an error, and the next statement goes on.
    shell.expect("SELECT half('x'); SELECT is_cheap(1.5, 2); SELECT first('x', 1); SELECT half(1);",
                 "argument 1 of half",
                 "argument 1 of is_cheap", "argument 1 of first", "0.5", functions=functions)
    assert "wrong number of arguments" in shell.run("SELECT half(1, 2);", functions=functions)


def check_isolation(shell):
    functions = shell.image("counted", "divide", isolation="connection")
    shell.expect("SELECT counted(), counted(); SELECT counted();", "1|2", "3", functions=functions)
    shell.expect("SELECT divide(1, 0); SELECT divide(6, 2);", "guest_fault: divide error", "3",
                 functions=functions)
    shell.expect(f"SELECT virtine_function('f', '{shell.sample}', 'half', 'none');",
                 "the isolation is 'row' or 'connection'")


def check_aggregates(shell):
    functions = shell.image("median", "weighted", kind="aggregate")
    shell.expect("CREATE TABLE t(g, x, w); INSERT INTO t VALUES (1, 5, 1), (1, 1, 1), (1, NULL, 1), "
                 "(1, 3, 2), (2, 8, 3);"
                 "SELECT g, median(x), weighted(x, w) FROM t GROUP BY g ORDER BY g;"
                 "SELECT median(x) FROM t WHERE g = 3;"
                 "SELECT median(value) FROM generate_series(1, 5001);",
                 "1|3.0|3.0", "2|8.0|8.0", "0.0", "2501.0", functions=functions)
    shell.expect("SELECT median(value) FROM generate_series(1, 50000);", "arguments_too_large",
                 functions=functions)
    shell.expect(f"SELECT virtine_aggregate('f', '{shell.sample}', 'half');",
                 "an aggregate's function takes std::span<const double>")


def check_scripts(shell):
    functions = [("js", "'initials', 'name', 'return name.split(\" \").map(function (w) "
                        "{ return w[0] }).join(\"\")'"),
                 ("js", "'plus', 'a, b', 'return a + b'"),
                 ("js", "'kind', 'x', 'return typeof x'"),
                 ("js", "'list', '', 'return [1, \"x\"]'"),
                 ("js", "'throws', '', 'throw new TypeError(\"as told\")'"),
                 ("js", "'counts', '', 'var g = (0, eval)(\"this\"); return g.n = (g.n || 0) + 1', "
                        "'connection'")]
    shell.expect("SELECT initials('ann bo'), plus(1, 2.5), plus('a', NULL), kind(NULL), kind(1), "
                 "list(); SELECT throws(); SELECT counts(), counts(); SELECT kind(x'00');",
                 'ab|3.5|anull|object|number|[1,"x"]', "TypeError: as told", "1|2",
                 "JSON cannot hold BLOB values", functions=functions)
    # What serves scripts is not served by one.
    for name, said in (("json_array", "cannot be in JavaScript"), ("json_extract", "what is no JSON")):
        shell.expect("SELECT plus(1, 2);", said, functions=[
            ("js", f"'{name}', 'a, b', 'return 1'"), ("js", "'plus', 'a, b', 'return a + b'")])
    # An aggregate, by SQLite's own.
    functions = [("js", "'longest', 'all', 'return JSON.parse(all).reduce(function (a, b) "
                        "{ return b.length > a.length ? b : a }, \"\")'")]
    shell.expect("CREATE TABLE t(g, x); INSERT INTO t VALUES (1, 'a'), (1, 'abc'), (2, 'de');"
                 "SELECT g, longest(json_group_array(x)) FROM t GROUP BY g ORDER BY g;"
                 "SELECT longest(json_group_array(x)) FROM t WHERE g = 3;",
                 "1|abc", "2|de", "", functions=functions)


def check_limits(shell):
    functions = shell.image("spin", "half") + [("js", "'loops', '', 'for (;;);'")]
    shell.expect("SELECT virtine_timeout(0); SELECT virtine_timeout(100); SELECT spin(); "
                 "SELECT loops(); SELECT virtine_timeout(10000); SELECT half(3);",
                 "the timeout is from", "NULL", "spin: timed_out", "loops: timed_out", "NULL", "1.5",
                 functions=functions)


def check_images(shell):
    shell.expect("SELECT virtine_function('f', '/no/such/file', 'x');"
                 "SELECT virtine_function('f', x'00', 'x');"
                 f"SELECT virtine_function('f', '{shell.sample}', 'none');",
                 "No such file", "image_refused", "has no function none")


def check_hostile(shell):
    """No database can have the extension do anything by what its schema does."""
    database = shell.folder / "hostile.db"
    calls = {"virtine_function": f"'owned', '{shell.sample}', 'half'",
             "virtine_aggregate": f"'owned', '{shell.sample}', 'sum'",
             "virtine_js": "'owned', '', 'return 1'",
             "virtine_timeout": "1"}
    for name, words in calls.items():
        call = f"{name}({words})"
        made = shell.run(f"CREATE TABLE t(x); CREATE VIEW v AS SELECT {call};"
                         f"CREATE TRIGGER trap AFTER INSERT ON t BEGIN SELECT {call}; END;",
                         database=database)
        assert "unsafe use" not in made, made
        found = shell.run("SELECT * FROM v; INSERT INTO t VALUES (1); SELECT owned(1); "
                          "SELECT count(*) FROM t;", database=database)
        assert found.count(f"unsafe use of {name}()") == 2, found
        assert "no such function: owned" in found, found
        database.unlink()
    # What SQLite would not have let anybody write, a hostile file can have.
    call = f"virtine_function({calls['virtine_function']})"
    for schema, use in (("TABLE c(x CHECK ({}), y)", "INSERT INTO c VALUES (1, 2)"),
                        ("TABLE c(x DEFAULT ({}), y)", "INSERT INTO c(y) VALUES (1)"),
                        ("TABLE c(x, y AS ({}))", "INSERT INTO c VALUES (1); SELECT y FROM c"),
                        ("INDEX i ON c(({}))", "INSERT INTO c VALUES (1, 2)"),
                        ("INDEX i ON c(x) WHERE {}", "INSERT INTO c VALUES (1, 2)")):
        kind = schema.split()[0].lower()
        text = "CREATE " + schema.format(call).replace("'", "''")
        made = shell.run(".dbconfig defensive off\nCREATE TABLE c(x, y); CREATE INDEX i ON c(y);"
                         "PRAGMA writable_schema = on;"
                         f"UPDATE sqlite_schema SET sql = '{text}' WHERE type = '{kind}';",
                         database=database)
        assert "rror" not in made, made
        found = shell.run(f"{use}; SELECT owned(1);", database=database)
        assert "unsafe use of virtine_function()" in found, (schema, found)
        assert "no such function: owned" in found, (schema, found)
        database.unlink()


def main(program, extension, engine, sample):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for part in (extension, engine):
            shutil.copy(part, folder)
        shell = Shell(program, folder / pathlib.Path(extension).name, sample, folder)
        for check in (check_functions, check_isolation, check_aggregates, check_scripts,
                      check_limits, check_images, check_hostile):
            check(shell)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
