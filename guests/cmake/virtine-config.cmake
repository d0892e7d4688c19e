# find_package(virtine): the target virtine::virtine and the function virtine_add_image.
# SPDX-License-Identifier: MIT
include(CMakeFindDependencyMacro)
find_dependency(Threads)

# This file is in PREFIX/share/cmake/virtine.
cmake_path(SET virtine_prefix NORMALIZE "${CMAKE_CURRENT_LIST_DIR}/../../..")
set(VIRTINE_CC "${virtine_prefix}/bin/virtine-cc")
# The name that virtine.pc has for it. Meson asks whichever of the two files it finds.
set(virtine_cc "${VIRTINE_CC}")

if(NOT TARGET virtine::virtine)
  add_library(virtine::virtine INTERFACE IMPORTED)
  target_include_directories(virtine::virtine INTERFACE "${virtine_prefix}/include")
  target_compile_features(virtine::virtine INTERFACE cxx_std_20)
  target_link_libraries(virtine::virtine INTERFACE Threads::Threads)
endif()

# virtine_add_image(TARGET SOURCE... [OUTPUT HEADER] [OPTIONS OPTION...] [WITHOUT_TARGET])
#
# Makes an image of sources, before TARGET is compiled. TARGET finds it as HEADER, whose default is
# FOLDER/NAME.guest.hpp for a source FOLDER/NAME.cpp. OPTIONS are virtine-cc's. The sources see the
# include directories and definitions of TARGET, unless WITHOUT_TARGET says that they do not.
function(virtine_add_image target)
  cmake_parse_arguments(PARSE_ARGV 1 image "WITHOUT_TARGET" "OUTPUT" "OPTIONS")
  if(NOT image_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "virtine_add_image(${target}) names no source")
  endif()
  set(sources "")
  foreach(source IN LISTS image_UNPARSED_ARGUMENTS)
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
    list(APPEND sources "${source}")
  endforeach()
  if(NOT image_OUTPUT)
    list(GET image_UNPARSED_ARGUMENTS 0 image_OUTPUT)
    if(IS_ABSOLUTE "${image_OUTPUT}")
      cmake_path(GET image_OUTPUT FILENAME image_OUTPUT)
    endif()
    cmake_path(REPLACE_EXTENSION image_OUTPUT LAST_ONLY ".guest.hpp")
  endif()
  set(header "${CMAKE_CURRENT_BINARY_DIR}/${image_OUTPUT}")
  cmake_path(GET header PARENT_PATH folder)
  file(MAKE_DIRECTORY "${folder}")
  set(directories "")
  set(definitions "")
  if(NOT image_WITHOUT_TARGET)
    set(directories "$<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>")
    set(directories "$<$<BOOL:${directories}>:-I$<JOIN:${directories},;-I>>")
    set(definitions "$<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>")
    set(definitions "$<$<BOOL:${definitions}>:-D$<JOIN:${definitions},;-D>>")
  endif()
  add_custom_command(
    OUTPUT "${header}"
    COMMAND "${VIRTINE_CC}" "${directories}" "${definitions}" ${image_OPTIONS} ${sources} -o "${header}" --depfile "${header}.d"
    DEPENDS ${sources}
    DEPFILE "${header}.d"
    COMMAND_EXPAND_LISTS
    VERBATIM)
  target_sources("${target}" PRIVATE "${header}")
  target_include_directories("${target}" PRIVATE "${CMAKE_CURRENT_BINARY_DIR}")
endfunction()
