# SPDX-License-Identifier: GPL-3.0-or-later
# The target rsyncfs_libfuse: the installed library, or one that is built here from RSYNCFS_LIBFUSE_SOURCE.
set(RSYNCFS_LIBFUSE_SOURCE "" CACHE PATH "libfuse's sources, 3.17 or later, to build and link instead of the installed library")
set(RSYNCFS_FUSE_RINGS OFF)
add_library(rsyncfs_libfuse INTERFACE)
if(NOT RSYNCFS_LIBFUSE_SOURCE)
  pkg_check_modules(FUSE3 REQUIRED IMPORTED_TARGET fuse3>=3.14)
  target_link_libraries(rsyncfs_libfuse INTERFACE PkgConfig::FUSE3)
  return()
endif()

file(STRINGS ${RSYNCFS_LIBFUSE_SOURCE}/meson.build version_line REGEX "^ *version: *'" LIMIT_COUNT 1)
string(REGEX REPLACE ".*'([^']*)'.*" "\\1" version "${version_line}")
if(version VERSION_LESS 3.17)
  message(FATAL_ERROR "${RSYNCFS_LIBFUSE_SOURCE}: libfuse ${version}; 3.17 or later is needed")
endif()
# The queues of 3.18 break when a request is answered from another thread than the one that brought it.
if(version VERSION_GREATER_EQUAL 3.19)
  set(RSYNCFS_FUSE_RINGS ON)
endif()
message(STATUS "libfuse ${version} from ${RSYNCFS_LIBFUSE_SOURCE}, FUSE over io_uring: ${RSYNCFS_FUSE_RINGS}")

find_program(RSYNCFS_MESON meson REQUIRED)
find_program(RSYNCFS_NINJA ninja REQUIRED)
set(RSYNCFS_LIBFUSE_BUILD ${CMAKE_BINARY_DIR}/libfuse)
set(rings)
if(version VERSION_GREATER_EQUAL 3.18)
  set(rings -Denable-io-uring=$<IF:$<BOOL:${RSYNCFS_FUSE_RINGS}>,true,false>)
endif()
include(ExternalProject)
# The prefix is where its users' fusermount3 is.
ExternalProject_Add(libfuse_build
  SOURCE_DIR ${RSYNCFS_LIBFUSE_SOURCE}
  BINARY_DIR ${RSYNCFS_LIBFUSE_BUILD}
  CONFIGURE_COMMAND ${RSYNCFS_MESON} setup --prefix=/usr --buildtype=release -Ddefault_library=static -Dutils=false
                    -Dexamples=false -Dtests=false -Duseroot=false ${rings} <BINARY_DIR> <SOURCE_DIR>
  BUILD_COMMAND ${RSYNCFS_NINJA} -C <BINARY_DIR>
  BUILD_BYPRODUCTS ${RSYNCFS_LIBFUSE_BUILD}/lib/libfuse3.a
  INSTALL_COMMAND "")
add_dependencies(rsyncfs_libfuse libfuse_build)
target_include_directories(rsyncfs_libfuse SYSTEM INTERFACE ${RSYNCFS_LIBFUSE_SOURCE}/include ${RSYNCFS_LIBFUSE_BUILD})
target_link_libraries(rsyncfs_libfuse INTERFACE ${RSYNCFS_LIBFUSE_BUILD}/lib/libfuse3.a Threads::Threads ${CMAKE_DL_LIBS})
if(RSYNCFS_FUSE_RINGS)
  target_link_libraries(rsyncfs_libfuse INTERFACE PkgConfig::LIBURING)
endif()
