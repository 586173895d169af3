// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/doctor/name_veil.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <set>

#include "io/base/text.h"
#include "sync/transport/source.h"

namespace rsyncfs {
namespace {

constexpr std::string_view kHidden = "_";
constexpr std::string_view kMasked = "***";
constexpr int kErrnos = 134;

// Words of messages that are worth keeping, wherever they stand. None is of interest as the name of a file.
const std::set<std::string, std::less<>>& plain_words() {
  static const std::set<std::string, std::less<>> kWords = {
      "ERROR",     "a",           "again",       "allows",
      "and",       "answering",   "at",          "authentication",
      "auth",      "bytes",       "cannot",      "changed",
      "closed",    "code",        "compress",    "connect",
      "connected", "connection",  "connections", "directory",
      "entries",   "error",       "failed",      "failure",
      "file",      "files",       "for",         "from",
      "has",       "host",        "in",          "is",
      "listed",    "lost",        "max",         "module",
      "no",        "not",         "of",          "on",
      "once",      "only",        "opendir",     "permission",
      "protocol",  "read",        "reached",     "refused",
      "refuses",   "retry",       "rsync",       "s",
      "server",    "session",     "stopped",     "syntax",
      "the",       "timed",       "timeout",     "to",
      "try",       "unreachable", "usage",       "version",
      "was",       "with",        "write"};
  return kWords;
}

const std::set<std::string, std::less<>>& system_texts() {
  static const std::set<std::string, std::less<>> kTexts = [] {
    std::set<std::string, std::less<>> made;
    for (int number = 1; number < kErrnos; ++number) made.emplace(std::strerror(number));
    for (size_t code = 0; code < kErrcCount; ++code) made.emplace(errc_name(static_cast<Errc>(code)));
    return made;
  }();
  return kTexts;
}

bool is_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '\'';
  });
}

bool is_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '%';
  });
}

// `keep` decides about each word; what stands around words stays.
template <class Keep>
std::string filtered(std::string_view text, const Keep& keep) {
  std::string out;
  while (!text.empty()) {
    const size_t blank = std::min(text.find(' '), text.size());
    const std::string_view token = text.substr(0, blank);
    constexpr std::string_view kAround = "()[],;:\"'";
    const size_t begin = std::min(token.find_first_not_of(kAround), token.size());
    const size_t end = token.find_last_not_of(kAround);
    const std::string_view word = end == std::string_view::npos ? "" : token.substr(begin, end - begin + 1);
    if (word.empty() || keep(word)) {
      out += token;
    } else {
      out.append(token.substr(0, begin)).append(kHidden).append(token.substr(end + 1));
    }
    text.remove_prefix(blank);
    if (text.empty()) break;
    out += ' ';
    text.remove_prefix(1);
  }
  return out;
}

// "retry in 4 s" and "(13)" stay, as do the kernel's own words.
std::string part_of_line(std::string_view part) {
  std::string_view bare = part;
  if (const size_t bracket = bare.rfind(" ("); bracket != std::string_view::npos && bare.ends_with(')'))
    bare = bare.substr(0, bracket);
  if (const size_t comma = bare.find(", retry in "); comma != std::string_view::npos)
    bare = bare.substr(0, comma);
  const auto plain = [](std::string_view word) { return is_number(word) || plain_words().contains(word); };
  if (!system_texts().contains(bare)) return filtered(part, plain);
  return std::string(bare) + filtered(part.substr(bare.size()), plain);
}

}  // namespace

std::string without_url_passwords(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(" \t\n\"',"), text.size());
    std::string_view word = text.substr(0, end);
    const size_t scheme = word.find("://");
    const size_t begin = scheme == std::string_view::npos ? 0 : scheme + 3;
    const size_t host_end = std::min(word.find('/', begin), word.size());
    const size_t at = word.substr(0, host_end).rfind('@');
    const size_t colon = at == std::string_view::npos ? at : word.find(':', begin);
    if (colon != std::string_view::npos && colon < at) {
      out.append(word.substr(0, colon + 1)).append(kMasked).append(word.substr(at));
    } else {
      out += word;
    }
    if (end < text.size()) out += text[end];
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

void NameVeil::add_secret(std::string_view secret) {
  if (!secret.empty()) secrets_.emplace_back(secret);
}

void NameVeil::add_place(std::string_view path, std::string_view word) {
  if (path.size() > 1) places_.emplace_back(path, word);
  // The longest first: one may lie in another.
  std::stable_sort(places_.begin(), places_.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
}

std::string NameVeil::path(std::string_view path) {
  if (names_) return text(path);
  std::string out;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    if (!name.empty()) {
      const auto [found, is_new] =
          known_.try_emplace(std::string(name), "n" + std::to_string(known_.size() + 1));
      out += found->second;
    }
    if (slash < path.size()) out += '/';
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return out;
}

std::string NameVeil::text(std::string_view text) const {
  std::string out = without_url_passwords(text);
  const auto replace = [&out](std::string_view what, std::string_view by) {
    for (size_t at = 0; (at = out.find(what, at)) != std::string::npos; at += by.size())
      out.replace(at, what.size(), by);
  };
  for (const std::string& secret : secrets_) replace(secret, kMasked);
  if (names_) return out;
  for (const auto& [path, word] : places_) replace(path, word);
  return out;
}

std::string NameVeil::line(std::string_view line, bool begins_ours) const {
  std::string cleared = text(line);
  if (names_) return cleared;
  std::string out;
  std::string_view rest = cleared;
  for (bool first = true; !rest.empty(); first = false) {
    const size_t colon = std::min(rest.find(": "), rest.size());
    const std::string_view part = rest.substr(0, colon);
    if (!first) out += ": ";
    out += first && begins_ours
               ? filtered(part, [](std::string_view word) { return is_word(word) || is_number(word); })
               : part_of_line(part);
    rest.remove_prefix(std::min(colon + 2, rest.size()));
  }
  return out;
}

std::string NameVeil::failing(const std::string& path_and_reason) {
  const size_t colon = path_and_reason.find(": ");
  if (colon == std::string::npos) return line(path_and_reason, false);
  return path(std::string_view(path_and_reason).substr(0, colon)) + ": " +
         line(std::string_view(path_and_reason).substr(colon + 2), false);
}

MountStatus NameVeil::status(MountStatus status) {
  SyncerStatus& syncer = status.syncer;
  if (!names_) {
    const Result<Source> parsed = parse_source(status.source);
    Source source = parsed ? *parsed : Source();
    source.path = path(source.path);
    status.source = parsed ? source.canonical() : std::string(kHidden);
    status.mountpoint = path(status.mountpoint);
    status.state_directory = path(status.state_directory);
  }
  status.source = text(status.source);
  status.read_only_reason = line(status.read_only_reason, false);
  syncer.link_text = line(syncer.link_text, true);
  syncer.last_error = line(syncer.last_error, false);
  syncer.push.stopped = line(syncer.push.stopped, true);
  for (std::string& one : syncer.failing_paths) one = failing(one);
  for (std::string& one : syncer.push.failing) one = failing(one);
  for (TransferStatus& transfer : syncer.transfers) transfer.path = path(transfer.path);
  for (TransferStatus& transfer : syncer.push.sending) transfer.path = path(transfer.path);
  return status;
}

}  // namespace rsyncfs
