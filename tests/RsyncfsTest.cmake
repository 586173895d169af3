# SPDX-License-Identifier: GPL-3.0-or-later
# One test program: each of its GoogleTest cases is one ctest case.
#   rsyncfs_test(NAME LABELS fast SOURCES a_test.cc DEPENDS rsyncfs_io [TIMEOUT seconds])
include(GoogleTest)
function(rsyncfs_test name)
  cmake_parse_arguments(T "SERIAL" "TIMEOUT" "LABELS;SOURCES;DEPENDS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 60)
  endif()
  add_executable(${name} ${T_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${T_DEPENDS} GTest::gtest GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${name} TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST
    PROPERTIES LABELS "${T_LABELS}" TIMEOUT ${T_TIMEOUT})
endfunction()
