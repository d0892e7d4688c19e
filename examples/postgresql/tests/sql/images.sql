-- Images and functions of them: what is accepted, what is refused, and who may do what.
\getenv sample SAMPLE
\set VERBOSITY terse
CREATE EXTENSION virtine;
CREATE SCHEMA shop;
CREATE FUNCTION shop.sample() RETURNS void LANGUAGE virtine_image AS :'sample';
SELECT shop.sample();
CREATE FUNCTION shop.bad() RETURNS void LANGUAGE virtine_image AS 'AAAA';
CREATE FUNCTION shop.bad() RETURNS void LANGUAGE virtine_image AS 'no base64!';
CREATE FUNCTION shop.bad(int) RETURNS void LANGUAGE virtine_image AS :'sample';
CREATE FUNCTION shop.bad() RETURNS int LANGUAGE virtine_image AS :'sample';

CREATE FUNCTION f(int, int) RETURNS bool LANGUAGE virtine STRICT AS 'sample is_cheap';
CREATE FUNCTION f(int, int) RETURNS bool LANGUAGE virtine STRICT AS 'shop.none is_cheap';
CREATE FUNCTION f(int, int) RETURNS bool LANGUAGE virtine STRICT AS 'shop.sample';
CREATE FUNCTION f(int, int) RETURNS bool LANGUAGE virtine STRICT AS 'shop.sample none';
CREATE FUNCTION f(int, int) RETURNS bool LANGUAGE virtine AS 'shop.sample is_cheap';
CREATE FUNCTION f(int) RETURNS bool LANGUAGE virtine STRICT AS 'shop.sample is_cheap';
CREATE FUNCTION f(int, text) RETURNS bool LANGUAGE virtine STRICT AS 'shop.sample is_cheap';
CREATE FUNCTION f(int, int) RETURNS text LANGUAGE virtine STRICT AS 'shop.sample is_cheap';
CREATE FUNCTION f(int, int) RETURNS SETOF bool LANGUAGE virtine STRICT AS 'shop.sample is_cheap';
CREATE FUNCTION f(int, date) RETURNS bool LANGUAGE virtine STRICT AS 'shop.sample is_cheap';
CREATE FUNCTION f() RETURNS trigger LANGUAGE virtine STRICT AS 'shop.sample nothing';
CREATE FUNCTION f(int, int) RETURNS bool LANGUAGE virtine STRICT AS 'shop.sample is_cheap';
SELECT f(1, 3), f(1, 4);

-- The image is there as long as its functions are.
DROP FUNCTION shop.sample();
-- Another image takes effect at once, also while a statement is prepared.
CREATE FUNCTION shop.other() RETURNS void LANGUAGE virtine_image AS :'sample';
CREATE FUNCTION g(int, int) RETURNS int LANGUAGE virtine STRICT AS 'shop.other divide';
PREPARE again AS SELECT g(7, 2);
EXECUTE again;
CREATE OR REPLACE FUNCTION g(int, int) RETURNS int LANGUAGE virtine STRICT
  AS 'shop.sample first_or_second';
EXECUTE again;
-- It needs the first image no longer.
DROP FUNCTION shop.other();
EXECUTE again;

-- Anyone may write functions, of images that they may use.
CREATE ROLE regress_user;
GRANT ALL ON SCHEMA public, shop TO regress_user;
SET ROLE regress_user;
CREATE FUNCTION h(int, int) RETURNS bool LANGUAGE virtine STRICT AS 'shop.sample is_cheap';
SELECT h(1, 3);
CREATE FUNCTION shop.mine() RETURNS void LANGUAGE virtine_image AS :'sample';
CREATE FUNCTION mine_js() RETURNS int LANGUAGE virtine_js AS 'return 1';
SELECT mine_js();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION shop.sample() FROM public;
SET ROLE regress_user;
SELECT h(1, 3);
CREATE FUNCTION i(int, int) RETURNS bool LANGUAGE virtine STRICT AS 'shop.sample is_cheap';
RESET ROLE;
SELECT f(1, 3);
REVOKE USAGE ON LANGUAGE virtine_js FROM public;
SET ROLE regress_user;
CREATE FUNCTION mine_too() RETURNS int LANGUAGE virtine_js AS 'return 1';
RESET ROLE;
GRANT USAGE ON LANGUAGE virtine_js TO public;

-- Limits of memory.
SET virtine.memory = '64kB';
SELECT f(1, 3);
RESET virtine.memory;
SET ROLE regress_user;
SET virtine.max_memory = '1GB';
RESET ROLE;
SELECT f(1, 3);
DROP OWNED BY regress_user;
DROP ROLE regress_user;
