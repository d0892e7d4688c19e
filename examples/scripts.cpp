// Somebody else's SQL and Lua: SQLite and Lua themselves run in virtual machines, within limits. A
// script reaches its own memory and the clock; that its result is true, nobody says but the script.
// Run: build/examples/scripts
// SPDX-License-Identifier: MIT
#include <chrono>
#include <iostream>
#include <string>
#include <string_view>

#include <sqlite3.h>
#include <lua5.4/lua.hpp>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "scripts.guest.hpp"  // virtine-cc makes it of this file, libsqlite3.a and liblua5.4.a

using namespace std::chrono_literals;
using text = virtine::bytes<4000>;

VIRTINE(run_sql, (std::string_view script) -> text) {
  sqlite3* database = nullptr;
  std::string rows;
  const auto add = [](void* to, int count, char** values, char**) {
    for (int i = 0; i < count; ++i) {
      *static_cast<std::string*>(to) +=
          std::string(values[i] != nullptr ? values[i] : "NULL") + ' ';
    }
    return 0;
  };
  sqlite3_open(":memory:", &database);
  const int status = sqlite3_exec(database, std::string(script).c_str(), add, &rows, nullptr);
  return text::truncated(status == SQLITE_OK ? rows
                                             : std::string("error: ") + sqlite3_errmsg(database));
}

VIRTINE(run_lua, (std::string_view script) -> text) {
  lua_State* const lua = luaL_newstate();
  luaL_openlibs(lua);
  const int status = luaL_loadbuffer(lua, script.data(), script.size(), "script");
  if (status == LUA_OK) lua_pcall(lua, 0, 1, 0);
  return text::truncated(luaL_tolstring(lua, -1, nullptr));
}

int main() {
  // They may look at the clock, and print to nowhere; all else that they ask for fails.
  const auto policy = virtine::posix::minimal();
  const virtine::virtine_fn sql{run_sql, policy};
  const virtine::virtine_fn lua{run_lua, policy};
  if (const auto first = sql.try_call(""); !first && first.error().code == virtine::errc::no_kvm) {
    std::cerr << to_string(first.error()) << '\n';
    return 77;
  }

  std::cout << sql("create table t(n); insert into t values (1), (2), (3);"
                   "select sum(n), max(n), min(n) filter (where n > 3) from t;")
                   .text()
            << '\n';
  std::cout << lua("local t = {} for w in ('to be'):gmatch('%a+') do t[#t + 1] = w:upper() end "
                   "return table.concat(t, '-')")
                   .text()
            << '\n';

  // No file is within reach.
  std::cout << sql("attach '/etc/passwd' as files;").text() << '\n';
  std::cout << lua("return select(2, io.open('/etc/passwd'))").text() << '\n';
  // Memory is what the image has.
  std::cout << sql("select length(group_concat(hex(zeroblob(1000000)))) from"
                   " (with recursive r(i) as (select 1 union all select i + 1 from r limit 50)"
                   "  select i from r);")
                   .text()
            << '\n';
  std::cout << lua("local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end").text()
            << '\n';
  // Time is what the call may take.
  const auto hurry = virtine::call_options{.timeout = 200ms};
  std::cout << to_string(sql.with(hurry)
                             .try_call("with recursive r(i) as (select 1 union all select i + 1 "
                                       "from r) select count(*) from r;")
                             .error())
            << '\n';
  std::cout << to_string(lua.with(hurry).try_call("while true do end").error()) << '\n';
}

// Output:
// 6 3 NULL
// TO-BE
// error: unable to open database: /etc/passwd
// /etc/passwd: ...
// error: out of memory
// not enough memory
// timed_out: the call was not done at its deadline (call_options::timeout)
// timed_out: the call was not done at its deadline (call_options::timeout)
