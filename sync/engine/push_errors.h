// SPDX-License-Identifier: GPL-3.0-or-later
// Which entry of a push a server's text is about. The texts quote the path, unescaped; for a file that was
// being written, that of its temporary name. Source: receiver.c, generator.c, rsync.c, util1.c full_fname().
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/rsync/session_config.h"

namespace rsyncfs {

class PushErrors {
 public:
  void add(MessageKind kind, std::string_view text);
  // What was said about this path of an entry; nullopt: nothing.
  std::optional<Error> about(std::string_view path) const;
  // Something was said about what is there, or about something in it.
  bool mention(std::string_view path) const;
  // What was said last; `otherwise` if nothing was.
  Error last(std::string_view otherwise) const;
  bool any() const { return !texts_.empty(); }

 private:
  std::vector<std::string> texts_;
};

}  // namespace rsyncfs
