// SPDX-License-Identifier: GPL-3.0-or-later
// Takes out of a text what is not for others: passwords always, names of files unless they are wanted.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/control/status_document.h"

namespace rsyncfs {

// "user:password@host" -> "user:***@host", before a host in any form of source.
std::string without_url_passwords(std::string_view text);

// The same name always gets the same replacement, so that what belongs together can still be seen.
class NameVeil {
 public:
  // `names` true: they stay.
  explicit NameVeil(bool names) : names_(names) {}

  // Never shown, wherever it occurs.
  void add_secret(std::string_view secret);
  // A place on this machine, shown as `word` where names are not.
  void add_place(std::string_view path, std::string_view word);
  // Raw bytes: "a/b.txt" -> "n1/n2".
  std::string path(std::string_view path);
  // Secrets and places go; the rest stays as it is.
  std::string text(std::string_view text) const;
  // A line of the log or of an error, which may have names anywhere: of its parts, divided by ": ", those
  // stay that say what the kernel says of errors; of the others numbers and some plain words. `begins_ours`:
  // its first part is a message of the program, of which only what looks like a path goes.
  std::string line(std::string_view line, bool begins_ours) const;
  // All of a status document.
  MountStatus status(MountStatus status);

 private:
  std::string failing(const std::string& path_and_reason);

  const bool names_;
  std::vector<std::string> secrets_;
  std::vector<std::pair<std::string, std::string>> places_;
  std::map<std::string, std::string, std::less<>> known_;
};

}  // namespace rsyncfs
