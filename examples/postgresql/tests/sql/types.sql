-- Values of each type, to guests and back.
\set VERBOSITY terse
CREATE TYPE point2 AS (x int, y float8, flag bool);
CREATE FUNCTION total(int2, int4, int8) RETURNS int8 LANGUAGE virtine STRICT AS 'shop.sample total';
CREATE FUNCTION mean(float4, float8) RETURNS float8 LANGUAGE virtine STRICT AS 'shop.sample mean';
CREATE FUNCTION negated(bool) RETURNS bool LANGUAGE virtine STRICT AS 'shop.sample negated';
CREATE FUNCTION words(text) RETURNS int LANGUAGE virtine STRICT AS 'shop.sample words';
CREATE FUNCTION reversed(bytea) RETURNS bytea LANGUAGE virtine STRICT AS 'shop.sample reversed';
CREATE FUNCTION repeated(text, int) RETURNS text LANGUAGE virtine STRICT AS 'shop.sample repeated';
CREATE FUNCTION sum_of(float8[]) RETURNS float8 LANGUAGE virtine STRICT AS 'shop.sample sum';
CREATE FUNCTION sorted(int[]) RETURNS int[] LANGUAGE virtine STRICT AS 'shop.sample sorted';
CREATE FUNCTION powers(float8) RETURNS float8[] LANGUAGE virtine STRICT AS 'shop.sample powers';
CREATE FUNCTION squares(int) RETURNS SETOF int8 LANGUAGE virtine STRICT AS 'shop.sample squares';
CREATE FUNCTION moved(point2, int) RETURNS point2 LANGUAGE virtine STRICT AS 'shop.sample moved';
CREATE FUNCTION line(int) RETURNS SETOF point2 LANGUAGE virtine STRICT AS 'shop.sample line';
CREATE FUNCTION line_table(n int) RETURNS TABLE (a int, b float8, c bool) LANGUAGE virtine STRICT
  AS 'shop.sample line';
CREATE TYPE named AS (number int, name text);
CREATE FUNCTION described(named, OUT number int, OUT half float8, OUT name text)
  LANGUAGE virtine STRICT AS 'shop.sample described';
CREATE FUNCTION either(int, int) RETURNS int LANGUAGE virtine AS 'shop.sample first_or_second';
CREATE FUNCTION nothing() RETURNS void LANGUAGE virtine STRICT AS 'shop.sample nothing';
CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0);
CREATE FUNCTION even_ratio(int, int) RETURNS even LANGUAGE virtine STRICT AS 'shop.sample divide';

SELECT total(-1::int2, 2, 1::int8 << 40), total(32767::int2, -2147483648, -9223372030000000000);
SELECT mean(1, 2), mean('NaN', 1), mean('Infinity', 1);
SELECT negated(true), negated(NULL);
SELECT words('three words here'), words(''), words(repeat('ab ', 10000));
SELECT words(repeat('ab ', 100000));
SELECT reversed('\x000102ff'), reversed('');
SELECT repeated('ab', 3), repeated('', 3), length(repeated('äb', 5000));
SELECT sum_of(ARRAY[1, 2.5, 3]), sum_of('{}'), sum_of(ARRAY[[1, 2], [3, 4]]);
SELECT sum_of(ARRAY[1, NULL]);
SELECT sum_of(array_agg(i)) FROM generate_series(1, 1000) i;
SELECT sorted(ARRAY[3, 1, 2]), sorted('{}');
SELECT powers(2);
SELECT squares(4);
SELECT count(*), sum(squares) FROM squares(1000);
SELECT moved((1, 2.5, true), 10), (moved((1, 2.5, true), 10)).y;
SELECT moved((1, NULL, true), 10);
SELECT * FROM line(3);
SELECT a, c FROM line_table(2);
SELECT line(2);
SELECT * FROM described((6, 'ann')), described((NULL, NULL)) AS nobody;
SELECT either(1, 2), either(NULL, 2), either(NULL, NULL);
SELECT nothing();
SELECT even_ratio(8, 2);
SELECT even_ratio(6, 2);

-- What a guest may return and SQL cannot have.
CREATE FUNCTION too_large() RETURNS int LANGUAGE virtine STRICT AS 'shop.sample too_large';
CREATE FUNCTION no_text() RETURNS text LANGUAGE virtine STRICT AS 'shop.sample no_text';
CREATE FUNCTION no_text_bytes() RETURNS bytea LANGUAGE virtine STRICT AS 'shop.sample no_text';
CREATE FUNCTION liar() RETURNS text LANGUAGE virtine STRICT AS 'shop.sample liar';
SELECT too_large();
SELECT no_text();
SELECT no_text_bytes();
SELECT liar();
CREATE FUNCTION divide(int, int) RETURNS int LANGUAGE virtine STRICT AS 'shop.sample divide';
SELECT divide(7, 2);

-- A guest's struct is never taken for a list of the server's.
CREATE FUNCTION maybe_a_point() RETURNS point2 LANGUAGE virtine STRICT AS 'shop.sample maybe_a_point';
CREATE FUNCTION x_of(point2) RETURNS int LANGUAGE virtine STRICT AS 'shop.sample x_of';

CREATE FUNCTION add_up(int8, int4) RETURNS int8 LANGUAGE sql AS 'SELECT total(0::int2, $2, $1)';
CREATE AGGREGATE added(int4) (SFUNC = add_up, STYPE = int8, INITCOND = '0');
SELECT added(i) FROM generate_series(1, 100) i;
SELECT added(i) OVER (ORDER BY i) FROM generate_series(1, 3) i;

-- Domains hold for what is written, for the rows of sets, and for the columns of structs.
CREATE DOMAIN odd AS int8 CHECK (VALUE % 2 = 1);
CREATE DOMAIN short AS text CHECK (length(VALUE) < 5);
CREATE DOMAIN small AS int CHECK (VALUE < 2);
CREATE DOMAIN origin AS point2 CHECK ((VALUE).x = 0);
CREATE TYPE small_point AS (x small, y float8, flag bool);
CREATE FUNCTION odd_squares(int) RETURNS SETOF odd LANGUAGE virtine STRICT
  AS 'shop.sample squares';
CREATE FUNCTION short_repeated(text, int) RETURNS short LANGUAGE virtine STRICT
  AS 'shop.sample repeated';
CREATE FUNCTION small_line(int) RETURNS SETOF small_point LANGUAGE virtine STRICT
  AS 'shop.sample line';
CREATE FUNCTION small_moved(small_point, int) RETURNS small_point LANGUAGE virtine STRICT
  AS 'shop.sample moved';
CREATE FUNCTION origin_line(int) RETURNS SETOF origin LANGUAGE virtine STRICT
  AS 'shop.sample line';
SELECT odd_squares(2);
SELECT short_repeated('ab', 2);
SELECT short_repeated('ab', 3);
SELECT * FROM small_line(2);
SELECT * FROM small_line(3);
SELECT small_moved((1, 1, true), 1);
SELECT * FROM origin_line(1);
SELECT * FROM origin_line(2);

-- A type that is altered: what was of the old one is not taken for what is of the new one.
CREATE TYPE altered AS (x int, y float8, flag bool);
CREATE FUNCTION altered_line(int) RETURNS SETOF altered LANGUAGE virtine STRICT
  AS 'shop.sample line';
CREATE FUNCTION altered_moved(altered, int) RETURNS altered LANGUAGE virtine STRICT
  AS 'shop.sample moved';
CREATE FUNCTION alter_it(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  ALTER TYPE altered ALTER ATTRIBUTE x TYPE int;
  RETURN $1;
END $$;
SELECT altered_moved((1, 2, true), 1), altered_line(1);
ALTER TYPE altered ALTER ATTRIBUTE x TYPE text;
SELECT * FROM altered_line(2);
SELECT altered_moved(('one', 2, true), 1);
SELECT line.* FROM generate_series(1, 2) i, altered_line(alter_it(i)) line;
ALTER TYPE altered ALTER ATTRIBUTE x TYPE int;
SELECT * FROM altered_line(2);
