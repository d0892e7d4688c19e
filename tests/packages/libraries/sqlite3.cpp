// SQL in memory: tables, a join, a recursive query.
// SPDX-License-Identifier: MIT
#include <string>

#include <sqlite3.h>

#include "library.hpp"

namespace {

constexpr const char* tables =
    "create table who(id integer primary key, name text); create table owns(id int, what text);"
    "insert into who values(1, 'ann'), (2, 'bo');"
    "insert into owns values(1, 'cat'), (2, 'dog'), (1, 'fish');";
constexpr const char* joined =
    "select name || ':' || group_concat(what) || ' ' from who join owns using(id) group by name;";
constexpr const char* recursive =
    "with recursive fib(a, b) as (select 0, 1 union all select b, a + b from fib limit 20)"
    "select max(a) from fib;";

int append(void* to, int, char** values, char**) {
  *static_cast<std::string*>(to) += *values;
  return 0;
}

}  // namespace

LIBRARY(sqlite3) {
  sqlite3* db = nullptr;
  std::string got;
  EXPECT(sqlite3_open(":memory:", &db) == SQLITE_OK);
  EXPECT(sqlite3_exec(db, tables, nullptr, nullptr, nullptr) == SQLITE_OK);
  EXPECT(sqlite3_exec(db, joined, append, &got, nullptr) == SQLITE_OK);
  EXPECT(sqlite3_exec(db, recursive, append, &got, nullptr) == SQLITE_OK);
  EXPECT(got == "ann:cat,fish bo:dog 4181");
  return sqlite3_close(db);
}
