# SPDX-License-Identifier: GPL-3.0-or-later
# Compiler settings shared by every target, and the two helpers by which boxes are declared.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

find_program(RSYNCFS_CCACHE ccache)
if(RSYNCFS_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${RSYNCFS_CCACHE})
endif()
find_program(RSYNCFS_MOLD mold)
if(RSYNCFS_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
                    -Wcast-qual -Wformat=2 -Werror -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options(-Wthread-safety)
endif()
add_compile_definitions(_FILE_OFFSET_BITS=64 _GNU_SOURCE)
if(RSYNCFS_SANITIZE)
  add_compile_options(-fsanitize=${RSYNCFS_SANITIZE} -fno-sanitize-recover=all)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 loses track of initialisation in instrumented code and warns of std::optional's innards.
    add_compile_options(-Wno-maybe-uninitialized)
  endif()
  add_link_options(-fsanitize=${RSYNCFS_SANITIZE})
endif()

# What most files include, read once for all boxes of this directory and those below, which have the same compiler
# options. Each file still includes what it uses: the other presets need it.
macro(rsyncfs_precompile_box_headers name)
  if(RSYNCFS_PRECOMPILE)
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${name}.cc CONTENT "")
    add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/${name}.cc)
    target_precompile_headers(${name} PRIVATE <algorithm> <chrono> <functional> <map> <memory> <mutex> <optional> <span>
      <string> <string_view> <unordered_map> <utility> <vector>)
    set(RSYNCFS_BOX_HEADERS ${name})
  endif()
endmacro()
rsyncfs_precompile_box_headers(rsyncfs_headers)

# One library per box of ARCHITECTURE.md. A box sees only the boxes that it names here.
#   rsyncfs_box(NAME SOURCES a.cc b.cc DEPENDS other_box system_lib)
function(rsyncfs_box name)
  cmake_parse_arguments(BOX "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${BOX_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${BOX_DEPENDS})
  if(RSYNCFS_BOX_HEADERS)
    target_precompile_headers(${name} REUSE_FROM ${RSYNCFS_BOX_HEADERS})
  endif()
endfunction()
