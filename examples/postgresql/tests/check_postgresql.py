#!/usr/bin/env python3
# Runs the extension's tests on a server of its own: pg_regress, and what that cannot: cancelling,
# crashes, dumps, parallel workers, updates, the end of a server.
# Must not know how the extension does its part.
# SPDX-License-Identifier: MIT
"""usage: check_postgresql.py PG_CONFIG MODULE.so ENGINE.virtine SAMPLE.virtine CONTROL SQL STUCK.virtine TESTS"""

import base64
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

from server import Server, path_of

SKIPPED = 77
FUNCTIONS = """
CREATE SCHEMA shop;
CREATE FUNCTION shop.sample() RETURNS void LANGUAGE virtine_image AS '{image}';
CREATE FUNCTION is_cheap(int, int) RETURNS bool LANGUAGE virtine
  IMMUTABLE STRICT PARALLEL SAFE COST 10000 AS 'shop.sample is_cheap';
CREATE FUNCTION counted(int) RETURNS int LANGUAGE virtine STRICT AS 'shop.sample counted';
CREATE FUNCTION spin() RETURNS int LANGUAGE virtine STRICT AS 'shop.sample spin';
CREATE FUNCTION null_access(int) RETURNS int LANGUAGE virtine STRICT AS 'shop.sample null_access';
CREATE FUNCTION shop.stuck() RETURNS void LANGUAGE virtine_image AS '{stuck}';
CREATE FUNCTION stuck() RETURNS int LANGUAGE virtine STRICT AS 'shop.stuck stuck';
CREATE FUNCTION js_spin() RETURNS int LANGUAGE virtine_js AS 'for (;;);';
CREATE FUNCTION js_double(x int) RETURNS int LANGUAGE virtine_js IMMUTABLE STRICT PARALLEL SAFE
  AS 'return 2 * x';
"""


def check_regress(server, pg_config, tests):
    """As every extension is tested; what differs is printed."""
    runner = (path_of(pg_config, "pkglibdir") /
              "pgxs/src/test/regress/pg_regress")
    work = server.root / "regress"
    shutil.copytree(tests, work)
    shutil.copy(server.sample, work / "sample.virtine")
    subprocess.run(["chmod", "-R", "a+rwX", work], check=True)
    done = subprocess.run(
        [*server.prefix, runner, f"--inputdir={work}", f"--outputdir={work}",
         f"--bindir={server.bin}", f"--host={server.root}", "--user=postgres", "--dbname=regress",
         *sorted(path.stem for path in (pathlib.Path(tests) / "sql").iterdir())],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", cwd=work, check=False,
        env={**server.environment, "SAMPLE": server.sample_base64()})
    difference = work / "regression.diffs"
    keep = os.environ.get("VIRTINE_KEEP_RESULTS")
    if keep:
        shutil.copytree(work / "results", keep, dirs_exist_ok=True)
    assert done.returncode == 0, done.stdout + (
        difference.read_text(encoding="utf-8") if difference.exists() else "")


def ends_soon(server, statement, said, during=None, most=5):
    """Runs a statement whose guest has a deadline of ten seconds: it ends long before."""
    began = time.monotonic()
    failed = []
    waiting = None
    if during is not None:
        def act():
            time.sleep(0.3)
            try:
                during()
            except AssertionError as why:
                failed.append(why)
        waiting = threading.Thread(target=act)
        waiting.start()
    done = server.sql(statement, check=False)
    took = time.monotonic() - began
    if waiting is not None:
        waiting.join()
    assert not failed, failed
    assert said in done, done
    assert took < most, took


def check_cancelling(server):
    # An initialiser is part of what is cancelled.
    for isolation in ("row", "query"):
        ends_soon(server, f"SET virtine.isolation = {isolation}; SET statement_timeout = '200ms'; SELECT stuck();",
                  "canceling statement due to statement timeout")
    for call in ("spin()", "js_spin()"):
        for isolation in ("row", "query"):
            setting = f"SET virtine.isolation = {isolation}; "
            ends_soon(server, f"{setting} SET statement_timeout = '200ms'; SELECT {call};",
                      "canceling statement due to statement timeout")
            ends_soon(server, f"{setting} SELECT {call};",
                      "canceling statement due to user request",
                      lambda: server.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                                         "WHERE query LIKE '%spin()%' AND pid <> pg_backend_pid()"))
    ends_soon(server, "SELECT spin();", "terminating connection due to administrator command",
              lambda: server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                 "WHERE query LIKE '%spin()%' AND pid <> pg_backend_pid()"))
    # The backend goes on after a query that was cancelled.
    again = server.sql("SET statement_timeout = '200ms'; SELECT spin(); SELECT is_cheap(1, 3);",
                       "-v", "ON_ERROR_STOP=0", check=False)
    assert again.endswith("t\n"), again
    # Within a function that catches what can be caught: a cancelled query cannot.
    ends_soon(server, "SET statement_timeout = '200ms'; DO $$ BEGIN PERFORM spin(); "
              "EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'caught'; END $$;",
              "canceling statement due to statement timeout")


def check_timeouts(server):
    said = server.sql("SET virtine.timeout = '50ms'; SELECT spin();", check=False)
    assert "ERROR:  spin: timed_out: " in said, said
    said = server.sql("SET virtine.timeout = '50ms'; SELECT js_spin();", check=False)
    assert "ERROR:  js_spin: timed_out: " in said, said
    server.sql("CREATE ROLE limited LOGIN; GRANT ALL ON SCHEMA public TO limited; "
               "ALTER ROLE limited SET virtine.max_timeout = '50ms';")
    said = server.sql("SET virtine.timeout = '1min'; SELECT spin();", "-U", "limited", check=False)
    assert "timed_out" in said, said
    said = server.sql("SELECT is_cheap(1, 3); SET virtine.max_timeout = '1min';", "-U", "limited",
                      check=False)
    assert "permission denied to set parameter" in said, said
    # The same before the extension is loaded, when PostgreSQL does not know the setting yet.
    said = server.sql("SET virtine.max_timeout = '1min'; SET virtine.timeout = '1min'; "
                      "SELECT spin();", "-U", "limited", check=False)
    assert "WARNING:  permission denied" in said and "timed_out" in said, said


def check_crashes(server):
    """A guest that crashes is an error of its query, and of nothing else."""
    said = server.sql("SELECT null_access(1); SELECT is_cheap(1, 3);", "-v", "ON_ERROR_STOP=0",
                      check=False)
    assert "ERROR:  null_access: guest_fault: null pointer access" in said, said
    assert said.endswith("t\n"), said
    # The backend's descriptors, as its child counts them, before and after.
    caught = server.sql("""
CREATE TEMP TABLE descriptors (count int);
COPY descriptors FROM PROGRAM 'ls /proc/$PPID/fd | wc -l';
DO $$ DECLARE faults int := 0; BEGIN
  FOR i IN 1..100 LOOP
    BEGIN PERFORM null_access(i);
    EXCEPTION WHEN external_routine_exception THEN faults := faults + 1; END;
  END LOOP;
  RAISE NOTICE '% faults', faults;
END $$;
COPY descriptors FROM PROGRAM 'ls /proc/$PPID/fd | wc -l';
SELECT max(count) - min(count) < 20 FROM descriptors;
SELECT is_cheap(1, 3);""")
    assert "100 faults" in caught and caught.endswith("t\nt\n"), caught


def check_isolation(server):
    rows = "SELECT count(DISTINCT counted(i)) FROM generate_series(1, 50) i;"
    assert server.sql(rows) == "1\n"
    assert server.sql("SET virtine.isolation = query;" + rows) == "50\n"
    # Each query begins anew.
    assert server.sql("SET virtine.isolation = query; SELECT counted(1); SELECT counted(1);") == \
        "1\n1\n"
    server.sql("CREATE ROLE by_row LOGIN; ALTER ROLE by_row SET virtine.allow_query_isolation = off;")
    assert server.sql("SET virtine.isolation = query;" + rows, "-U", "by_row") == "1\n"


def check_parallel(server):
    settings = ("SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; "
                "SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; ")
    server.sql("CREATE TABLE many AS SELECT i AS n FROM generate_series(1, 300) i; "
               "ALTER TABLE many SET (parallel_workers = 2); ANALYZE many;")
    for call in ("is_cheap(n, 3)", "js_double(n) % 7 = 3"):
        query = f"SELECT count(*) FROM many WHERE {call};"
        plan = server.sql(settings + "EXPLAIN " + query)
        assert "Workers Planned: 2" in plan, plan
        for isolation in ("row", "query"):
            isolated = f"SET virtine.isolation = {isolation}; " + query
            assert server.sql(settings + isolated) == server.sql(isolated) != "0\n"
    said = server.sql(settings + "SET statement_timeout = '300ms'; "
                      "SET force_parallel_mode = on; ALTER FUNCTION spin() PARALLEL SAFE; "
                      "SELECT count(*) FROM many WHERE spin() = n;", check=False)
    assert "canceling statement due to statement timeout" in said, said


def check_dump(server):
    """What is dumped is restored: images before their functions, and these before tables that call
    them in constraints, columns and indices."""
    server.sql("""
CREATE TABLE priced (
  n int CHECK (NOT is_cheap(n, 4)),
  doubled int GENERATED ALWAYS AS (js_double(n)) STORED);
INSERT INTO priced SELECT i FROM generate_series(1, 50) i WHERE NOT is_cheap(i, 4);
CREATE INDEX ON priced (js_double(n));""")
    before = server.sql("SELECT * FROM priced ORDER BY n;")
    dump = server.root / "dump"
    server.run("pg_dump", "-Fc", "-f", dump)
    server.run("createdb", "restored")
    server.run("pg_restore", "--exit-on-error", "-d", "restored", dump)
    assert server.sql("SELECT * FROM priced ORDER BY n;", database="restored") == before != ""
    said = server.sql("INSERT INTO priced VALUES (6);", database="restored", check=False)
    assert "violates check constraint" in said, said
    said = server.sql("DROP FUNCTION shop.sample();", database="restored", check=False)
    assert "function is_cheap(integer,integer) depends on function shop.sample()" in said, said


def check_update(server):
    """ALTER EXTENSION UPDATE leaves functions as they are."""
    (server.share / "extension" / "virtine--1.0--1.0.test.sql").write_text(
        "CREATE FUNCTION virtine_test() RETURNS int LANGUAGE sql AS 'SELECT 1';\n",
        encoding="utf-8")
    server.sql("ALTER EXTENSION virtine UPDATE TO '1.0.test';")
    assert server.sql("SELECT is_cheap(1, 3), js_double(4), virtine_test();") == "t|8|1\n"
    assert server.sql("SELECT extversion FROM pg_extension WHERE extname = 'virtine';") == \
        "1.0.test\n"


def check_ends(server):
    """A server that stops or crashes while a guest runs comes back."""
    for mode in ("fast", "immediate"):
        ends_soon(server, "SELECT spin();", "connection", lambda mode=mode: server.stop(mode))
        server.start()
        assert server.sql("SELECT is_cheap(1, 3);") == "t\n"


def check_preloaded(server):
    """The postmaster loads the extension, and forks."""
    server.sql("ALTER SYSTEM SET shared_preload_libraries = 'virtine';")
    server.stop()
    server.start()
    assert server.sql("SHOW virtine.isolation; SELECT is_cheap(1, 3), js_double(4);") == \
        "row\nt|8\n"


def base64_of(path):
    return base64.b64encode(pathlib.Path(path).read_bytes()).decode()


class Tested(Server):
    def __init__(self, pg_config, parts):
        super().__init__(pg_config, parts)
        self.sample, self.stuck = (next(part for part in parts if part.endswith(name))
                                   for name in ("sample.virtine", "stuck.virtine"))

    def sample_base64(self):
        return base64_of(self.sample)


def main(pg_config, *rest):
    *parts, tests = rest
    with Tested(pg_config, parts) as server:
        server.sql("CREATE EXTENSION virtine; GRANT ALL ON SCHEMA public TO public;")
        # The validator of JavaScript makes a machine.
        said = server.sql(FUNCTIONS.format(image=server.sample_base64(), stuck=base64_of(server.stuck)), check=False)
        if "no_kvm" in said:
            print("skipped:", said)
            return SKIPPED
        said = server.sql("SELECT is_cheap(1, 3);")
        assert said == "t\n", said
        check_regress(server, pg_config, tests)
        checks = (check_timeouts, check_isolation, check_cancelling, check_crashes, check_parallel,
                  check_dump, check_update, check_ends, check_preloaded)
        for check in checks:
            began = time.monotonic()
            check(server)
            print(f"{check.__name__}: {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
