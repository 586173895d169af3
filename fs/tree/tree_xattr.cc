// SPDX-License-Identifier: GPL-3.0-or-later
// The part of Tree that deals with extended attributes and ACLs.
#include <linux/limits.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fs/tree/acl.h"
#include "fs/tree/tree.h"
#include "fs/tree/xattr_names.h"

namespace rsyncfs {
namespace {

constexpr std::string_view kTrustedPrefix = "trusted.";
constexpr int kMaxAttempts = 10;  // to read attributes that are being changed

Error no_data(std::string_view name) {
  if (!is_kept_xattr(name) && !is_posix_acl(name)) {
    return Error(Errc::kUnsupported, "no such kind of extended attribute");
  }
  return Error::os(ENODATA, "extended attribute");
}

void answer_value(std::string value, size_t limit, Done<XattrValue> done) {
  const uint64_t size = value.size();
  if (limit == 0) return done(XattrValue{size, {}});
  if (size > limit) return done(Error::os(ERANGE, "extended attribute"));
  done(XattrValue{size, std::move(value)});
}

}  // namespace

Result<Tree::FoundXattr> Tree::find_xattr(NodeId id, std::string_view name, bool with_value) const {
  for (int attempt = 1;; ++attempt) {
    const Result<Node> node = present_node(id);
    if (!node) return node.error();
    if (node->xattr_set == 0) return no_data(name);
    Result<StoredXattrs> all = replica_.xattrs(id);
    if (!all) return all.error();
    const auto found =
        std::find_if(all->begin(), all->end(), [name](const StoredXattr& x) { return x.name == name; });
    if (found == all->end()) return no_data(name);
    if (!found->abbreviated) {
      if (is_posix_acl(name)) {
        if (auto mapped = map_acl_ids(found->value, syncer_.ids())) found->value = std::move(*mapped);
      }
      return FoundXattr{found->value.size(), std::move(found->value), false};
    }
    if (!with_value) return FoundXattr{found->size, {}, false};
    Result<std::optional<std::string>> value = replica_.xattr_value(found->value, found->size);
    if (!value) return value.error();
    if (value->has_value()) return FoundXattr{found->size, std::move(**value), false};
    // It was never here; or somebody gave the attribute another, and this one went.
    const Result<Node> now = present_node(id);
    if (!now) return now.error();
    if (now->xattr_set == node->xattr_set || attempt == kMaxAttempts)
      return FoundXattr{found->size, {}, true};
  }
}

RequestId Tree::getxattr(NodeId id, std::string_view name, size_t limit, Done<XattrValue> done) {
  const AnswerGate::Section section(gate_);
  if (is_own_xattr(name)) {
    if (name != kStateXattr) {
      done(no_data(name));
      return 0;
    }
    Result<std::string> text = state(id);
    if (text) {
      answer_value(std::move(*text), limit, std::move(done));
    } else {
      done(text.error());
    }
    return 0;
  }
  Result<FoundXattr> found = find_xattr(id, name, limit != 0);
  if (!found) {
    done(found.error());
    return 0;
  }
  if (found->size > XATTR_SIZE_MAX) {  // as other systems have
    done(Error::os(E2BIG, "the value is longer than Linux can show"));
    return 0;
  }
  if (limit == 0) {
    done(XattrValue{found->size, {}});
    return 0;
  }
  if (!found->missing) {
    answer_value(std::move(found->value), limit, std::move(done));
    return 0;
  }
  return syncer_.fetch_xattrs(id, [this, id, name = std::string(name), limit,
                                   done = std::move(done)](const Result<void>& fetched) mutable {
    if (!fetched) return done(fetched.error());
    executor_.submit([this, id, name = std::move(name), limit, done = std::move(done)]() mutable {
      const AnswerGate::Section after_fetch(gate_);
      answer_xattr(id, name, limit, std::move(done));
    });
  });
}

void Tree::answer_xattr(NodeId id, std::string_view name, size_t limit, Done<XattrValue> done) {
  Result<FoundXattr> found = find_xattr(id, name, true);
  if (!found) return done(found.error());
  if (found->missing)
    return done(Error(Errc::kChanged, "the extended attribute changed while it was fetched"));
  answer_value(std::move(found->value), limit, std::move(done));
}

void Tree::listxattr(NodeId id, bool privileged, Done<std::string> done) {
  const AnswerGate::Section section(gate_);
  const Result<Node> node = present_node(id);
  if (!node) return done(node.error());
  std::string names;
  if (node->xattr_set != 0) {
    const Result<StoredXattrs> all = replica_.xattrs(id);
    if (!all) return done(all.error());
    for (const StoredXattr& x : *all) {
      if (is_own_xattr(x.name)) continue;
      if (!privileged && x.name.starts_with(kTrustedPrefix)) continue;
      names.append(x.name).push_back('\0');
    }
  }
  done(std::move(names));
}

}  // namespace rsyncfs
