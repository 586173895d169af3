// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/base/result.h"

#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace rsyncfs {

std::string_view errc_name(Errc code) {
  switch (code) {
    case Errc::kOs:
      return "system error";
    case Errc::kUsage:
      return "usage";
    case Errc::kProtocol:
      return "protocol violation";
    case Errc::kCorrupt:
      return "corrupt";
    case Errc::kAuth:
      return "not authorized";
    case Errc::kNotFound:
      return "not found";
    case Errc::kNotDirectory:
      return "not a directory";
    case Errc::kPermission:
      return "permission denied";
    case Errc::kRefused:
      return "refused";
    case Errc::kUnreachable:
      return "unreachable";
    case Errc::kTimedOut:
      return "timed out";
    case Errc::kDisconnected:
      return "disconnected";
    case Errc::kChanged:
      return "changed";
    case Errc::kVanished:
      return "vanished";
    case Errc::kLimit:
      return "limit reached";
    case Errc::kUnsupported:
      return "unsupported";
    case Errc::kCanceled:
      return "canceled";
  }
  return "unknown";
}

Error Error::os(int err, std::string_view what) {
  std::string message(what);
  message += ": ";
  message += std::generic_category().message(err);
  return Error(Errc::kOs, std::move(message)).with_errno(err);
}

Error Error::with_context(std::string_view context) const {
  Error out = *this;
  out.message_ = std::string(context) + ": " + message_;
  return out;
}

Error Error::with_errno(int err) const {
  Error out = *this;
  out.errno_ = err;
  return out;
}

void check_failed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, what);
  std::abort();
}

}  // namespace rsyncfs
