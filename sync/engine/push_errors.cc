// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_errors.h"

#include <algorithm>
#include <cerrno>

#include "sync/rsync/server_text.h"

namespace rsyncfs {

namespace {

constexpr size_t kMaxKeptTexts = 1024;
constexpr size_t kTempSuffix = 7;  // ".XXXXXX"
constexpr size_t kMaxName = 255;

Error error_of(const std::string& text) {
  const int err = trailing_errno(text);
  const Errc code = err == EACCES || err == EPERM ? Errc::kPermission : Errc::kOs;
  return Error(code, text).with_errno(err == 0 ? EIO : err);
}

// The name under which a receiver writes the file of that path: ".NAME.XXXXXX" beside it, NAME perhaps cut.
bool is_temporary_of(std::string_view quoted, std::string_view path) {
  const size_t slash = path.rfind('/');
  const std::string_view directory =
      slash == std::string_view::npos ? std::string_view() : path.substr(0, slash + 1);
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  const size_t last = quoted.rfind('/');
  const std::string_view temp = last == std::string_view::npos ? quoted : quoted.substr(last + 1);
  if (last != std::string_view::npos && !quoted.substr(0, last + 1).ends_with(directory)) return false;
  if (temp.size() <= kTempSuffix + 1 || temp.front() != '.') return false;
  const std::string_view stem = temp.substr(1, temp.size() - 1 - kTempSuffix);
  const bool cut = stem.size() + kTempSuffix + 1 >= kMaxName && name.starts_with(stem);
  return (name == stem || cut) && temp[temp.size() - kTempSuffix] == '.';
}

// At its end, and not only the end of a longer name or word.
bool ends_with_path(std::string_view text, std::string_view path) {
  if (!text.ends_with(path)) return false;
  const char before = text.size() == path.size() ? '/' : text[text.size() - path.size() - 1];
  return before == '/' || before == ' ';
}

bool is_about(std::string_view text, std::string_view path) {
  const size_t begin = text.find('"');
  if (begin == std::string_view::npos) return ends_with_path(text, path);
  const size_t end = text.rfind('"');
  const std::string_view quoted = text.substr(begin + 1, end > begin ? end - begin - 1 : 0);
  if (is_temporary_of(quoted, path)) return true;
  if (!quoted.ends_with(path)) return false;
  return quoted.size() == path.size() || quoted[quoted.size() - path.size() - 1] == '/';
}

}  // namespace

void PushErrors::add(MessageKind kind, std::string_view text) {
  // What could not be done for an entry is an error, but for directories that are not empty: an info.
  if (kind == MessageKind::kInfo && !text.starts_with("cannot delete")) return;
  if (kind == MessageKind::kMotd) return;
  while (text.ends_with('\n')) text.remove_suffix(1);
  if (texts_.size() < kMaxKeptTexts) texts_.emplace_back(text);
}

std::optional<Error> PushErrors::about(std::string_view path) const {
  const auto found =
      std::find_if(texts_.begin(), texts_.end(), [&](const auto& text) { return is_about(text, path); });
  return found == texts_.end() ? std::nullopt : std::optional<Error>(error_of(*found));
}

bool PushErrors::mention(std::string_view path) const {
  return std::any_of(texts_.begin(), texts_.end(),
                     [&](const auto& text) { return text.find(path) != std::string::npos; });
}

Error PushErrors::last(std::string_view otherwise) const {
  return texts_.empty() ? Error(Errc::kOs, std::string(otherwise)).with_errno(EIO) : error_of(texts_.back());
}

}  // namespace rsyncfs
