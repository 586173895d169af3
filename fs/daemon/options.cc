// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/options.h"

#include <algorithm>

#include "fs/daemon/nearest_word.h"

namespace rsyncfs {
namespace {

std::string canonical_name(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

bool starts_with_x(std::string_view name) {
  return name.size() > 2 && (name[0] == 'x' || name[0] == 'X') && (name[1] == '-' || name[1] == '_');
}

// Names of one meaning for another reader: not a table entry, so that it is in no list.
constexpr OptionSpec kForOthers{"x-*", "", "",
                                [](MountOptions&, std::string_view) { return Result<void>(); }};

// Names that others have, and for which there is a way out. None is a table entry, so that --help has none.
// libfuse makes of it a mount that everybody may enter, and looks at who asks in each request. What the
// kernel has in its caches it gives without one. Known all the same, so that it is refused with the way out.
constexpr OptionSpec kAllowRoot{
    "allow_root", "", "", [](MountOptions&, std::string_view) {
      return Result<void>(Error(
          Errc::kUsage,
          "refused, because the kernel would show every user what it has cached; allow_other lets root and "
          "all others in, and the permissions shown are checked; without either only you get in"));
    }};

constexpr OptionSpec kIconv{
    "iconv", "SPEC", "", [](MountOptions&, std::string_view) {
      return Result<void>(Error(Errc::kUsage,
                                "names are not converted here: they are shown byte by byte as the source has "
                                "them; leave it out, and convert in a program that shows them"));
    }};

constexpr OptionSpec kSkipCompress{
    "skip_compress", "LIST", "", [](MountOptions&, std::string_view) {
      return Result<void>(
          Error(Errc::kUsage,
                "it has no effect in rsync either, since no codec changes its level from file to "
                "file; leave it out, or use compress=none"));
    }};

}  // namespace

const OptionSpec* find_option(std::string_view name) {
  if (starts_with_x(name)) return &kForOthers;
  const std::string wanted = canonical_name(name);
  for (const OptionSpec* refused : {&kAllowRoot, &kIconv, &kSkipCompress}) {
    if (wanted == refused->name) return refused;
  }
  for (const OptionGroup& group : option_groups()) {
    for (const OptionSpec& spec : group.options) {
      if (spec.name == wanted) return &spec;
    }
  }
  return nullptr;
}

std::string nearest_option(std::string_view name) {
  std::vector<std::string_view> known;
  for (const OptionGroup& group : option_groups()) {
    for (const OptionSpec& spec : group.options) known.push_back(spec.name);
  }
  return nearest_word(canonical_name(name), known);
}

Result<void> apply_option(MountOptions& options, std::string_view name,
                          std::optional<std::string_view> value) {
  const std::string shown = "option '" + std::string(name) + "'";
  const OptionSpec* spec = find_option(name);
  if (spec == nullptr && options.sloppy) return {};
  if (spec == nullptr) {
    const std::string near = nearest_option(name);
    return Error(Errc::kUsage,
                 "unknown " + shown +
                     (near.empty() ? "; `rsyncfs --help` lists them" : "; did you mean '" + near + "'?"));
  }
  if (spec == &kForOthers) return {};
  if (spec->argument.empty() && value) return Error(Errc::kUsage, shown + " takes no value");
  if (!spec->argument.empty() && !value) {
    return Error(Errc::kUsage,
                 shown + " needs a value: " + std::string(spec->name) + "=" + std::string(spec->argument));
  }
  const Result<void> parsed = spec->parse(options, value.value_or(""));
  if (parsed) return {};
  return Error(Errc::kUsage, shown + (value ? ": bad value '" + std::string(*value) + "': " : ": ") +
                                 parsed.error().message());
}

std::vector<std::string> split_option_list(std::string_view list) {
  std::vector<std::string> items;
  std::string item;
  const auto finish = [&] {
    if (!item.empty()) items.push_back(std::move(item));
    item.clear();
  };
  for (size_t i = 0; i < list.size(); ++i) {
    const bool escapes =
        list[i] == '\\' && i + 1 < list.size() && (list[i + 1] == ',' || list[i + 1] == '\\');
    if (escapes) {
      item += list[++i];
    } else if (list[i] == ',') {
      finish();
    } else {
      item += list[i];
    }
  }
  finish();
  return items;
}

std::string join_option_list(std::span<const std::string> items) {
  std::string list;
  for (const std::string& item : items) {
    if (!list.empty()) list += ',';
    for (const char c : item) {
      if (c == ',' || c == '\\') list += '\\';
      list += c;
    }
  }
  return list;
}

Result<void> apply_option_list(MountOptions& options, std::string_view list) {
  for (const std::string& item : split_option_list(list)) {
    const size_t equal = item.find('=');
    const std::string_view whole = item;
    Result<void> applied = equal == std::string::npos
                               ? apply_option(options, whole, std::nullopt)
                               : apply_option(options, whole.substr(0, equal), whole.substr(equal + 1));
    if (!applied) return applied;
  }
  return {};
}

}  // namespace rsyncfs
