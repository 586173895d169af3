// SPDX-License-Identifier: GPL-3.0-or-later
// The same POSIX calls in a native directory and in one under test: every result has to agree.
#include <cstdio>
#include <map>
#include <memory>

#include "tests/posix/arguments.h"
#include "tests/posix/lies.h"
#include "tests/posix/parity.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr const char* kUsage =
    "posix_parity --native=DIR --tested=DIR [--only=TEXT] [--known=CASE,CASE...] [--lie=NAME]\n"
    "  --native  on a local file system; both directories let other users through\n"
    "  --only    cases whose names contain TEXT\n"
    "  --known   cases that are expected to differ or to be refused\n"
    "  --lie     let the tested directory err in this way\n"
    "Ends with 1 if a case differs or is refused that is not known, or a known one does neither.\n";

bool is_among(const std::string& name, const std::string& list) {
  return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

int run(const Arguments& arguments) {
  ParityOptions options{.native = arguments.required("native"),
                        .tested = arguments.required("tested"),
                        .tested_calls = nullptr,
                        .only = arguments.text("only")};
  std::unique_ptr<Calls> lie;
  if (const std::string name = arguments.text("lie"); !name.empty()) {
    lie = make_lie(name);
    if (lie == nullptr) arguments.fail("no such lie: " + name);
    options.tested_calls = lie.get();
  }
  const std::string known = arguments.text("known");
  std::map<std::string_view, int> count;
  int wrong = 0;
  for (const ParityOutcome& outcome : compare_directories(options)) {
    using Kind = ParityOutcome::Kind;
    const bool deviates = outcome.kind == Kind::kDiffers || outcome.kind == Kind::kRefused;
    const bool expected = is_among(outcome.name, known);
    ++count[kind_name(outcome.kind)];
    if (deviates != expected) ++wrong;
    if (outcome.kind == Kind::kSame && !expected) continue;
    std::printf("%s: %s%s\n%s%s", outcome.name.c_str(), std::string(kind_name(outcome.kind)).c_str(),
                expected ? " (known)" : "", outcome.details.c_str(),
                outcome.details.empty() || outcome.details.back() == '\n' ? "" : "\n");
  }
  for (const auto& [name, number] : count) std::printf("%d %s\n", number, std::string(name).c_str());
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace rsyncfs::posix_tests

int main(int argc, char** argv) {
  return rsyncfs::posix_tests::run(
      {argc, argv, {"native", "tested", "only", "known", "lie"}, rsyncfs::posix_tests::kUsage});
}
