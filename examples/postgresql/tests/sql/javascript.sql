-- Functions in JavaScript.
\set VERBOSITY terse
CREATE FUNCTION js_add(a int, b int) RETURNS int LANGUAGE virtine_js AS 'return a + b';
CREATE FUNCTION js_first(int) RETURNS text LANGUAGE virtine_js AS 'return "<" + $1 + ">"';
CREATE FUNCTION js_kinds(t text, f float8, b bool, a int[], j json, r record) RETURNS jsonb
  LANGUAGE virtine_js AS 'return [t, f, b, a, j, r]';
SELECT js_add(1, 2), js_add(NULL, 2), js_first(7);
SELECT js_kinds('ä"\', 1.5, true, ARRAY[1, 2], '{"k": [null]}', ROW(1, 'x'));
SELECT js_kinds(NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TYPE pair AS (word text, size int);
CREATE FUNCTION js_pair(word text) RETURNS pair LANGUAGE virtine_js
  AS 'return {word: word, size: word.length}';
CREATE FUNCTION js_pairs(line text) RETURNS SETOF pair LANGUAGE virtine_js
  AS $$ return line.split(' ').map(function (w) { return {word: w, size: w.length} }) $$;
CREATE FUNCTION js_table(n int) RETURNS TABLE (i int, square float8) LANGUAGE virtine_js
  AS $$ var out = []; for (var i = 1; i <= n; ++i) out.push({i: i, square: i * i}); return out $$;
CREATE FUNCTION js_range(n int) RETURNS SETOF int LANGUAGE virtine_js
  AS 'var out = []; while (n > 0) out.push(n--); return out';
CREATE FUNCTION js_out(x int, OUT twice int, OUT name text) LANGUAGE virtine_js
  AS 'return {twice: 2 * x, name: "n" + x}';
CREATE FUNCTION js_array() RETURNS int[] LANGUAGE virtine_js AS 'return [1, null, 3]';
CREATE FUNCTION js_void() RETURNS void LANGUAGE virtine_js AS 'return 3';
CREATE FUNCTION js_null() RETURNS int LANGUAGE virtine_js AS '';
SELECT js_pair('three'), (js_pair(NULL)).size;
SELECT js_pair('three');
SELECT * FROM js_pairs('a bc def');
SELECT * FROM js_table(3);
SELECT js_range(3);
SELECT * FROM js_out(4);
SELECT js_array(), js_void(), js_null() IS NULL;
CREATE FUNCTION js_length(t text) RETURNS int LANGUAGE virtine_js AS 'return t.length';
SELECT js_length(repeat('ä', 20000));
SELECT js_length(repeat('x', 2000000));

CREATE FUNCTION js_long(n int) RETURNS text LANGUAGE virtine_js
  AS 'return new Array(n + 1).join("x")';
SELECT length(js_long(10)), length(js_long(100000));
SELECT js_long(1000000);

-- Errors are told with their line; what cannot be compiled is refused.
CREATE FUNCTION js_throws() RETURNS int LANGUAGE virtine_js AS $$
  var x = 1;
  throw new TypeError('as told');
$$;
\set VERBOSITY default
SELECT js_throws();
\set VERBOSITY terse
CREATE FUNCTION js_bad() RETURNS int LANGUAGE virtine_js AS 'return (';
CREATE FUNCTION js_bad("no name" int) RETURNS int LANGUAGE virtine_js AS 'return 1';
CREATE FUNCTION js_no_int() RETURNS int LANGUAGE virtine_js AS 'return "x"';
CREATE FUNCTION js_no_set() RETURNS SETOF int LANGUAGE virtine_js AS 'return 1';
SELECT js_no_int();
SELECT js_no_set();
CREATE FUNCTION js_log(x int) RETURNS int LANGUAGE virtine_js AS 'log("x is " + x); return x';
SELECT js_log(5);

-- What a call leaves is gone, unless calls share a machine.
CREATE FUNCTION js_count(int) RETURNS int LANGUAGE virtine_js
  AS 'var g = (0, eval)("this"); return g.n = (g.n || 0) + 1';
SELECT array_agg(js_count(i)) FROM generate_series(1, 4) i;
SET virtine.isolation = query;
SELECT array_agg(js_count(i)) FROM generate_series(1, 4) i;
SELECT length(js_long(i * 5000)) FROM generate_series(1, 3) i;
SELECT js_throws();
RESET virtine.isolation;
DO $$ BEGIN
  FOR i IN 1..3 LOOP
    BEGIN PERFORM js_throws(); EXCEPTION WHEN OTHERS THEN RAISE NOTICE '%', SQLERRM; END;
  END LOOP;
END $$;

-- Sets of a domain of rows, and of a type that is altered while the query runs.
CREATE TYPE js_row AS (a text, b int);
CREATE DOMAIN js_row_domain AS js_row CHECK ((VALUE).b > 0);
CREATE FUNCTION js_rows(int) RETURNS SETOF js_row_domain LANGUAGE virtine_js
  AS 'return [{a: "one", b: 1}, {a: "two", b: $1}]';
SELECT * FROM js_rows(2);
SELECT js_rows(2);
SELECT js_rows(0);
CREATE TYPE js_altered AS (a text);
CREATE FUNCTION js_altered_rows(int) RETURNS SETOF js_altered LANGUAGE virtine_js
  AS 'return [{a: $1}]';
CREATE FUNCTION alter_js(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  ALTER TYPE js_altered ALTER ATTRIBUTE a TYPE int;
  RETURN $1;
END $$;
SELECT r.* FROM generate_series(70000000, 70000001) i, js_altered_rows(alter_js(i)) r;
SELECT * FROM js_altered_rows(1);
