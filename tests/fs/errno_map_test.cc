// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/errno_map.h"

#include <cerrno>
#include <map>

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

const std::map<Errc, int> kTable{
    {Errc::kOs, EIO},
    {Errc::kUsage, EINVAL},
    {Errc::kProtocol, EIO},
    {Errc::kCorrupt, EIO},
    {Errc::kAuth, EACCES},
    {Errc::kNotFound, ENOENT},
    {Errc::kNotDirectory, ENOTDIR},
    {Errc::kPermission, EACCES},
    {Errc::kRefused, ECONNREFUSED},
    {Errc::kUnreachable, EHOSTUNREACH},
    {Errc::kTimedOut, ETIMEDOUT},
    {Errc::kDisconnected, EIO},
    {Errc::kChanged, ESTALE},
    {Errc::kVanished, ESTALE},
    {Errc::kLimit, ENOBUFS},
    {Errc::kUnsupported, EOPNOTSUPP},
    {Errc::kCanceled, EINTR},
};

// A new code without a row here is found because its name is known and it is not in the table.
TEST(ErrnoMap, EveryCodeHasItsErrno) {
  for (int value = 0; value < 256; ++value) {
    const auto code = static_cast<Errc>(value);
    const auto row = kTable.find(code);
    const bool exists = value <= static_cast<int>(Errc::kCanceled);
    ASSERT_EQ(row != kTable.end(), exists) << "code " << value;
    if (!exists) continue;
    EXPECT_EQ(errno_of(Error(code, "x")), row->second) << errc_name(code);
  }
}

TEST(ErrnoMap, SystemErrorsKeepTheirErrno) {
  for (const int err : {ENODATA, ENXIO, ERANGE, EROFS, EISDIR, ENOSPC}) {
    EXPECT_EQ(errno_of(Error::os(err, "x")), err);
  }
}

TEST(ErrnoMap, RefusedByTheSourceKeepsEpermApart) {
  EXPECT_EQ(errno_of(Error(Errc::kPermission, "x").with_errno(EPERM)), EPERM);
  EXPECT_EQ(errno_of(Error(Errc::kPermission, "x").with_errno(EACCES)), EACCES);
  EXPECT_EQ(errno_of(Error(Errc::kVanished, "x").with_errno(ENOENT)), ESTALE);
}

}  // namespace
}  // namespace rsyncfs
