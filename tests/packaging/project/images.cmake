# What docs/guide.md says of CMake.
# SPDX-License-Identifier: MIT
function(virtine_image target source)  # more arguments are virtine-cc's
  cmake_path(GET source STEM name)
  set(header ${CMAKE_CURRENT_BINARY_DIR}/${name}.guest.hpp)
  add_custom_command(
    OUTPUT ${header}
    COMMAND ${VIRTINE_CC} ${ARGN} ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${header} --depfile ${header}.d
    DEPENDS ${source} DEPFILE ${header}.d VERBATIM)
  target_sources(${target} PRIVATE ${header})
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
endfunction()

virtine_image(app app.cpp)
