// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/errno_map.h"

#include <cerrno>

namespace rsyncfs {

int errno_of(const Error& error) {
  switch (error.code()) {
    case Errc::kOs:
      return error.os_errno() != 0 ? error.os_errno() : EIO;
    case Errc::kUsage:
      return EINVAL;
    case Errc::kProtocol:
    case Errc::kCorrupt:
    case Errc::kDisconnected:
      return EIO;
    case Errc::kAuth:
      return EACCES;
    case Errc::kNotFound:
      return ENOENT;
    case Errc::kNotDirectory:
      return ENOTDIR;
    case Errc::kPermission:
      return error.os_errno() == EPERM ? EPERM : EACCES;
    case Errc::kRefused:
      return ECONNREFUSED;
    case Errc::kUnreachable:
      return EHOSTUNREACH;
    case Errc::kTimedOut:
      return ETIMEDOUT;
    case Errc::kChanged:
    case Errc::kVanished:
      return ESTALE;
    case Errc::kLimit:
      return ENOBUFS;
    case Errc::kUnsupported:
      return EOPNOTSUPP;
    case Errc::kCanceled:
      return EINTR;
  }
  return EIO;
}

}  // namespace rsyncfs
