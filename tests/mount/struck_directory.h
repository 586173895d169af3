// SPDX-License-Identifier: GPL-3.0-or-later
// Calls in a directory until one fails because its file system is killed meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>

namespace rsyncfs::mount_tests {

// What the directory then has to hold is what the calls before left, with or without what the last one does;
// of bytes that it appends, perhaps only the first: the kernel may hand them on in several requests. One
// thread.
class StruckDirectory {
 public:
  explicit StruckDirectory(std::string path) : path_(std::move(path)) {}

  // Until a call fails; "" or why that never happened.
  std::string work(std::mt19937_64& random);
  // "" or in what the directory differs. What it holds counts from now on.
  std::string check();
  uint64_t calls() const { return calls_; }

 private:
  using Contents = std::map<std::string, std::string>;  // by name

  bool step(std::mt19937_64& random);  // false: the call failed
  bool create(const std::string& name);
  bool append(const std::string& name, const std::string& bytes);
  bool cut(const std::string& name, size_t size);
  bool move(const std::string& from, const std::string& to);
  bool remove(const std::string& name);
  bool settle(bool done);
  std::string full(const std::string& name) const { return path_ + "/" + name; }

  std::string path_;
  Contents before_;  // the call that is under way, or failed
  Contents after_;
  std::string last_;   // that call
  std::string grows_;  // the file that it appends to, "": none
  uint64_t calls_ = 0;
};

}  // namespace rsyncfs::mount_tests
