#!/usr/bin/env python3
# What functions of examples/postgresql cost a row, beside the same in C, PL/pgSQL and PL/Perl: on a
# server of its own, in turn, with the time that the server itself measures.
# Must not know how the extension does its part.
# SPDX-License-Identifier: MIT
"""usage: bench/postgresql.py BUILD [--rounds N] [--rows N] [--json FILE]

Builds what it needs in BUILD first. PL/Perl is left out where postgresql-plperl-15 is not installed.
"""

import argparse
import base64
import pathlib
import subprocess
import sys
import time

from measured import Measured, turned

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "examples/postgresql/tests"))
from server import Server  # noqa: E402  pylint: disable=wrong-import-position

PG_CONFIG = "/usr/lib/postgresql/15/bin/pg_config"

FUNCTIONS = r"""
CREATE FUNCTION c_cheap(int, int) RETURNS bool LANGUAGE c STRICT AS '$libdir/native', 'is_cheap';
CREATE FUNCTION c_words(text) RETURNS int LANGUAGE c STRICT AS '$libdir/native', 'words';
CREATE FUNCTION c_added(float8, float8) RETURNS float8 LANGUAGE c STRICT AS '$libdir/native', 'added';

CREATE FUNCTION plpgsql_cheap(a int, b int) RETURNS bool LANGUAGE plpgsql STRICT
  AS 'BEGIN RETURN a * b % 7 = 3; END';
CREATE FUNCTION plpgsql_words(t text) RETURNS int LANGUAGE plpgsql STRICT
  AS $$ BEGIN RETURN array_length(regexp_split_to_array(trim(t), ' +'), 1); END $$;
CREATE FUNCTION plpgsql_added(a float8, b float8) RETURNS float8 LANGUAGE plpgsql STRICT
  AS 'BEGIN RETURN a + b; END';

CREATE FUNCTION virtine_cheap(int, int) RETURNS bool LANGUAGE virtine STRICT AS 'public.sample is_cheap';
CREATE FUNCTION virtine_words(text) RETURNS int LANGUAGE virtine STRICT AS 'public.sample words';
CREATE FUNCTION virtine_added(float8, float8) RETURNS float8 LANGUAGE virtine STRICT
  AS 'public.sample added';
CREATE FUNCTION virtine_sum(float8[]) RETURNS float8 LANGUAGE virtine STRICT AS 'public.sample sum';

CREATE FUNCTION js_cheap(a int, b int) RETURNS bool LANGUAGE virtine_js STRICT
  AS 'return a * b % 7 == 3';
CREATE FUNCTION js_words(t text) RETURNS int LANGUAGE virtine_js STRICT
  AS $$ return t.split(' ').filter(function (w) { return w }).length $$;
CREATE FUNCTION js_added(a float8, b float8) RETURNS float8 LANGUAGE virtine_js STRICT
  AS 'return a + b';

CREATE FUNCTION measured(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE began timestamptz := clock_timestamp();
BEGIN
  EXECUTE query;
  RETURN extract(epoch FROM clock_timestamp() - began) * 1e6;
END $$;
"""
PERL = r"""
CREATE EXTENSION plperl;
CREATE FUNCTION plperl_cheap(int, int) RETURNS bool LANGUAGE plperl STRICT
  AS 'return $_[0] * $_[1] % 7 == 3 ? 1 : 0';
CREATE FUNCTION plperl_words(text) RETURNS int LANGUAGE plperl STRICT
  AS 'my @w = split " ", $_[0]; return scalar @w';
CREATE FUNCTION plperl_added(float8, float8) RETURNS float8 LANGUAGE plperl STRICT
  AS 'return $_[0] + $_[1]';
"""
QUERIES = {
    "predicate": "SELECT count(*) FROM orders WHERE {}_cheap(price, quantity)",
    "words": "SELECT sum({}_words(comment)) FROM orders",
    "sum": "SELECT {}_sum(amount) FROM orders",
}


def variants(languages):
    """Yields a row's name, its query's language and the isolation."""
    for language in languages:
        if language in ("virtine", "js"):
            for isolation in ("row", "query"):
                yield f"{language}.{isolation}", language, isolation
        else:
            yield language, language, "row"


def measure_rows(server, measured, languages, rounds, rows):
    chosen = [(f"pg.{work}.{name}", f"pg.{work}.c", query.format(language), isolation)
              for work, query in QUERIES.items()
              for name, language, isolation in variants(languages)]
    chosen.append(("pg.sum.virtine.array", "pg.sum.c",
                   "SELECT virtine_sum(array_agg(amount)) FROM orders", "row"))
    for round_ in range(rounds):
        turn = turned(chosen, round_)
        statements = []
        for _, _, query, isolation in turn:
            once = f"SELECT measured($q${query}$q$);"
            # The first fills caches.
            statements += [f"SET virtine.isolation = {isolation};", once, once]
        out = server.sql("LOAD 'virtine'; SET max_parallel_workers_per_gather = 0;" +
                         "\n".join(statements)).split()
        for (name, floor, _, _), took in zip(turn, out[1::2]):
            measured.add(name, floor, float(took) / rows)


def measure_first(server, measured, languages, rounds):
    """The first query of a new connection, connecting included."""
    for round_ in range(rounds):
        for language in turned(languages, round_):
            began = time.perf_counter()
            assert server.sql(f"SELECT {language}_cheap(1, 3);") == "t\n"
            measured.add(f"pg.first.{language}", "pg.first.c", (time.perf_counter() - began) * 1e6)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--json")
    given = parser.parse_args()
    folder = given.build / "examples/postgresql"
    names = ["virtine.so", "native.so", "virtine_js.virtine", "sample.virtine"]
    subprocess.run(["ninja", "-C", given.build, *(f"examples/postgresql/{name}" for name in names)],
                   check=True, stdout=subprocess.DEVNULL)
    parts = [folder / name for name in names]
    parts += [ROOT / "examples/postgresql" / name for name in ("virtine.control", "virtine--1.0.sql")]
    image = base64.b64encode((folder / "sample.virtine").read_bytes()).decode()
    languages = ["c", "plpgsql", "virtine", "js"]
    with Server(PG_CONFIG, parts) as server:
        server.sql("CREATE EXTENSION virtine; CREATE FUNCTION sample() RETURNS void "
                   f"LANGUAGE virtine_image AS '{image}';")
        server.sql(FUNCTIONS)
        if (server.share / "extension/plperl.control").exists():
            server.sql(PERL)
            languages.insert(2, "plperl")
        for language in languages:
            server.sql(f"CREATE AGGREGATE {language}_sum(float8) "
                       f"(SFUNC = {language}_added, STYPE = float8, INITCOND = '0');")
        server.sql("CREATE TABLE orders AS SELECT i AS price, i % 13 AS quantity, "
                   "i / 8.0::float8 AS amount, 'some words that a customer wrote, ' || i AS comment "
                   f"FROM generate_series(1, {given.rows}) i; ANALYZE orders;")
        measured = Measured("postgresql")
        measure_rows(server, measured, languages, given.rounds, given.rows)
        measure_first(server, measured, languages, given.rounds)
    print(f"{given.rows} rows in each query; us a row, but for pg.first")
    measured.report(given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
