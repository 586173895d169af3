// SPDX-License-Identifier: GPL-3.0-or-later
// The single operations of a random tree: drawn, done to the model, done for real.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/xattr.h>

#include <algorithm>

#include "tests/posix/probe.h"
#include "tests/posix/random_tree.h"
#include "tests/support/files.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr mode_t kMask = 022;
constexpr size_t kMostHandles = 6;

bool is_file(const ModelNode& node) {
  return node.is_file();
}
bool is_directory(const ModelNode& node) {
  return node.is_directory();
}
bool is_no_symlink(const ModelNode& node) {
  return !node.is_symlink();
}
bool has_xattrs(const ModelNode& node) {
  return !node.xattrs.empty();
}
bool is_anything(const ModelNode&) {
  return true;
}

std::string at(size_t offset, size_t length) {
  return " " + std::to_string(offset) + "+" + std::to_string(length);
}

}  // namespace

void RandomTree::create() {
  const std::string path = new_path();
  const mode_t mode = some_mode(false);
  const std::string bytes = below(4) == 0 ? "" : fresh_bytes(options_.largest_file);
  const int wanted = model_.create(path, mode & ~kMask);
  const int fd = calls_.open(full(path), O_CREAT | O_EXCL | O_WRONLY, mode);
  if (agree("create " + path + " of " + std::to_string(bytes.size()), wanted, fd)) {
    const int wrote = write_all(calls_, fd, bytes, 0);
    if (wrote < 0) fail("write: " + errno_name(-wrote));
    model_.write(path, 0, bytes);
    look_at_parent(path);
  }
  if (fd >= 0) calls_.close(fd);
  look_at(path);
}

void RandomTree::make_directory() {
  const std::string path = new_path();
  const mode_t mode = some_mode(true);
  if (agree("mkdir " + path, model_.mkdir(path, mode & ~kMask), calls_.mkdir(full(path), mode)))
    look_at_parent(path);
  look_at(path);
}

void RandomTree::write() {
  const std::string path = pick(is_file);
  if (path.empty()) return;
  const size_t size = model_.find(path)->bytes.size();
  const size_t most = below(8) == 0 ? size + 20000 : size;
  const size_t offset = below(std::min(most, options_.largest_file - 1) + 1);
  const std::string bytes = fresh_bytes(options_.largest_file - offset);
  const int fd = calls_.open(full(path), O_WRONLY);
  const int64_t wrote = fd < 0 ? fd : write_all(calls_, fd, bytes, static_cast<off_t>(offset));
  if (fd >= 0) calls_.close(fd);
  agree("write " + path + at(offset, bytes.size()), model_.write(path, offset, bytes), wrote);
  look_at(path);
}

void RandomTree::append() {
  const std::string path = pick(is_file);
  if (path.empty()) return;
  const size_t size = model_.find(path)->bytes.size();
  const std::string bytes = fresh_bytes(std::max<size_t>(
      1, std::min<size_t>(30000, options_.largest_file - std::min(size, options_.largest_file))));
  const int fd = calls_.open(full(path), O_WRONLY | O_APPEND);
  const int64_t wrote = fd < 0 ? fd : calls_.write(fd, bytes);
  if (fd >= 0) calls_.close(fd);
  agree("append to " + path + at(size, bytes.size()), model_.write(path, size, bytes), wrote);
  look_at(path);
}

void RandomTree::truncate() {
  const std::string path = pick(is_file);
  if (path.empty()) return;
  const size_t size = below(3) == 0 ? some_size() : below(model_.find(path)->bytes.size() + 1);
  agree("truncate " + path + " to " + std::to_string(size), model_.truncate(path, size),
        calls_.truncate(full(path), static_cast<off_t>(size)));
  look_at(path);
}

// As editors do: written beside it, moved over it.
void RandomTree::save() {
  const std::string path = pick(is_file);
  if (path.empty()) return;
  const std::string beside = path.substr(0, path.rfind('/') + 1) + ".save~";
  const std::string bytes = fresh_bytes(options_.largest_file);
  const int wanted = model_.create(beside, 0644);
  const int fd = calls_.open(full(beside), O_CREAT | O_EXCL | O_WRONLY, 0644);
  int64_t wrote = fd < 0 ? fd : write_all(calls_, fd, bytes, 0);
  if (wrote == 0 && below(2) == 0) wrote = calls_.fsync(fd);
  if (fd >= 0) calls_.close(fd);
  if (!agree("save " + path + " with " + std::to_string(bytes.size()), wanted, wrote)) return;
  model_.write(beside, 0, bytes);
  agree("move it there", model_.rename(beside, path, 0), calls_.rename(full(beside), full(path)));
  look_at(path);
  look_at_parent(path);
}

void RandomTree::rewrite() {
  const std::string path = pick(is_file);
  if (path.empty()) return;
  const std::string bytes = fresh_bytes(options_.largest_file);
  const int fd = calls_.open(full(path), O_WRONLY | O_TRUNC);
  const int64_t wrote = fd < 0 ? fd : write_all(calls_, fd, bytes, 0);
  if (fd >= 0) calls_.close(fd);
  model_.truncate(path, 0);
  agree("rewrite " + path + " with " + std::to_string(bytes.size()), model_.write(path, 0, bytes), wrote);
  look_at(path);
}

void RandomTree::recreate() {
  const std::string path = pick(is_file);
  if (path.empty()) return;
  const std::string bytes = fresh_bytes(options_.largest_file);
  agree("unlink to make anew " + path, model_.unlink(path), calls_.unlink(full(path)));
  const int wanted = model_.create(path, 0644);
  const int fd = calls_.open(full(path), O_CREAT | O_EXCL | O_WRONLY, 0666);
  const int64_t wrote = fd < 0 ? fd : write_all(calls_, fd, bytes, 0);
  if (fd >= 0) calls_.close(fd);
  if (agree("create it of " + std::to_string(bytes.size()), wanted, wrote)) model_.write(path, 0, bytes);
  look_at(path);
  look_at_parent(path);
}

void RandomTree::rename_with(unsigned flags, const char* what) {
  const std::string from = pick(is_anything);
  if (from.empty()) return;
  const std::string to = flags == RENAME_EXCHANGE || below(3) == 0 ? pick(is_anything) : new_path();
  const int wanted = model_.rename(from, to, flags);
  if (!agree(std::string(what) + " " + from + " to " + to, wanted,
             calls_.rename(full(from), full(to), flags)))
    return;
  look_at_parent(from);
  look_at_parent(to);
}

void RandomTree::rename() {
  rename_with(0, "rename");
}
void RandomTree::rename_noreplace() {
  rename_with(RENAME_NOREPLACE, "rename, not over,");
}
void RandomTree::exchange() {
  rename_with(RENAME_EXCHANGE, "exchange");
}

void RandomTree::link() {
  const std::string from = below(8) == 0 ? pick(is_anything) : pick(is_file);
  if (from.empty() || (!options_.links_of_symlinks && model_.find(from)->is_symlink())) return;
  const std::string to = new_path();
  if (agree("link " + from + " as " + to, model_.link(from, to), calls_.link(full(from), full(to))))
    look_at_parent(to);
}

void RandomTree::symlink() {
  const std::string path = new_path();
  const std::string target = below(2) == 0 ? any_name() : "../" + pick_directory();
  if (agree("symlink " + path + " to " + target, model_.symlink(target, path),
            calls_.symlink(target, full(path)))) {
    look_at_parent(path);
  }
  look_at(path);
}

void RandomTree::unlink() {
  const std::string path = below(10) == 0 ? new_path() : pick(is_anything);
  if (path.empty()) return;
  if (agree("unlink " + path, model_.unlink(path), calls_.unlink(full(path)))) look_at_parent(path);
}

void RandomTree::rmdir() {
  const std::string path = below(10) == 0 ? new_path() : pick(is_directory);
  if (path.empty()) return;
  if (agree("rmdir " + path, model_.rmdir(path), calls_.rmdir(full(path)))) look_at_parent(path);
}

void RandomTree::remove_all() {
  const std::string top = pick(is_directory);
  if (top.empty()) return;
  std::vector<std::pair<std::string, bool>> inside;
  for (const auto& [path, node] : model_.all()) {
    if (path == top || path.rfind(top + "/", 0) == 0) inside.emplace_back(path, node->is_directory());
  }
  std::reverse(inside.begin(), inside.end());
  for (const auto& [path, directory] : inside) {
    if (directory) {
      agree("rmdir " + path, model_.rmdir(path), calls_.rmdir(full(path)));
    } else {
      agree("unlink " + path, model_.unlink(path), calls_.unlink(full(path)));
    }
  }
  look_at_parent(top);
}

void RandomTree::chmod() {
  const std::string path = pick(is_no_symlink);
  if (path.empty()) return;
  const mode_t mode = some_mode(model_.find(path)->is_directory());
  agree("chmod " + path, model_.chmod(path, mode), calls_.chmod(full(path), mode));
}

void RandomTree::set_times() {
  const std::string path = pick(is_anything);
  if (path.empty()) return;
  const timespec time{static_cast<time_t>(below(2000000000)),
                      static_cast<long>(below(2) == 0 ? below(1000000000) : 0)};
  agree("set the time of " + path, model_.set_mtime(path, time),
        calls_.set_times(full(path), {0, UTIME_OMIT}, time));
}

void RandomTree::set_xattr() {
  const std::string path = pick(is_no_symlink);
  if (path.empty()) return;
  const std::string name = "user.n" + std::to_string(below(4));
  const std::string value = fresh_bytes(below(3) == 0 ? 700 : 40);
  static constexpr int kFlags[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};
  const int flags = kFlags[below(4)];
  agree("set " + name + " of " + path + " flags " + std::to_string(flags),
        model_.set_xattr(path, name, value, flags), calls_.set_xattr(full(path), name, value, flags));
}

void RandomTree::remove_xattr() {
  const bool there = below(4) != 0;
  const std::string path = pick(there ? has_xattrs : is_no_symlink);
  if (path.empty()) return;
  const std::string name =
      there ? model_.find(path)->xattrs.begin()->first : "user.n" + std::to_string(below(4));
  agree("remove " + name + " of " + path, model_.remove_xattr(path, name),
        calls_.remove_xattr(full(path), name));
}

void RandomTree::read() {
  const std::string path = pick(is_file);
  if (path.empty()) return;
  const std::string& bytes = model_.find(path)->bytes;
  const size_t offset = below(bytes.size() + 1);
  std::string got(below(100000) + 1, '\0');
  const int fd = calls_.open(full(path), O_RDONLY);
  const int64_t result = fd < 0 ? fd : read_all(calls_, fd, got, static_cast<off_t>(offset));
  if (fd >= 0) calls_.close(fd);
  if (!agree("read " + path + at(offset, got.size()), 0, result)) return;
  if (got.substr(0, static_cast<size_t>(result)) != bytes.substr(offset, got.size())) {
    fail("other bytes than were written are read from " + support::printable(path));
  }
}

void RandomTree::list() {
  const std::string path = pick_directory();
  std::vector<std::string> names;
  agree("list " + path, 0, calls_.list(full(path), names));
  std::vector<std::string> wanted;
  for (const auto& [name, node] : model_.find(path)->children) wanted.push_back(name);
  if (names != wanted) fail("other names than were made are listed in " + support::printable(path));
}

void RandomTree::sync() {
  const std::string path = pick(is_file);
  if (path.empty()) return;
  const int fd = calls_.open(full(path), O_RDONLY);
  agree("fsync " + path, 0, fd < 0 ? fd : calls_.fsync(fd));
  if (fd >= 0) calls_.close(fd);
}

void RandomTree::hold() {
  const std::string path = pick(is_file);
  if (path.empty() || handles_.size() >= kMostHandles) return;
  const int fd = calls_.open(full(path), O_RDWR);
  if (agree("hold " + path, 0, fd)) handles_.push_back({fd, model_.find(path), "what was " + path});
}

void RandomTree::held_write() {
  if (handles_.empty()) return;
  const Handle& handle = handles_[below(handles_.size())];
  const size_t offset = below(std::min(handle.node->bytes.size(), options_.largest_file - 1) + 1);
  const std::string bytes = fresh_bytes(options_.largest_file - offset);
  const int64_t wrote = write_all(calls_, handle.fd, bytes, static_cast<off_t>(offset));
  if (!agree("held write to " + handle.text + at(offset, bytes.size()), 0, wrote)) return;
  TreeModel::write(*handle.node, offset, bytes);
  struct stat status {};
  calls_.fstat(handle.fd, status);
  if (earlier(status.st_mtim, before_)) fail("the modification time did not move");
  handle.node->mtime = status.st_mtim;
}

void RandomTree::held_truncate() {
  if (handles_.empty()) return;
  const Handle& handle = handles_[below(handles_.size())];
  const size_t size = some_size();
  const int result = calls_.ftruncate(handle.fd, static_cast<off_t>(size));
  if (!agree("held truncate of " + handle.text + " to " + std::to_string(size), 0, result)) return;
  TreeModel::truncate(*handle.node, size);
  struct stat status {};
  calls_.fstat(handle.fd, status);
  handle.node->mtime = status.st_mtim;
}

void RandomTree::held_read() {
  if (handles_.empty()) return;
  const Handle& handle = handles_[below(handles_.size())];
  std::string got(handle.node->bytes.size() + 1, '\0');
  const int64_t result = read_all(calls_, handle.fd, got, 0);
  if (!agree("held read of " + handle.text, 0, result)) return;
  got.resize(static_cast<size_t>(result));
  if (got != handle.node->bytes)
    fail("other bytes than were written are read from " + support::printable(handle.text));
  struct stat status {};
  calls_.fstat(handle.fd, status);
  if (status.st_nlink != handle.node->names) {
    fail(support::printable(handle.text) + " has " + std::to_string(status.st_nlink) + " names, not " +
         std::to_string(handle.node->names));
  }
}

void RandomTree::release() {
  if (handles_.empty()) return;
  const size_t chosen = below(handles_.size());
  log("release " + handles_[chosen].text);
  calls_.close(handles_[chosen].fd);
  handles_.erase(handles_.begin() + static_cast<ptrdiff_t>(chosen));
}

}  // namespace rsyncfs::posix_tests
