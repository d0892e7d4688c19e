#!/usr/bin/env python3
# What functions of examples/sqlite cost a row, beside the same in C, in one process and in turn.
# Must not know how the extension does its part.
# SPDX-License-Identifier: MIT
"""usage: /usr/bin/python3 bench/sqlite.py BUILD [--rounds N] [--rows N] [--json FILE]

Builds what it needs in BUILD first. Needs a Python whose sqlite3 loads extensions, as Debian's does.
"""

import argparse
import pathlib
import sqlite3
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from measured import Measured, turned  # noqa: E402  pylint: disable=wrong-import-position

QUERIES = {
    "predicate": "SELECT count(*) FROM orders WHERE {}cheap(price, quantity)",
    "words": "SELECT sum({}words(comment)) FROM orders",
}
# The aggregate of SQLite itself is in C.
AGGREGATES = {"c": "SELECT sum(amount) FROM orders", "virtine": "SELECT v_sum(amount) FROM orders"}
PREFIXES = {"c": "c_", "virtine.row": "v_", "virtine.connection": "vc_", "js.row": "j_",
            "js.connection": "jc_"}


def connect(folder):
    connection = sqlite3.connect(":memory:")
    connection.enable_load_extension(True)
    for name in ("virtine", "native"):
        connection.load_extension(str(folder / name))
    return connection


def define(connection, folder):
    image = str(folder / "sample.virtine")
    for prefix, isolation in (("v_", "row"), ("vc_", "connection")):
        for name, export in (("cheap", "is_cheap"), ("words", "words")):
            connection.execute("SELECT virtine_function(?, ?, ?, ?)",
                               (prefix + name, image, export, isolation)).fetchall()
    connection.execute("SELECT virtine_aggregate('v_sum', ?, 'sum')", (image,)).fetchall()
    for prefix, isolation in (("j_", "row"), ("jc_", "connection")):
        for name, parameters, body in (
                ("cheap", "a,b", "return a * b % 7 == 3"),
                ("words", "t", "return t.split(' ').filter(function (w) { return w }).length")):
            connection.execute("SELECT virtine_js(?, ?, ?, ?)",
                               (prefix + name, parameters, body, isolation)).fetchall()


def timed(connection, query):
    began = time.perf_counter()
    result = connection.execute(query).fetchall()
    return (time.perf_counter() - began) * 1e6, result


def measure_rows(measured, connection, rounds, rows):
    chosen = [(f"sqlite.{work}.{name}", f"sqlite.{work}.c", query.format(prefix))
              for work, query in QUERIES.items() for name, prefix in PREFIXES.items()]
    chosen += [(f"sqlite.sum.{name}", "sqlite.sum.c", query) for name, query in AGGREGATES.items()]
    results = {}
    for round_ in range(rounds):
        for name, floor, query in turned(chosen, round_):
            timed(connection, query)  # Fills caches.
            took, result = timed(connection, query)
            assert results.setdefault(floor, result) == result, (name, result)
            measured.add(name, floor, took / rows)


def measure_first(measured, folder, rounds):
    """A new connection, the definition of a function, and its first call."""
    image = str(folder / "sample.virtine")
    for round_ in range(rounds):
        for name in turned(["c", "virtine", "js"], round_):
            began = time.perf_counter()
            connection = connect(folder)
            if name == "virtine":
                connection.execute("SELECT virtine_function('virtine_cheap', ?, 'is_cheap')",
                                   (image,)).fetchall()
            if name == "js":
                connection.execute("SELECT virtine_js('js_cheap', 'a,b', "
                                   "'return a * b % 7 == 3')").fetchall()
            assert connection.execute(f"SELECT {name}_cheap(1, 3)").fetchall() == [(1,)]
            measured.add(f"sqlite.first.{name}", "sqlite.first.c",
                         (time.perf_counter() - began) * 1e6)
            connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--json")
    given = parser.parse_args()
    names = ["virtine.so", "native.so", "virtine_js.virtine", "sample.virtine"]
    subprocess.run(["ninja", "-C", given.build, *(f"examples/sqlite/{name}" for name in names)],
                   check=True, stdout=subprocess.DEVNULL)
    folder = (given.build / "examples/sqlite").resolve()
    connection = connect(folder)
    define(connection, folder)
    connection.execute("CREATE TABLE orders(price, quantity, amount, comment)")
    connection.execute(
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r LIMIT ?) "
        "INSERT INTO orders SELECT i, i % 13, i / 8.0, 'some words that a customer wrote, ' || i "
        "FROM r", (given.rows,))
    measured = Measured("sqlite")
    measure_rows(measured, connection, given.rounds, given.rows)
    measure_first(measured, folder, given.rounds)
    print(f"{given.rows} rows in each query; us a row, but for sqlite.first")
    measured.report(given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
