// SPDX-License-Identifier: GPL-3.0-or-later
// Where a list may lack names that are there: from what the server said while it made the list.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/rsync/file_list.h"

namespace rsyncfs {

// What a server said went wrong, as it said it.
struct ServerErrors {
  std::vector<std::string> texts;
  bool cut = false;  // there was more than is kept
};

// A text says which path could not be read, quoted but not escaped, seen from the module or the host's root.
// What is not understood for sure counts for every place it could mean, at worst for all: a name must not
// disappear for an error's sake. Source: flist.c (all that sets IOERR_GENERAL), util1.c full_fname().
class UnreadablePlaces {
 public:
  // `root`: the listed tree's root as the texts spell it. If not absolute it lies below some directory that
  // only the server knows.
  explicit UnreadablePlaces(std::string_view root) : root_(root) {}
  UnreadablePlaces(const FileList& list, const ServerErrors& errors, std::string_view root)
      : UnreadablePlaces(root) {
    turn(list, errors.texts, errors.cut);
  }

  // What follows is about this list, which must outlive that, and what was said until it had come: `texts`
  // since the list before.
  void turn(const FileList& list, const std::vector<std::string>& texts, bool cut);
  // Why names of `directory` ("" = the root) may be missing; nullopt: what the list shows is all there is.
  std::optional<Error> doubt(std::string_view directory) const;
  // Something somewhere could not be read.
  const std::optional<Error>& any() const { return failed_ ? any_ : nothing_; }

 private:
  void add_text(const std::string& text);
  void add_place(std::string_view place, const Error& why);
  void add_path(std::string_view path, const Error& why);

  using Paths = std::map<std::string, Error, std::less<>>;
  const std::string root_;
  const FileList* list_ = nullptr;
  bool failed_ = false;  // the list says so: texts alone may be about what was never there
  std::optional<Error> nothing_;
  std::optional<Error> any_;
  bool told_ = false;  // by a text
  bool everything_ = false;
  Paths unreadable_;  // nothing is known of these, nor of what is below
  // The same by their directory, whose list lacks them if it was not they that could not be read.
  std::multimap<std::string, std::string, std::less<>> by_directory_;
  Paths lacking_;  // of these, names are missing
};

}  // namespace rsyncfs
