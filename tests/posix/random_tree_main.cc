// SPDX-License-Identifier: GPL-3.0-or-later
// Random operations on the tree of a directory under test, compared with a model.
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "tests/posix/arguments.h"
#include "tests/posix/lies.h"
#include "tests/posix/random_tree.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr const char* kUsage =
    "random_tree --directory=DIR [--operations=N] [--seconds=S] [--seed=N] [--compare-every=N] "
    "[--most-names=N]\n"
    "            [--largest-file=BYTES] [--xattrs=0|1] [--odd-names=0|1] [--hook=COMMAND] [--hook-every=N] "
    "[--lie=NAME]\n"
    "  DIR is an empty directory. COMMAND is run by the shell every N operations or so, with no file open; "
    "that it fails,\n"
    "  or that the tree is another one afterwards, is a failure.\n";

TreeHook shell_hook(const std::string& command, uint64_t every) {
  return {.name = command,
          .per_thousand = 1000.0 / static_cast<double>(every == 0 ? 1 : every),
          .closes_handles = true,
          .run = [command](RandomTree& tree) {
            // NOLINTNEXTLINE(bugprone-command-processor,cert-env33-c): that is what it is for
            const int status = std::system(command.c_str());
            return status != 0 ? "exit status " + std::to_string(status) : tree.compare(tree.directory(), {});
          }};
}

int run(const Arguments& arguments) {
  RandomTreeOptions options;
  options.directory = arguments.required("directory");
  options.operations = arguments.number("operations", 10000);
  options.seconds = static_cast<double>(arguments.number("seconds", 0));
  options.seed = arguments.seed();
  options.compare_every = arguments.number("compare-every", options.compare_every);
  options.most_names = arguments.number("most-names", options.most_names);
  options.largest_file = arguments.number("largest-file", options.largest_file);
  options.xattrs = arguments.number("xattrs", 1) != 0;
  options.odd_names = arguments.number("odd-names", 1) != 0;
  if (options.compare_every == 0 || options.largest_file == 0) arguments.fail("0 is too little");
  if (const std::string command = arguments.text("hook"); !command.empty()) {
    options.hooks.push_back(shell_hook(command, arguments.number("hook-every", 500)));
  }
  std::unique_ptr<Calls> lie;
  if (const std::string name = arguments.text("lie"); !name.empty()) {
    lie = make_lie(name);
    if (lie == nullptr) arguments.fail("no such lie: " + name);
    options.calls = lie.get();
  }
  std::printf("--seed=%llu\n", static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  const TreeReport report = RandomTree(options).run();
  for (const auto& [name, count] : report.done) {
    std::printf("%llu %s\n", static_cast<unsigned long long>(count), name.c_str());
  }
  std::printf("%llu operations, %llu of them failed as they should\n%s",
              static_cast<unsigned long long>(report.operations),
              static_cast<unsigned long long>(report.refusals), report.failure.c_str());
  return report.failure.empty() ? 0 : 1;
}

}  // namespace
}  // namespace rsyncfs::posix_tests

int main(int argc, char** argv) {
  return rsyncfs::posix_tests::run(
      {argc,
       argv,
       {"directory", "operations", "seconds", "seed", "compare-every", "most-names", "largest-file", "xattrs",
        "odd-names", "hook", "hook-every", "lie"},
       rsyncfs::posix_tests::kUsage});
}
