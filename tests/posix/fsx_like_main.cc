// SPDX-License-Identifier: GPL-3.0-or-later
// One file of a directory under test against a string, at random.
#include <cstdio>
#include <memory>

#include "tests/posix/arguments.h"
#include "tests/posix/file_exerciser.h"
#include "tests/posix/lies.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr const char* kUsage =
    "fsx_like --directory=DIR [--operations=N] [--seconds=S] [--seed=N] [--largest-file=BYTES]\n"
    "         [--largest-operation=BYTES] [--lie=NAME]\n";

int run(const Arguments& arguments) {
  FileExerciserOptions options;
  options.path = arguments.required("directory") + "/exercised";
  options.operations = arguments.number("operations", 10000);
  options.seconds = static_cast<double>(arguments.number("seconds", 0));
  options.seed = arguments.seed();
  options.largest_file = arguments.number("largest-file", options.largest_file);
  options.largest_operation = arguments.number("largest-operation", options.largest_operation);
  std::unique_ptr<Calls> lie;
  if (const std::string name = arguments.text("lie"); !name.empty()) {
    lie = make_lie(name);
    if (lie == nullptr) arguments.fail("no such lie: " + name);
    options.calls = lie.get();
  }
  std::printf("--seed=%llu\n", static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  const ExerciseReport report = FileExerciser(options).run();
  for (const auto& [name, count] : report.done) {
    std::printf("%llu %s\n", static_cast<unsigned long long>(count), name.c_str());
  }
  for (const std::string& name : report.refused) std::printf("refused: %s\n", name.c_str());
  std::printf("%s", report.failure.c_str());
  return report.failure.empty() ? 0 : 1;
}

}  // namespace
}  // namespace rsyncfs::posix_tests

int main(int argc, char** argv) {
  return rsyncfs::posix_tests::run(
      {argc,
       argv,
       {"directory", "operations", "seconds", "seed", "largest-file", "largest-operation", "lie"},
       rsyncfs::posix_tests::kUsage});
}
