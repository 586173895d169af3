// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/posix/parity.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>

#include "tests/posix/forked.h"
#include "tests/support/setup_failure.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr size_t kMostDifferencesShown = 6;  // of one case

constexpr std::chrono::minutes kCaseLimit(2);
// Marks a refusal among what the child tells; no call is named so.
constexpr std::string_view kRefusalMark = "\1refused";

struct Transcript {
  std::vector<Line> lines;
  std::optional<Refusal> refusal;  // of the last line's call
  std::string ending;              // how it ended, if not well

  size_t comparable() const { return refusal ? lines.size() - 1 : lines.size(); }
};

std::vector<Line> run_here(const ParityCase& each, Calls& calls, const std::string& directory) {
  ::umask(022);
  Probe probe(calls, directory);
  if (::mkdir(directory.c_str(), 0755) != 0) throw support::SetupFailure("cannot make " + directory);
  std::vector<Line> refused;
  try {
    each.run(probe);
  } catch (const Refusal& refusal) {
    refused.push_back({std::string(kRefusalMark), refusal.what});
  }
  if (!support::remove_tree(directory)) probe.call("removing all of it", -errno);
  std::vector<Line> out = probe.lines();
  out.insert(out.end(), refused.begin(), refused.end());
  return out;
}

void put(std::string& out, const std::string& text) {
  const uint64_t size = text.size();
  out.append(reinterpret_cast<const char*>(&size), sizeof(size));
  out += text;
}

bool take(std::string_view& from, std::string& text) {
  uint64_t size = 0;
  if (from.size() < sizeof(size)) return false;
  std::memcpy(&size, from.data(), sizeof(size));
  from.remove_prefix(sizeof(size));
  if (from.size() < size) return false;
  text = from.substr(0, size);
  from.remove_prefix(size);
  return true;
}

// In a process of its own, so that one that hangs or dies says so and leaves the others alone.
Transcript run_in(const ParityCase& each, Calls& calls, const std::string& parent) {
  const std::string directory = parent + "/case";
  if (!support::remove_tree(directory)) throw support::SetupFailure("cannot remove " + directory);
  const auto told = run_forked(
      [&] {
        std::string out;
        for (const Line& line : run_here(each, calls, directory)) {
          put(out, line.call);
          put(out, line.result);
        }
        return out;
      },
      kCaseLimit);
  Transcript out;
  std::string_view rest(told.out);
  for (Line line; take(rest, line.call) && take(rest, line.result);) {
    if (line.call == kRefusalMark) {
      out.refusal = Refusal{line.result};
    } else {
      out.lines.push_back(line);
    }
  }
  out.ending = told.ending;
  return out;
}

std::string difference(const Line& native, const Line& tested) {
  return "  " + native.call + ": " + native.result + "\n    but here" +
         (native.call == tested.call ? "" : " " + tested.call) + ": " + tested.result + "\n";
}

// One text for all that differs, "" if nothing does. After a refusal nothing is comparable.
std::string differences(const Transcript& native, const Transcript& tested) {
  const size_t common = std::min(native.comparable(), tested.comparable());
  std::string out;
  size_t shown = 0;
  for (size_t i = 0; i < common && shown < kMostDifferencesShown; ++i) {
    if (native.lines[i] == tested.lines[i]) continue;
    out += difference(native.lines[i], tested.lines[i]);
    ++shown;
  }
  if (!native.refusal && !tested.refusal && native.lines.size() != tested.lines.size()) {
    out += "  " + std::to_string(native.lines.size()) + " calls, but here " +
           std::to_string(tested.lines.size()) + "\n";
  }
  return out;
}

ParityOutcome judge(const ParityCase& each, const Transcript& native, const Transcript& tested) {
  using Kind = ParityOutcome::Kind;
  const std::string name(each.name);
  if (!tested.ending.empty()) return {name, Kind::kDiffers, "  " + tested.ending + "\n"};
  if (std::string text = differences(native, tested); !text.empty())
    return {name, Kind::kDiffers, std::move(text)};
  if (native.refusal) return {name, Kind::kNotComparable, native.refusal->what};
  if (tested.refusal) return {name, Kind::kRefused, tested.refusal->what};
  return {name, Kind::kSame, {}};
}

}  // namespace

std::vector<ParityCase> parity_cases() {
  std::vector<ParityCase> out;
  for (const auto& group :
       {creation_cases(), name_cases(), rename_cases(), attribute_cases(), permission_cases(),
        contents_cases(), range_cases(), xattr_cases(), directory_cases(), lock_cases()}) {
    out.insert(out.end(), group.begin(), group.end());
  }
  return out;
}

std::vector<ParityOutcome> compare_directories(const ParityOptions& options) {
  Calls real;
  Calls& tested_calls = options.tested_calls != nullptr ? *options.tested_calls : real;
  std::vector<ParityOutcome> out;
  for (const ParityCase& each : parity_cases()) {
    if (each.name.find(options.only) == std::string_view::npos) continue;
    if (each.needs_root && ::geteuid() != 0) {
      out.push_back({std::string(each.name), ParityOutcome::Kind::kNeedsRoot, {}});
      continue;
    }
    const Transcript native = run_in(each, real, options.native);
    if (!native.ending.empty())
      throw support::SetupFailure(std::string(each.name) + " in the native directory: " + native.ending);
    const Transcript tested = run_in(each, tested_calls, options.tested);
    out.push_back(judge(each, native, tested));
  }
  return out;
}

std::string_view kind_name(ParityOutcome::Kind kind) {
  switch (kind) {
    case ParityOutcome::Kind::kSame:
      return "same";
    case ParityOutcome::Kind::kDiffers:
      return "differs";
    case ParityOutcome::Kind::kRefused:
      return "refused";
    case ParityOutcome::Kind::kNotComparable:
      return "not comparable";
    case ParityOutcome::Kind::kNeedsRoot:
      return "needs root";
  }
  return "";
}

}  // namespace rsyncfs::posix_tests
