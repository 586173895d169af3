// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/mount/struck_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "tests/support/files.h"

namespace rsyncfs::mount_tests {
namespace {

constexpr size_t kMostCalls = 1'000'000;
constexpr size_t kNames = 12;
constexpr size_t kLargest = 200'000;  // a file

std::string difference(const std::map<std::string, std::string>& wanted,
                       const std::map<std::string, std::string>& got) {
  for (const auto& [name, bytes] : wanted) {
    const auto found = got.find(name);
    if (found == got.end()) return name + " is missing";
    if (found->second == bytes) continue;
    return name + " has other bytes, or " + std::to_string(found->second.size()) + " instead of " +
           std::to_string(bytes.size());
  }
  for (const auto& [name, bytes] : got) {
    if (!wanted.contains(name)) return name + " is there";
  }
  return "";
}

}  // namespace

std::string StruckDirectory::work(std::mt19937_64& random) {
  for (size_t i = 0; i < kMostCalls; ++i) {
    if (!step(random)) return "";
  }
  return "nothing fails";
}

bool StruckDirectory::step(std::mt19937_64& random) {
  after_ = before_;
  grows_.clear();
  const std::string name = "n" + std::to_string(random() % kNames);
  const auto found = before_.find(name);
  if (found == before_.end()) return create(name);
  switch (random() % 8) {
    case 0:
      return remove(name);
    case 1:
      return move(name, "n" + std::to_string(random() % kNames));
    case 2:
      return cut(name, random() % (found->second.size() + 1));
    default: {
      std::string bytes(random() % 9000 + 1, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random());
      return found->second.size() > kLargest ? cut(name, 0) : append(name, bytes);
    }
  }
}

bool StruckDirectory::settle(bool done) {
  if (!done) return false;
  ++calls_;
  before_ = after_;
  return true;
}

bool StruckDirectory::create(const std::string& name) {
  last_ = "create " + name;
  after_[name];
  return settle(::mknod(full(name).c_str(), S_IFREG | 0644, 0) == 0);
}

bool StruckDirectory::append(const std::string& name, const std::string& bytes) {
  last_ = "append to " + name;
  grows_ = name;
  after_[name] += bytes;
  const int fd = ::open(full(name).c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  ::close(fd);
  return settle(done);
}

bool StruckDirectory::cut(const std::string& name, size_t size) {
  last_ = "cut " + name + " to " + std::to_string(size);
  after_[name].resize(size);
  return settle(::truncate(full(name).c_str(), static_cast<off_t>(size)) == 0);
}

bool StruckDirectory::move(const std::string& from, const std::string& to) {
  last_ = "move " + from + " to " + to;
  std::string bytes = std::move(after_[from]);
  after_.erase(from);
  after_[to] = std::move(bytes);
  return settle(std::rename(full(from).c_str(), full(to).c_str()) == 0);
}

bool StruckDirectory::remove(const std::string& name) {
  last_ = "remove " + name;
  after_.erase(name);
  return settle(::unlink(full(name).c_str()) == 0);
}

std::string StruckDirectory::check() {
  Contents got;
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    const std::string name = entry.path().filename().string();
    got[name] = support::read_file(full(name));
  }
  const auto grown = got.find(grows_);
  if (grown != got.end() && grown->second.size() >= before_[grows_].size() &&
      after_[grows_].starts_with(grown->second)) {
    after_[grows_] = grown->second;
  }
  const std::string without = difference(before_, got);
  const std::string with = difference(after_, got);
  before_ = got;
  after_ = got;
  return without.empty() || with.empty()
             ? ""
             : "after " + last_ + ": " + without + "; if that call was done: " + with;
}

}  // namespace rsyncfs::mount_tests
