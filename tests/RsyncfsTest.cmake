# SPDX-License-Identifier: GPL-3.0-or-later
# One test program: each of its GoogleTest cases is one ctest case.
#   rsyncfs_test(NAME [SERIAL] [OLD_RSYNC] LABELS fast SOURCES a_test.cc DEPENDS rsyncfs_io [TIMEOUT seconds])
# SERIAL: no other test runs meanwhile, for what is measured in time or memory. OLD_RSYNC: some need the older rsync.
include(GoogleTest)

# What nearly every test includes, read once for all of them.
if(RSYNCFS_PRECOMPILE AND NOT TARGET rsyncfs_test_headers)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/tests/nothing.cc CONTENT "")
  add_library(rsyncfs_test_headers OBJECT ${CMAKE_BINARY_DIR}/tests/nothing.cc)
  target_link_libraries(rsyncfs_test_headers PRIVATE GTest::gtest GTest::gmock)
  target_precompile_headers(rsyncfs_test_headers PRIVATE <gmock/gmock.h> <gtest/gtest.h> <chrono> <filesystem> <thread>)
endif()

function(rsyncfs_test name)
  cmake_parse_arguments(T "SERIAL;OLD_RSYNC" "TIMEOUT" "LABELS;SOURCES;DEPENDS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 60)
  endif()
  set(serial FALSE)
  if(T_SERIAL)
    set(serial TRUE)
  endif()
  set(after)
  if(T_OLD_RSYNC)
    set(after FIXTURES_REQUIRED old_rsync)
  endif()
  add_executable(${name} ${T_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${T_DEPENDS} GTest::gtest GTest::gmock GTest::gtest_main)
  if(TARGET rsyncfs_test_headers)
    target_precompile_headers(${name} REUSE_FROM rsyncfs_test_headers)
  endif()
  gtest_discover_tests(${name} TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT ${T_TIMEOUT} RUN_SERIAL ${serial} ${after})
  # A property that is a list does not survive gtest_discover_tests; set it when the tests are known.
  set(labels_file ${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake)
  file(WRITE ${labels_file} "set_tests_properties(\${${name}_TESTS} PROPERTIES LABELS \"${T_LABELS}\")\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${labels_file})
endfunction()
