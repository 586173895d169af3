// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_journal.h"

#include <algorithm>
#include <sstream>

#include "sync/engine/base_view.h"
#include "sync/engine/spare_names.h"

namespace rsyncfs {

namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr size_t kMaxActions = 8;

// In hexadecimal, so that any byte may be in it; "-" is empty.
std::string encode_name(std::string_view name) {
  if (name.empty()) return "-";
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    out += kDigits[byte >> 4];
    out += kDigits[byte & 0xf];
  }
  return out;
}

std::optional<std::string> decode_name(std::string_view text) {
  std::string out;
  if (text == "-") return out;
  if (text.size() % 2 != 0) return std::nullopt;
  for (size_t i = 0; i < text.size(); i += 2) {
    const size_t high = kDigits.find(text[i]);
    const size_t low = kDigits.find(text[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    out += static_cast<char>(high << 4 | low);
  }
  return out;
}

bool read_name(std::istream& in, std::string& out) {
  std::string text;
  if (!(in >> text)) return false;
  auto name = decode_name(text);
  if (!name) return false;
  out = std::move(*name);
  return true;
}

bool find_path(const PendingChanges& pending, NodeId parent, const std::string& name, std::string& out) {
  if (parent == 0) return true;
  auto path = pending.remote_path(parent, name);
  if (!path) return false;
  out = std::move(*path);
  return true;
}

// A directory that the batch makes is not in base yet.
bool find_made_path(const std::vector<PushStep>& before, PushStep& step) {
  const auto made = std::find_if(before.begin(), before.end(),
                                 [&](const PushStep& one) { return one.node == step.parent; });
  if (made == before.end()) return false;
  step.path = made->path + "/" + step.name;
  return true;
}

// Those whose directory is not at the source any more lead nowhere.
bool read_other_names(std::istream& in, const PendingChanges& pending, PushStep& step) {
  size_t count = 0;
  if (!(in >> count) || count > kMaxNamesOfNode) return false;
  for (size_t i = 0; i < count; ++i) {
    Binding other;
    std::string path;
    if (!(in >> other.parent) || other.parent == 0 || !read_name(in, other.name)) return false;
    if (!find_path(pending, other.parent, other.name, path)) continue;
    other.node = step.node;
    step.other_names.push_back(std::move(other));
    step.other_paths.push_back(std::move(path));
  }
  return true;
}

bool read_step(std::istream& in, const PendingChanges& pending, const std::vector<PushStep>& before,
               PushStep& step) {
  if (!(in >> step.node >> step.parent) || !read_name(in, step.name)) return false;
  if (!(in >> step.from_parent) || !read_name(in, step.from_name) || !(in >> step.occupant)) return false;
  if (!read_other_names(in, pending, step)) return false;
  return (find_path(pending, step.parent, step.name, step.path) || find_made_path(before, step)) &&
         find_path(pending, step.from_parent, step.from_name, step.from_path);
}

}  // namespace

bool takes_several_sessions(const PushBatch& batch) {
  switch (batch.action) {
    case PushAction::kRenameDirectory:
    case PushAction::kReplace:
    case PushAction::kMove:
      return true;
    case PushAction::kData:
      return std::any_of(batch.steps.begin(), batch.steps.end(),
                         [](const PushStep& step) { return !step.other_names.empty(); });
    default:
      // A name that the next plan would not think of again.
      return std::any_of(batch.steps.begin(), batch.steps.end(),
                         [](const PushStep& step) { return is_spare_name(step.name); });
  }
}

bool leaves_traces(const PushBatch& batch) {
  return batch.action != PushAction::kAttributes;
}

// The action's number, the spare name, the number of steps; then each step's node, place, old place,
// occupant, and its other names, with their number before them.
std::string encode_batch(const PushBatch& batch) {
  std::ostringstream out;
  out << static_cast<int>(batch.action) << ' ' << encode_name(batch.spare) << ' ' << batch.steps.size()
      << '\n';
  for (const PushStep& step : batch.steps) {
    out << step.node << ' ' << step.parent << ' ' << encode_name(step.name) << ' ' << step.from_parent << ' '
        << encode_name(step.from_name) << ' ' << step.occupant << ' ' << step.other_names.size();
    for (const Binding& other : step.other_names)
      out << ' ' << other.parent << ' ' << encode_name(other.name);
    out << '\n';
  }
  return out.str();
}

std::optional<PushBatch> decode_batch(std::string_view text, const PendingChanges& pending) {
  std::istringstream in{std::string(text)};
  PushBatch out;
  size_t action = 0;
  size_t count = 0;
  if (!(in >> action) || action >= kMaxActions || !read_name(in, out.spare) || !(in >> count))
    return std::nullopt;
  // What is cleared away by that name is never anybody else's.
  if (!out.spare.empty() && !is_spare_name(out.spare)) return std::nullopt;
  out.action = static_cast<PushAction>(action);
  for (size_t i = 0; i < count; ++i) {
    PushStep step;
    if (!read_step(in, pending, out.steps, step)) return std::nullopt;
    out.steps.push_back(std::move(step));
  }
  if (out.steps.empty()) return std::nullopt;
  return out;
}

}  // namespace rsyncfs
