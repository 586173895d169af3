// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/house/house_rules.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>

namespace rsyncfs::house {

namespace {

constexpr size_t kMaxLines = 600;
constexpr std::string_view kLicence = "SPDX-License-Identifier: GPL-3.0-or-later";

// A box and the boxes it may include besides itself; the order is that of ARCHITECTURE.md, bottom first.
struct Box {
  std::string_view name;
  std::vector<std::string_view> may_include;
};

const std::vector<Box>& boxes() {
  static const std::vector<Box> kBoxes = [] {
    std::vector<Box> made = {
        {"io/base", {}},
        {"io", {"io/base"}},
        {"sync/rsync", {"io/base"}},  // bytes in, bytes out: no I/O of its own
        {"sync/replica", {"io/base", "io"}},
        {"sync/transport", {"io/base", "io"}},
        {"sync/engine", {"io/base", "io", "sync/rsync", "sync/replica", "sync/transport"}},
    };
    const auto above = [&made](std::string_view name, std::initializer_list<std::string_view> extra) {
      Box box{name, made[5].may_include};
      box.may_include.emplace_back("sync/engine");
      box.may_include.insert(box.may_include.end(), extra);
      made.push_back(std::move(box));
    };
    above("fs/tree", {});
    above("fs/fuse", {"fs/tree"});
    above("fs/control", {});
    above("fs/daemon", {"fs/tree", "fs/fuse", "fs/control"});
    above("fs/doctor", {"fs/fuse", "fs/control", "fs/daemon"});
    above("fs/cli", {"fs/control", "fs/daemon", "fs/doctor"});
    made.push_back({"mount-helper", {"io/base"}});
    return made;
  }();
  return kBoxes;
}

// Boxes that may include everything, and that no other box may include.
constexpr std::array<std::string_view, 2> kOutside = {"tests", "bench"};

struct Library {
  std::string_view header_prefix;
  std::string_view box;  // the only folder that may include it
};
constexpr std::array<Library, 5> kLibraries = {{{"fuse", "fs/fuse"},
                                                {"liburing", "io/uring"},
                                                {"linux/io_uring", "io/uring"},
                                                {"sqlite3", "sync/replica"},
                                                {"xxh", "io/base"}}};

constexpr std::array<std::string_view, 15> kTopLevel = {"CMakeLists.txt",
                                                        "CMakePresets.json",
                                                        "ARCHITECTURE.md",
                                                        "CHANGELOG.md",
                                                        "CONTRIBUTING.md",
                                                        "LICENSE",
                                                        "README.md",
                                                        "SECURITY.md",
                                                        "bench",
                                                        "cmake",
                                                        "fs",
                                                        "io",
                                                        "mount-helper",
                                                        "packaging",
                                                        "sync"};

bool is_within(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

bool is_outside(std::string_view path) {
  return std::ranges::any_of(kOutside, [path](std::string_view box) { return is_within(path, box); });
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string at(std::string_view path, size_t line, const std::string& what) {
  return std::string(path) + ":" + std::to_string(line) + ": " + what;
}

bool is_word_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool has_word(std::string_view line, std::string_view word) {
  for (size_t begin = line.find(word); begin != std::string_view::npos; begin = line.find(word, begin + 1)) {
    const size_t end = begin + word.size();
    const bool starts = begin == 0 || !is_word_char(line[begin - 1]);
    if (starts && (end == line.size() || !is_word_char(line[end]))) return true;
  }
  return false;
}

struct Include {
  std::string_view header;
  bool quoted = false;
};

std::optional<Include> include_of(std::string_view line) {
  const auto skip_blanks = [&line] {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  };
  const auto skip = [&](std::string_view word) {
    skip_blanks();
    if (!line.starts_with(word)) return false;
    line.remove_prefix(word.size());
    return true;
  };
  if (!skip("#") || !skip("include")) return std::nullopt;
  skip_blanks();
  if (line.empty() || (line.front() != '"' && line.front() != '<')) return std::nullopt;
  const bool quoted = line.front() == '"';
  line.remove_prefix(1);
  return Include{line.substr(0, line.find(quoted ? '"' : '>')), quoted};
}

// Why `path` may not include this header; empty: it may.
std::string objection(std::string_view path, std::string_view header, bool quoted) {
  if (!quoted) {
    for (const Library& library : kLibraries) {
      if (!header.starts_with(library.header_prefix) || is_within(path, library.box)) continue;
      return "<" + std::string(header) + "> belongs to " + std::string(library.box);
    }
    return {};
  }
  if (is_outside(header)) return "\"" + std::string(header) + "\" is for tests and benchmarks only";
  const std::string_view from = box_of(path);
  const std::string_view to = box_of(header);
  if (to.empty()) return "\"" + std::string(header) + "\" is not a path from the top of the project";
  if (from == to) return {};
  const auto box = std::ranges::find(boxes(), from, &Box::name);
  if (box == boxes().end()) return "is in no box that may include something";
  if (std::ranges::find(box->may_include, to) != box->may_include.end()) return {};
  return std::string(from) + " may not include " + std::string(to) + " (\"" + std::string(header) + "\")";
}

std::vector<std::string> walk(const std::string& top) {
  std::vector<std::string> files;
  for (auto entry = std::filesystem::recursive_directory_iterator(top);
       entry != std::filesystem::recursive_directory_iterator(); ++entry) {
    const std::string name = entry->path().lexically_relative(top);
    if (name == ".git" || name == "build") entry.disable_recursion_pending();
    if (entry->is_regular_file() && name != ".git") files.push_back(name);
  }
  return files;
}

}  // namespace

std::string_view box_of(std::string_view path) {
  std::string_view best;
  for (const Box& box : boxes()) {
    if (is_within(path, box.name) && box.name.size() > best.size()) best = box.name;
  }
  for (const std::string_view box : kOutside) {
    if (is_within(path, box)) best = box;
  }
  return best;
}

bool is_source(std::string_view path, std::string_view text) {
  constexpr std::array<std::string_view, 6> kEndings = {".h", ".cc", ".c", ".cmake", ".sh", ".py"};
  return std::ranges::any_of(kEndings, [path](std::string_view ending) { return path.ends_with(ending); }) ||
         path == "CMakeLists.txt" || path.ends_with("/CMakeLists.txt") || text.starts_with("#!");
}

Complaints check_licence(std::string_view path, std::string_view text) {
  if (!is_source(path, text)) return {};
  const auto lines = lines_of(text);
  const size_t first = text.starts_with("#!") ? 1 : 0;
  const bool hash = path.ends_with(".cmake") || path.ends_with(".sh") || path.ends_with(".py") ||
                    path.ends_with("CMakeLists.txt") || text.starts_with("#!");
  const std::string wanted = (hash ? "# " : "// ") + std::string(kLicence);
  if (lines.size() > first && lines[first] == wanted) return {};
  return {at(path, first + 1, "is not \"" + wanted + "\"")};
}

Complaints check_includes(std::string_view path, std::string_view text) {
  if (!path.ends_with(".h") && !path.ends_with(".cc") && !path.ends_with(".c")) return {};
  if (is_outside(path)) return {};
  Complaints complaints;
  const auto lines = lines_of(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto include = include_of(lines[i]);
    if (!include) continue;
    const std::string why = objection(path, include->header, include->quoted);
    if (!why.empty()) complaints.push_back(at(path, i + 1, why));
  }
  return complaints;
}

Complaints check_length(std::string_view path, std::string_view text) {
  if (!is_source(path, text)) return {};
  const size_t lines = lines_of(text).size();
  if (lines <= kMaxLines) return {};
  return {at(path, kMaxLines + 1, std::to_string(lines) + " lines; which noun is missing?")};
}

Complaints check_leftovers(std::string_view path, std::string_view text) {
  if (!is_source(path, text) && !path.ends_with(".md")) return {};
  // In halves, so that this file does not complain of itself.
  static const std::array<std::string, 3> kWords = {std::string("TO") + "DO", std::string("FIX") + "ME",
                                                    std::string("X") + "XX"};
  Complaints complaints;
  const auto lines = lines_of(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    const bool left = std::ranges::any_of(kWords, [&](const auto& word) { return has_word(lines[i], word); });
    if (left) complaints.push_back(at(path, i + 1, "something is left to do"));
  }
  return complaints;
}

Complaints check_top_level(std::string_view path) {
  const std::string_view name = path.substr(0, path.find('/'));
  if (name.starts_with('.') || name == "tests" || std::ranges::find(kTopLevel, name) != kTopLevel.end())
    return {};
  return {std::string(path) + ": \"" + std::string(name) + "\" does not belong at the top"};
}

std::vector<std::string> project_files(const std::string& top) {
  if (!std::filesystem::exists(top + "/.git")) return walk(top);
  // Whoever runs the tests need not own the checkout.
  const std::string command = "git -c safe.directory='*' -C '" + top + "' ls-files -z";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  std::string listing;
  std::array<char, 4096> buffer{};
  for (size_t n = 0; pipe && (n = std::fread(buffer.data(), 1, buffer.size(), pipe.get())) > 0;) {
    listing.append(buffer.data(), n);
  }
  std::vector<std::string> files;
  for (size_t begin = 0; begin < listing.size();) {
    const size_t end = listing.find('\0', begin);
    std::string name = listing.substr(begin, end - begin);
    if (std::filesystem::is_regular_file(std::filesystem::path(top) / name)) files.push_back(std::move(name));
    begin = end + 1;
  }
  return files.empty() ? walk(top) : files;
}

}  // namespace rsyncfs::house
