// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/posix/random_tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "tests/posix/probe.h"
#include "tests/support/files.h"
#include "tests/support/wait.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr size_t kLogged = 60;  // operations, in a failure
constexpr mode_t kMask = 022;

}  // namespace

const std::vector<RandomTree::Kind>& RandomTree::kinds() {
  using T = RandomTree;
  static const std::vector<Kind> all = {
      {.name = "create", .weight = 9, .step = &T::create, .adds = true},
      {.name = "mkdir", .weight = 5, .step = &T::make_directory, .adds = true},
      {.name = "write", .weight = 14, .step = &T::write},
      {.name = "append", .weight = 6, .step = &T::append},
      {.name = "truncate", .weight = 5, .step = &T::truncate},
      {.name = "save", .weight = 4, .step = &T::save, .adds = true},
      {.name = "rewrite", .weight = 3, .step = &T::rewrite},
      {.name = "recreate", .weight = 3, .step = &T::recreate},
      {.name = "rename", .weight = 10, .step = &T::rename},
      {.name = "rename, not over", .weight = 3, .step = &T::rename_noreplace},
      {.name = "exchange", .weight = 3, .step = &T::exchange},
      {.name = "link", .weight = 4, .step = &T::link, .adds = true},
      {.name = "symlink", .weight = 3, .step = &T::symlink, .adds = true},
      {.name = "unlink", .weight = 6, .step = &T::unlink},
      {.name = "rmdir", .weight = 3, .step = &T::rmdir},
      {.name = "remove all", .weight = 1, .step = &T::remove_all},
      {.name = "chmod", .weight = 4, .step = &T::chmod},
      {.name = "set times", .weight = 4, .step = &T::set_times},
      {.name = "set xattr", .weight = 4, .step = &T::set_xattr},
      {.name = "remove xattr", .weight = 2, .step = &T::remove_xattr},
      {.name = "read", .weight = 8, .step = &T::read},
      {.name = "list", .weight = 3, .step = &T::list},
      {.name = "sync", .weight = 1, .step = &T::sync},
      {.name = "hold", .weight = 2, .step = &T::hold, .here = true},
      {.name = "held write", .weight = 4, .step = &T::held_write, .here = true},
      {.name = "held truncate", .weight = 1, .step = &T::held_truncate, .here = true},
      {.name = "held read", .weight = 4, .step = &T::held_read, .here = true},
      {.name = "release", .weight = 1, .step = &T::release, .here = true},
  };
  return all;
}

RandomTree::RandomTree(RandomTreeOptions options)
    : options_(std::move(options)),
      own_calls_(options_.calls == nullptr ? std::make_unique<Calls>() : nullptr),
      calls_(options_.calls == nullptr ? *own_calls_ : *options_.calls),
      random_(options_.seed),
      at_(options_.directory) {
  model_.root()->mode = 0;
}

RandomTree::~RandomTree() {
  close_handles();
}

TreeReport RandomTree::run() {
  const mode_t mask = ::umask(kMask);
  const double begin = support::monotonic_seconds();
  struct stat root {};
  const int result = calls_.lstat(at_, root);
  if (result < 0) fail("the directory: " + errno_name(-result));
  model_.root()->mode = root.st_mode;
  while (report_.operations < options_.operations && report_.failure.empty()) {
    if (options_.seconds > 0 && support::monotonic_seconds() - begin >= options_.seconds) break;
    run_hooks();
    if (!report_.failure.empty()) break;
    step();
    if (report_.operations % options_.compare_every == 0) compare_all();
  }
  if (report_.failure.empty()) compare_all();
  close_handles();
  if (report_.failure.empty()) compare_all();
  ::umask(mask);
  return report_;
}

void RandomTree::step() {
  const bool elsewhere = at_ != options_.directory;
  const bool full = model_.all().size() >= options_.most_names;
  const auto possible = [&](const Kind& kind) {
    return !(full && kind.adds) && !(elsewhere && kind.here) &&
           (options_.xattrs ||
            (kind.step != &RandomTree::set_xattr && kind.step != &RandomTree::remove_xattr));
  };
  unsigned weights = 0;
  for (const Kind& kind : kinds()) weights += possible(kind) ? kind.weight : 0;
  uint64_t draw = below(weights);
  for (const Kind& kind : kinds()) {
    if (!possible(kind)) continue;
    if (draw >= kind.weight) {
      draw -= kind.weight;
      continue;
    }
    ++report_.operations;
    ++report_.done[kind.name];
    ::clock_gettime(CLOCK_REALTIME_COARSE, &before_);
    (this->*kind.step)();
    return;
  }
}

void RandomTree::run_hooks() {
  for (const TreeHook& hook : options_.hooks) {
    if (below(1000000) >= static_cast<uint64_t>(hook.per_thousand * 1000)) continue;
    log(hook.name);
    ++report_.done["hook: " + hook.name];
    if (hook.closes_handles) close_handles();
    if (const std::string wrong = hook.run(*this); !wrong.empty()) fail(hook.name + ": " + wrong);
    if (!report_.failure.empty()) return;
  }
}

std::string RandomTree::compare(const std::string& directory, const ModelCompareOptions& options) {
  std::string out;
  for (const std::string& line : model_.compare(calls_, directory, options)) out += line + "\n";
  return out;
}

void RandomTree::compare_all() {
  if (!report_.failure.empty()) return;
  ModelCompareOptions options = options_.compare;
  options.xattrs = options.xattrs && options_.xattrs;
  if (const std::string differences = compare(options_.directory, options); !differences.empty()) {
    fail("the tree is not as it should be:\n" + differences);
  }
}

std::string RandomTree::change_elsewhere(const std::string& directory, uint64_t operations) {
  close_handles();
  at_ = directory;
  log("-- elsewhere");
  for (uint64_t i = 0; i < operations && report_.failure.empty(); ++i) step();
  log("-- here again");
  at_ = options_.directory;
  return report_.failure;
}

void RandomTree::learn_times(const std::string& directory) {
  for (const auto& [path, node] : model_.all()) {
    struct stat status {};
    if (!node->mtime && calls_.lstat(directory + "/" + path, status) == 0) node->mtime = status.st_mtim;
  }
}

void RandomTree::close_handles() {
  for (const Handle& handle : handles_) calls_.close(handle.fd);
  handles_.clear();
}

uint64_t RandomTree::below(uint64_t limit) {
  return limit == 0 ? 0 : random_() % limit;
}

std::string RandomTree::full(std::string_view path) const {
  return at_ + "/" + (path.empty() ? "." : std::string(path));
}

std::string RandomTree::pick(bool (*suits)(const ModelNode&)) {
  std::vector<std::string> found;
  for (const auto& [path, node] : model_.all()) {
    if (suits(*node)) found.push_back(path);
  }
  return found.empty() ? "" : found[below(found.size())];
}

std::string RandomTree::pick_directory() {
  std::vector<std::string> found{""};
  for (const auto& [path, node] : model_.all()) {
    if (node->is_directory()) found.push_back(path);
  }
  return found[below(found.size())];
}

std::string RandomTree::any_name() {
  static const std::vector<std::string> kPlain = {"a",     "b",   "c",      "d",      "e",
                                                  "f.txt", "g.o", "README", ".hidden"};
  static const std::vector<std::string> kOdd = {
      "two words", "new\nline", "\xc3\xbc", "\xff\xfe", "-n", "#x#", "[a]*", "a\\b", std::string(200, 'L')};
  if (options_.odd_names && below(4) == 0) return kOdd[below(kOdd.size())];
  return kPlain[below(kPlain.size())];
}

std::string RandomTree::new_path() {
  constexpr int64_t kDeepest = 5;
  std::string directory = pick_directory();
  if (std::count(directory.begin(), directory.end(), '/') >= kDeepest - 1) directory.clear();
  const std::string name = any_name();
  return directory.empty() ? name : directory + "/" + name;
}

// Small ones as often as large ones.
size_t RandomTree::some_size() {
  return below(std::max<size_t>(2, options_.largest_file >> below(20)));
}

std::string RandomTree::fresh_bytes(size_t most) {
  std::string out(std::min(most, some_size() + 1), '\0');
  // Often what compresses and repeats, as texts do.
  const bool text = below(2) == 0;
  uint64_t bits = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    if (i % 8 == 0) bits = random_();
    const auto byte = static_cast<unsigned char>(bits >> (8 * (i % 8)));
    out[i] = static_cast<char>(text ? 'a' + byte % 16 : byte);
  }
  return out;
}

mode_t RandomTree::some_mode(bool directory) {
  static const mode_t kModes[] = {0600, 0640, 0644, 0664, 0666, 0755, 0700, 0777};
  return kModes[below(std::size(kModes))] | (directory ? 0700 : 0);
}

void RandomTree::log(const std::string& text) {
  log_.push_back(std::to_string(report_.operations) + " " + support::printable(text));
  if (log_.size() > kLogged) log_.pop_front();
}

void RandomTree::fail(const std::string& what) {
  if (!report_.failure.empty()) return;
  report_.failure = what + "\nseed " + std::to_string(options_.seed) + ", operation " +
                    std::to_string(report_.operations) + "; the last ones:\n";
  for (const std::string& line : log_) report_.failure += "  " + line + "\n";
}

bool RandomTree::agree(const std::string& what, int wanted, int64_t got) {
  const std::string ending = wanted == 0 ? "" : ", which fails: " + errno_name(-wanted);
  log(what + ending);
  const int64_t result = std::min<int64_t>(got, 0);
  if (result != wanted) {
    fail(support::printable(what) + " gave " + errno_name(static_cast<int>(-result)) + ", not " +
         errno_name(-wanted));
  }
  if (wanted != 0) ++report_.refusals;
  return wanted == 0 && result == 0;
}

void RandomTree::look_at(const std::string& path) {
  const NodePtr node = model_.find(path);
  if (node == nullptr || node->mtime) return;
  struct stat status {};
  if (const int result = calls_.lstat(full(path), status); result < 0) {
    return fail("lstat " + support::printable(path) + ": " + errno_name(-result));
  }
  if (earlier(status.st_mtim, before_))
    fail("the modification time of " + support::printable(path) + " did not move");
  node->mtime = status.st_mtim;
}

void RandomTree::look_at_parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  look_at(slash == std::string::npos ? "" : path.substr(0, slash));
}

}  // namespace rsyncfs::posix_tests
