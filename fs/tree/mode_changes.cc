// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/mode_changes.h"

#include <sys/stat.h>

#include <algorithm>
#include <string>

namespace rsyncfs {

namespace {

constexpr uint32_t kOwner = 0100;
constexpr uint32_t kGroup = 0010;
constexpr uint32_t kOther = 0001;
constexpr uint32_t kEverybody = kOwner | kGroup | kOther;
constexpr uint32_t kRwx = 07;
constexpr size_t kMaxClauses = 256;

// The special bit that belongs to each of these classes.
uint32_t special_bits(uint32_t classes) {
  return ((classes & kOwner) != 0 ? S_ISUID : 0) | ((classes & kGroup) != 0 ? S_ISGID : 0) |
         ((classes & kOther) != 0 ? S_ISVTX : 0);
}

Error wrong(std::string_view clause) {
  return Error(Errc::kUsage, "'" + std::string(clause) +
                                 "' is no change of a mode; they are as rsync --chmod has them, such as "
                                 "Dg+s,Fo-w,+X or D755,F644");
}

}  // namespace

// One clause.
class ModeChanges::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text), rest_(text) {}

  Result<Clause> parse(uint32_t umask) {
    take_types();
    if (!clause_.directories && !clause_.others) return wrong(text_);
    if (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '7') return parse_octal();
    take_classes();
    const bool said = classes_ != 0;
    if (!said) classes_ = kEverybody;
    if (!take_op() || !take_permissions()) return wrong(text_);
    const uint32_t mask = said ? ALLPERMS : ALLPERMS & ~umask;
    clause_.bits = ((classes_ * permissions_) & mask) | special_;
    clause_.copied_to = classes_;
    clause_.copy_mask = mask;
    if (set_) {
      clause_.cleared = classes_ * kRwx;
      if (special_ != 0) clause_.cleared |= said_special_;
      if (clause_.copied != kNoCopy) clause_.cleared |= special_bits(classes_);
    }
    return clause_;
  }

 private:
  void take_types() {
    clause_.copied = kNoCopy;
    for (; !rest_.empty() && (rest_.front() == 'D' || rest_.front() == 'F'); rest_.remove_prefix(1))
      (rest_.front() == 'D' ? clause_.others : clause_.directories) = false;
  }

  Result<Clause> parse_octal() {
    clause_.cleared = ALLPERMS;
    for (const char c : rest_) {
      if (c < '0' || c > '7') return wrong(text_);
      clause_.bits = clause_.bits * 8 + static_cast<uint32_t>(c - '0');
      if (clause_.bits > ALLPERMS) return wrong(text_);
    }
    return clause_;
  }

  void take_classes() {
    for (; !rest_.empty(); rest_.remove_prefix(1)) {
      switch (rest_.front()) {
        case 'u':
          classes_ |= kOwner;
          said_special_ |= S_ISUID;
          break;
        case 'g':
          classes_ |= kGroup;
          said_special_ |= S_ISGID;
          break;
        case 'o':
          classes_ |= kOther;
          break;
        case 'a':
          classes_ |= kEverybody;
          said_special_ |= S_ISUID | S_ISGID;
          break;
        default:
          return;
      }
    }
  }

  bool take_op() {
    if (rest_.empty()) return false;
    switch (rest_.front()) {
      case '+':
        break;
      case '-':
        clause_.op = Op::kTake;
        break;
      case '=':
        set_ = true;
        break;
      default:
        return false;
    }
    rest_.remove_prefix(1);
    return true;
  }

  bool take_permissions() {
    if (rest_.size() == 1 && take_copy(rest_.front())) return true;
    for (const char c : rest_) {
      switch (c) {
        case 'r':
          permissions_ |= 4;
          break;
        case 'w':
          permissions_ |= 2;
          break;
        case 'X':
          clause_.conditional = true;
          permissions_ |= 1;
          break;
        case 'x':
          permissions_ |= 1;
          break;
        case 's':
          special_ |= said_special_ != 0 ? said_special_ : S_ISUID;
          break;
        case 't':
          special_ |= S_ISVTX;
          break;
        default:
          return false;
      }
    }
    return true;
  }

  bool take_copy(char from) {
    if (from != 'u' && from != 'g' && from != 'o') return false;
    clause_.copied = from == 'u' ? 6 : from == 'g' ? 3 : 0;
    return true;
  }

  const std::string_view text_;
  std::string_view rest_;
  Clause clause_;
  bool set_ = false;
  uint32_t classes_ = 0;
  uint32_t said_special_ = 0;  // what 's' means for the classes that were said
  uint32_t permissions_ = 0;
  uint32_t special_ = 0;
};

Result<void> ModeChanges::add(std::string_view text, uint32_t umask) {
  std::vector<Clause> parsed;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string_view word = text.substr(at, end - at);
    const Result<Clause> clause = Parser(word).parse(umask);
    if (!clause) return clause.error();
    if (clauses_.size() + parsed.size() == kMaxClauses) return wrong(word);
    parsed.push_back(*clause);
    at = end + 1;
  }
  clauses_.insert(clauses_.end(), parsed.begin(), parsed.end());
  return {};
}

uint32_t ModeChanges::apply(uint32_t mode) const {
  if (S_ISLNK(mode)) return mode;
  const bool directory = S_ISDIR(mode);
  const uint32_t type = mode & S_IFMT;
  const bool may_run = (mode & kEverybody) != 0;
  mode &= ALLPERMS;
  for (const Clause& clause : clauses_) {
    if (directory ? !clause.directories : !clause.others) continue;
    uint32_t bits = clause.bits;
    // A clause that takes 'X' away does so everywhere: as in rsync the condition is of what is given.
    const bool gives = clause.op != Op::kTake;
    if (clause.conditional && gives && !may_run && !directory) bits &= ~kEverybody;
    const uint32_t copied = clause.copied == kNoCopy
                                ? 0
                                : (clause.copied_to * ((mode >> clause.copied) & kRwx)) & clause.copy_mask;
    mode = gives ? (mode & ~clause.cleared) | bits | copied : mode & ~(bits | copied);
  }
  return type | mode;
}

}  // namespace rsyncfs
