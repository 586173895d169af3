// SPDX-License-Identifier: GPL-3.0-or-later
// What many programs do in a tree over a long time, at random: names are drawn from a fixed set, and as many
// are removed as made, so that the tree keeps its size for ever.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace rsyncfs::bench {

// Directories at the top of a tree. They stay; what is in them comes and goes.
struct WorkPlaces {
  std::string root;                  // absolute
  std::vector<std::string> changed;  // names in it; not empty
  std::vector<std::string> read;     // likewise; may have the former among them
};

// Done by one thread; several may work in one tree.
class RandomWork {
 public:
  RandomWork(WorkPlaces places, uint64_t seed);

  // Some calls, drawn at random. Returns how many of them did something.
  uint64_t step();

  const std::map<std::string, uint64_t>& done() const { return done_; }
  // Refused because others, or chance, were there first: a name that is not there, or is there already.
  uint64_t refused() const { return refused_; }
  // "KIND: ERROR" of calls that failed in any other way.
  const std::map<std::string, uint64_t>& failed() const { return failed_; }

 private:
  struct Kind {
    unsigned weight;
    void (RandomWork::*step)();
  };
  static const std::vector<Kind>& kinds();

  uint64_t below(uint64_t limit) { return random_() % limit; }
  const std::string& one_of(const std::vector<std::string>& names) { return names[below(names.size())]; }
  std::string a_directory(const std::vector<std::string>& tops);
  std::string a_subdirectory();
  std::string a_name(const std::vector<std::string>& tops);
  std::string_view some_bytes(size_t most);
  size_t some_size();
  // Whether it succeeded; counts it.
  bool did(const char* kind, int64_t result);
  int open(const std::string& path, int flags);

  void create();
  void save();
  void write_in_the_middle();
  void append();
  void truncate();
  void rename();
  void rename_directory();
  void link();
  void symlink();
  void unlink();
  void make_directory();
  void remove_directory();
  void change_mode();
  void set_times();
  void set_attribute();
  void read_attribute();
  void remove_attribute();
  void read_whole();
  void read_piece();
  void list();
  void look();
  void use_unlinked();
  void sync();

  WorkPlaces places_;
  std::mt19937_64 random_;
  std::string bytes_;   // those that are written are a part of it
  std::string buffer_;  // for reads
  uint64_t now_ = 0;    // calls of this step that did something
  uint64_t refused_ = 0;
  std::map<std::string, uint64_t> done_;
  std::map<std::string, uint64_t> failed_;
};

}  // namespace rsyncfs::bench
