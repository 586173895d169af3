# SPDX-License-Identifier: GPL-3.0-or-later
# `cpack -G DEB` in the build directory; rpm/rsyncfs.spec is for rpmbuild.
set(CPACK_PACKAGE_NAME rsyncfs)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The rsyncfs authors <rsyncfs@example.org>")
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR DEB)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_HOMEPAGE "")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "mount any stock rsync source as a directory tree")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "rsyncfs mounts a module of an rsync daemon, or a directory of a host that is
reached through ssh, as an ordinary tree. Files are fetched when they are read
and kept in a private store; what is written is safe on the local disk at once
and is sent in the background by rsync's delta transfer. Nothing but rsync is
needed at the other end.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "fuse3")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "openssh-client")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "rsync, autofs")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_CURRENT_SOURCE_DIR}/debian/postinst ${CMAKE_CURRENT_SOURCE_DIR}/debian/prerm ${CMAKE_CURRENT_SOURCE_DIR}/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION TRUE)

# Debian's copyright and changelog, which only its packages have.
find_program(RSYNCFS_GZIP gzip)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/changelog.Debian
"rsyncfs (${PROJECT_VERSION}) unstable; urgency=medium

  * See changelog.gz.

 -- The rsyncfs authors <rsyncfs@example.org>  Thu, 01 Jan 2026 00:00:00 +0000
")
if(RSYNCFS_GZIP)
  execute_process(COMMAND ${RSYNCFS_GZIP} -9nkf ${CMAKE_CURRENT_BINARY_DIR}/changelog.Debian)
  execute_process(COMMAND ${RSYNCFS_GZIP} -9nc ${PROJECT_SOURCE_DIR}/CHANGELOG.md
    OUTPUT_FILE ${CMAKE_CURRENT_BINARY_DIR}/changelog.gz)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/changelog.Debian.gz ${CMAKE_CURRENT_BINARY_DIR}/changelog.gz debian/copyright
    DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
include(CPack)
