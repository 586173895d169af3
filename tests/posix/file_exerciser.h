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
#include <vector>

#include "tests/posix/calls.h"

namespace rsyncfs::posix_tests {

struct FileExerciserOptions {
  std::string path;  // of the one file; made anew
  uint64_t operations = 1000;
  double seconds = 0;  // ends sooner; 0: does not
  uint64_t seed = 0;   // decides everything that is done
  size_t largest_file = 256 * 1024;
  size_t largest_operation = 64 * 1024;
  Calls* calls = nullptr;  // null: the real ones
  // Called before the operation of this number with no descriptor open, e.g. to mount anew. "" or what is
  // wrong.
  std::function<std::string(uint64_t)> pause = {};
  uint64_t pause_every = 0;  // operations; 0: never
};

struct ExerciseReport {
  std::string failure;  // "": all went well; else what did not, the seed and the last operations
  uint64_t operations = 0;
  std::map<std::string, uint64_t> done;  // by kind
  std::set<std::string> refused;  // kinds that the file system does not offer: EOPNOTSUPP, ENODEV or EINVAL
};

// One file against a string: reads, writes, sizes, maps, holes and copies at random, in the manner of fsx (A.
// Tevanian, Apple; described in the Linux Test Project). After each change its range is read back; all of it
// from time to time.
class FileExerciser {
 public:
  explicit FileExerciser(FileExerciserOptions options);
  ~FileExerciser();
  FileExerciser(const FileExerciser&) = delete;
  FileExerciser& operator=(const FileExerciser&) = delete;

  ExerciseReport run();

 private:
  struct Range {
    size_t offset;
    size_t length;
  };
  using Step = void (FileExerciser::*)();
  struct Kind {
    const char* name;
    unsigned weight;
    Step step;
  };
  static const std::vector<Kind>& kinds();

  uint64_t below(uint64_t limit);
  // Anywhere within `end`, often at the edge of a page or of the file.
  Range some_range(size_t end);
  Range existing_range();
  std::string fresh_bytes(size_t length);
  void resize(size_t size);  // of the model
  void put(size_t offset, std::string_view bytes);
  void log(const std::string& text);
  void fail(const std::string& what);
  // Whether the call went well; a refusal ends the kind, anything else the run.
  bool went_well(int64_t result, const char* kind);
  void expect(Range range, std::string_view got, const char* how);
  void check(Range range);
  void check_size();
  void open_again();
  void close_all();

  void read();
  void read_by_another();
  void map_read();
  void write();
  void append();
  void truncate();
  void truncate_by_name();
  void map_write();
  void punch();
  void zero();
  void allocate();
  void copy();
  void sync();
  void reopen();
  void check_all();

  FileExerciserOptions options_;
  std::unique_ptr<Calls> own_calls_;
  Calls& calls_;
  std::mt19937_64 random_;
  std::string model_;
  int fd_ = -1;
  int other_fd_ = -1;
  std::deque<std::string> log_;
  ExerciseReport report_;
};

}  // namespace rsyncfs::posix_tests
