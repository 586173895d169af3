// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/posix/calls.h"
#include "tests/posix/tree_model.h"

namespace rsyncfs::posix_tests {

class RandomTree;

// Something that happens between two operations and that only the caller can do: mounting anew, `kill -9`,
// comparing with what the other side has, a change made by somebody else.
struct TreeHook {
  std::string name;
  double per_thousand = 1;     // operations
  bool closes_handles = true;  // before it
  // "" or what is wrong. It may change the model: what the tree is expected to be afterwards.
  std::function<std::string(RandomTree&)> run;
};

struct RandomTreeOptions {
  std::string directory;  // empty
  uint64_t operations = 1000;
  double seconds = 0;  // ends sooner; 0: does not
  uint64_t seed = 0;   // decides everything that is done, hooks included
  uint64_t compare_every = 200;
  size_t most_names = 150;
  size_t largest_file = 1536 * 1024;
  bool odd_names = true;
  bool xattrs = true;
  bool links_of_symlinks = true;
  ModelCompareOptions compare;
  std::vector<TreeHook> hooks;
  Calls* calls = nullptr;  // null: the real ones
};

struct TreeReport {
  std::string failure;  // "": all went well; else what did not, the seed and the last operations
  uint64_t operations = 0;
  std::map<std::string, uint64_t> done;  // by kind; those that the model said would fail, and did, too
  uint64_t refusals = 0;                 // the latter
};

// Random operations on a tree, each also done to the model, which says how it ends; names, attributes and
// contents are compared every so often, and at the end. Sets the umask to 022 while it runs. Single-threaded.
class RandomTree {
 public:
  explicit RandomTree(RandomTreeOptions options);
  ~RandomTree();
  RandomTree(const RandomTree&) = delete;
  RandomTree& operator=(const RandomTree&) = delete;

  TreeReport run();

  // ---- for hooks
  TreeModel& model() { return model_; }
  const std::string& directory() const { return options_.directory; }
  uint64_t below(uint64_t limit);
  // "" or the differences, one a line.
  std::string compare(const std::string& directory, const ModelCompareOptions& options);
  // Does random operations in another directory that holds the same tree, as somebody else would, and to the
  // model.
  // "" or what is wrong.
  std::string change_elsewhere(const std::string& directory, uint64_t operations);
  // Modification times that moved and are looked at now, in the directory.
  void learn_times(const std::string& directory);

 private:
  struct Handle {
    int fd;
    NodePtr node;
    std::string text;
  };
  struct Kind {
    const char* name;
    unsigned weight;
    void (RandomTree::*step)();
    bool adds = false;  // a name
    bool here = false;  // needs handles, which are of the directory under test
  };
  static const std::vector<Kind>& kinds();

  void step();
  void run_hooks();
  void compare_all();
  void close_handles();

  std::string full(std::string_view path) const;
  std::string pick(bool (*suits)(const ModelNode&));  // "" if there is none; never the root
  std::string pick_directory();                       // may be "", the root
  std::string any_name();
  std::string new_path();  // perhaps of something that exists
  std::string fresh_bytes(size_t most);
  size_t some_size();
  mode_t some_mode(bool directory);

  void log(const std::string& text);
  void fail(const std::string& what);
  // Whether both ended well; if only one did, or otherwise, that is a failure.
  bool agree(const std::string& what, int wanted, int64_t got);
  void look_at(const std::string& path);  // learns the time that just moved, and that it did
  void look_at_parent(const std::string& path);

  void create();
  void make_directory();
  void write();
  void append();
  void truncate();
  void save();
  void rewrite();
  void recreate();
  void rename();
  void rename_noreplace();
  void exchange();
  void rename_with(unsigned flags, const char* what);
  void link();
  void symlink();
  void unlink();
  void rmdir();
  void remove_all();
  void chmod();
  void set_times();
  void set_xattr();
  void remove_xattr();
  void read();
  void list();
  void sync();
  void hold();
  void held_write();
  void held_truncate();
  void held_read();
  void release();

  RandomTreeOptions options_;
  std::unique_ptr<Calls> own_calls_;
  Calls& calls_;
  std::mt19937_64 random_;
  TreeModel model_;
  std::string at_;  // the directory that operations are done in
  timespec before_{};
  std::vector<Handle> handles_;
  std::deque<std::string> log_;
  TreeReport report_;
};

}  // namespace rsyncfs::posix_tests
