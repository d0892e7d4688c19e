// Lua with its libraries: coroutines, errors, patterns.
// SPDX-License-Identifier: MIT
#include <string_view>

#include <lua5.4/lua.hpp>

#include "library.hpp"

LIBRARY(lua) {
  lua_State* const lua = luaL_newstate();
  luaL_openlibs(lua);
  EXPECT(luaL_dostring(lua, R"(
      local function upto(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
      local sum = 0; for i in upto(100) do sum = sum + i end
      local ok, why = pcall(error, 'no')
      return string.format('%d %s %s %s', sum, ok, why, ('x'):rep(3):gsub('x', 'y')))") == LUA_OK);
  EXPECT(std::string_view(lua_tostring(lua, -1)) == "5050 false no yyy");
  lua_close(lua);
  return 0;
}
