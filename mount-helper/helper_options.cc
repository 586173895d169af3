// SPDX-License-Identifier: GPL-3.0-or-later
#include "mount-helper/helper_options.h"

#include <algorithm>
#include <array>
#include <functional>
#include <string_view>
#include <utility>

namespace rsyncfs {
namespace {

// Items of an option list as they stand; a comma after a backslash does not end one.
std::vector<std::string> split_list(std::string_view list) {
  std::vector<std::string> items;
  std::string item;
  for (size_t i = 0; i <= list.size(); ++i) {
    if (i == list.size() || list[i] == ',') {
      if (!item.empty()) items.push_back(std::exchange(item, {}));
      continue;
    }
    item += list[i];
    if (list[i] == '\\' && i + 1 < list.size()) item += list[++i];
  }
  return items;
}

// Meant for mount(8), for fstab's readers and for systemd; it would pass them on to nobody.
bool is_for_others(std::string_view option) {
  constexpr std::array<std::string_view, 10> kNames = {"auto",  "noauto", "nofail", "_netdev", "user",
                                                       "users", "nouser", "owner",  "group",   "defaults"};
  const std::string_view name = option.substr(0, option.find('='));
  return name.starts_with("x-") || name.starts_with("X-") || name == "comment" ||
         std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

void take_options(HelperCall& call, std::string_view list) {
  for (std::string& option : split_list(list)) {
    if (option == "remount") {
      call.remount = true;
    } else if (option == "rw" || option == "ro") {
      call.read_write = option == "rw";
    } else if (!is_for_others(option)) {
      call.options.push_back(std::move(option));
    }
  }
}

// Which letters there are: alone, or with a value.
struct Letters {
  std::string_view alone;
  std::string_view with_value;
};

// Letters may stand together ("-sn"), and the last may have its value attached or as the next word. Returns
// what is no option.
Result<std::vector<std::string>> take_letters(
    const std::vector<std::string>& words, Letters letters,
    const std::function<void(char letter, const std::string& value)>& take) {
  std::vector<std::string> positional;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.size() < 2 || word[0] != '-') {
      positional.push_back(word);
      continue;
    }
    for (size_t at = 1; at < word.size(); ++at) {
      const char letter = word[at];
      if (letters.alone.find(letter) != std::string_view::npos) {
        take(letter, "");
        continue;
      }
      if (letters.with_value.find(letter) == std::string_view::npos) {
        return Error(Errc::kUsage, "unknown option '-" + std::string(1, letter) + "'");
      }
      std::string value = word.substr(at + 1);
      if (value.empty() && ++i == words.size()) {
        return Error(Errc::kUsage, "option '-" + std::string(1, letter) + "' needs a value");
      }
      take(letter, value.empty() ? words[i] : value);
      break;
    }
  }
  return positional;
}

}  // namespace

Result<HelperCall> parse_helper_call(const std::vector<std::string>& words) {
  HelperCall call;
  auto taken = take_letters(words, {"sfnv", "oNt"}, [&call](char letter, const std::string& value) {
    if (letter == 's') call.sloppy = true;
    if (letter == 'f') call.fake = true;
    if (letter == 'v') call.verbose = true;
    if (letter == 'o') take_options(call, value);
    if (letter == 'N') call.mount_namespace = value;
  });
  if (!taken) return taken.error();
  std::vector<std::string>& positional = *taken;
  if (positional.size() != 2)
    return Error(Errc::kUsage, "SOURCE and MOUNTPOINT are needed, as mount(8) gives them");
  call.source = std::move(positional[0]);
  call.mountpoint = std::move(positional[1]);
  return call;
}

std::vector<std::string> mount_arguments(const HelperCall& call) {
  std::vector<std::string> arguments = {"mount"};
  if (call.verbose) arguments.emplace_back("-v");
  std::string list = call.sloppy ? "sloppy" : "";
  // mount(8) says "rw" of everything that is not "ro", so that it is no wish of anybody's.
  if (call.read_write == false) list += list.empty() ? "ro" : ",ro";
  for (const std::string& option : call.options) list += (list.empty() ? "" : ",") + option;
  if (!list.empty()) arguments.insert(arguments.end(), {"-o", list});
  arguments.insert(arguments.end(), {"--", call.source, call.mountpoint});
  return arguments;
}

Result<UnmountCall> parse_unmount_call(const std::vector<std::string>& words) {
  UnmountCall call;
  auto taken = take_letters(words, {"flnrvi", "Nt"}, [&call](char letter, const std::string& value) {
    if (letter == 'l') call.lazy = true;
    if (letter == 'f') call.force = true;
    if (letter == 'N') call.mount_namespace = value;
  });
  if (!taken) return taken.error();
  if (taken->size() != 1) return Error(Errc::kUsage, "one MOUNTPOINT is needed, as umount(8) gives it");
  call.mountpoint = std::move(taken->front());
  return call;
}

std::vector<std::string> unmount_arguments(const UnmountCall& call) {
  std::vector<std::string> arguments = {"umount"};
  // Who forces it does not want to wait for a daemon that may hang.
  if (call.lazy || call.force) arguments.emplace_back("--lazy");
  arguments.insert(arguments.end(), {"--", call.mountpoint});
  return arguments;
}

bool tells_writable(std::string_view status_json) {
  // Written by our own program, without a space; a name in it has its quotation marks escaped.
  return status_json.find("\"writable\":true") != std::string_view::npos;
}

int helper_exit_code(int program_exit_code) {
  switch (program_exit_code) {
    case 0:
      return 0;
    case 1:
      return kMountFailed;
    case 2:
      return kMountUsage;
    default:
      return kMountSystem;
  }
}

}  // namespace rsyncfs
