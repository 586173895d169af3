// SPDX-License-Identifier: GPL-3.0-or-later
// What the user names as SOURCE.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/result.h"

namespace rsyncfs {

// rsync://[user@]host[:port]/module[/path], [user@]host::module[/path]  -> daemon
// [user@]host:path                                                      -> shell (ssh, or rsh=)
// IPv6 hosts in brackets. Percent-escapes are not decoded, as rsync does not.
struct Source {
  enum class Kind : uint8_t { kDaemon, kShell };
  Kind kind = Kind::kDaemon;
  std::string user;  // "" = none given
  std::string host;
  uint16_t port = 0;   // 0 = none given
  std::string module;  // daemon only
  std::string path;    // below the module, or on the host; no trailing '/' (but "/" itself); may be ""
  // The same source always gives the same text; no password in it.
  std::string canonical() const;
  bool operator==(const Source&) const = default;
};

// kUsage, with a message that names the accepted forms.
Result<Source> parse_source(std::string_view text);

constexpr uint16_t kRsyncPort = 873;

}  // namespace rsyncfs
