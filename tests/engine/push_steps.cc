// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/engine/push_steps.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "tests/support/files.h"

namespace rsyncfs {

namespace fs = std::filesystem;
using support::random_bytes;

namespace {

TreeItem file(std::string contents, unsigned links = 1) {
  return {'f', std::move(contents), links};
}
const TreeItem kDirectory{'d', "", 1};

template <class T>
T must(Result<T> result, const std::string& what) {
  if (!result) throw std::runtime_error(what + ": " + result.error().message());
  return std::move(result).value();
}
void must(const Result<void>& result, const std::string& what) {
  if (!result) throw std::runtime_error(what + ": " + result.error().message());
}

NodeId find(EngineRig& rig, const std::string& path) {
  return must(rig.find(path), path).id;
}
void rename(EngineRig& rig, const std::string& from, const std::string& to) {
  must(rig.find(from), from);
  must(rig.rename(from, to), from);
}
void remove(EngineRig& rig, const std::string& path) {
  must(rig.find(path), path);
  must(rig.remove(path), path);
}
void make(EngineRig& rig, const std::string& directory, const std::string& name, uint32_t mode,
          const std::string& target = "") {
  NewNode node;
  node.mode = mode;
  node.uid = getuid();
  node.gid = getgid();
  node.link_target = target;
  must(rig.replica().local().create(find(rig, directory), name, node), name);
}
void write_at(EngineRig& rig, const std::string& path, uint64_t offset, std::string_view data) {
  const NodeId node = find(rig, path);
  must(rig.replica().local().write(node, offset, std::as_bytes(std::span(data))), path);
}
std::string changed(std::string bytes, size_t at, std::string_view with) {
  return bytes.replace(at, with.size(), with);
}

PushStepCase create_case() {
  return {"create",
          {{"in", kDirectory}},
          {{"in", kDirectory},
           {"in/d", kDirectory},
           {"in/d/e", kDirectory},
           {"in/d/link", {'l', "somewhere/else", 1}},
           {"in/pipe", {'p', "", 1}}},
          [](EngineRig& rig, const std::string& dir) {
            must(rig.make_directory(dir + "/in/d"), "d");
            must(rig.make_directory(dir + "/in/d/e"), "e");
            make(rig, dir + "/in/d", "link", S_IFLNK | 0777, "somewhere/else");
            make(rig, dir + "/in", "pipe", S_IFIFO | 0600);
          }};
}

PushStepCase move_case() {
  PushStepCase out{"move", {}, {}, [](EngineRig& rig, const std::string& dir) {
                     for (const char* name : {"f", "g", "sub"})
                       rename(rig, dir + "/from/" + name, dir + "/to/" + name);
                   }};
  const Tree moved = {{"f", file(random_bytes(5000, 1))},
                      {"g", file("g")},
                      {"sub", kDirectory},
                      {"sub/deep", kDirectory},
                      {"sub/deep/h", file("hhh")},
                      {"sub/i", file(random_bytes(3000, 2))}};
  out.before = {{"from", kDirectory}, {"from/stays", file("stays")}, {"to", kDirectory}};
  out.after = out.before;
  for (const auto& [path, item] : moved) {
    out.before["from/" + path] = item;
    out.after["to/" + path] = item;
  }
  return out;
}

PushStepCase rename_directory_case() {
  PushStepCase out{"rename_directory", {}, {}, [](EngineRig& rig, const std::string& dir) {
                     rename(rig, dir + "/old", dir + "/new");
                   }};
  for (const auto& [root, tree] : {std::pair("old", &out.before), std::pair("new", &out.after)}) {
    const std::string at = root;
    *tree = {{at, kDirectory}, {at + "/d", kDirectory}, {at + "/link", {'l', "target", 1}}};
    for (int i = 0; i < 5; ++i) {
      (*tree)[at + "/f" + std::to_string(i)] = file(random_bytes(2000, 10 + i));
      (*tree)[at + "/d/g" + std::to_string(i)] = file(random_bytes(100, 20 + i));
    }
  }
  return out;
}

PushStepCase link_case() {
  const std::string a = random_bytes(4000, 3);
  return {"link",
          {{"a", file(a)}, {"b", file("bbb")}, {"d", kDirectory}},
          {{"d", kDirectory},
           {"a2", file(a)},
           {"b", file("bbb", 3)},
           {"b2", file("bbb", 3)},
           {"d/b3", file("bbb", 3)}},
          [](EngineRig& rig, const std::string& dir) {
            rename(rig, dir + "/a", dir + "/a2");
            const NodeId b = find(rig, dir + "/b");
            must(rig.replica().local().link(b, find(rig, dir), "b2"), "b2");
            must(rig.replica().local().link(b, find(rig, dir + "/d"), "b3"), "b3");
          }};
}

PushStepCase replace_case() {
  const std::string one = random_bytes(6000, 4);
  const std::string two = random_bytes(6000, 5);
  return {"replace",
          {{"a", file(one)}, {"b", file("old b")}, {"c", file(two)}, {"d", file("old d")}},
          {{"b", file(one)}, {"d", file(two)}},
          [](EngineRig& rig, const std::string& dir) {
            must(rig.find(dir + "/b"), "b");
            rename(rig, dir + "/a", dir + "/b");
            rename(rig, dir + "/c", dir + "/d");
          }};
}

PushStepCase exchange_case() {
  return {"exchange",
          {{"a", file("aaa")}, {"b", file("bbbbb")}, {"d", kDirectory}, {"d/c", file("c")}},
          {{"a", file("bbbbb")}, {"b", file("aaa")}, {"d", kDirectory}, {"d/c", file("c")}},
          [](EngineRig& rig, const std::string& dir) {
            const NodeId parent = find(rig, dir);
            must(rig.replica().local().rename(parent, "a", parent, "b", RenameMode::kExchange), "a");
          },
          false,
          true};
}

PushStepCase new_data_case() {
  const std::string large = random_bytes(90'000, 6);
  return {"new_data",
          {{"d", kDirectory}, {"d/saved", file("as it was before")}},
          {{"d", kDirectory},
           {"d/empty", file("")},
           {"d/large", file(large)},
           {"d/new", kDirectory},
           {"d/new/small", file("small")},
           {"d/saved", file("as it was saved")}},
          [large](EngineRig& rig, const std::string& dir) {
            must(rig.make_directory(dir + "/d/new"), "new");
            must(rig.write(dir + "/d/empty", ""), "empty");
            must(rig.write(dir + "/d/large", large), "large");
            must(rig.write(dir + "/d/new/small", "small"), "small");
            must(rig.write(dir + "/d/saved.tmp", "as it was saved"), "saved");
            rename(rig, dir + "/d/saved.tmp", dir + "/d/saved");
          }};
}

PushStepCase delta_case() {
  const std::string large = random_bytes(300'000, 7);
  const std::string small = random_bytes(3'000, 8);
  return {"delta",
          {{"large", file(large)}, {"shorter", file("0123456789")}, {"small", file(small)}},
          {{"large", file(changed(large, 140'000, "changed here"))},
           {"shorter", file("0123")},
           {"small", file(changed(small, 7, "and here"))}},
          [](EngineRig& rig, const std::string& dir) {
            for (const char* name : {"/large", "/small", "/shorter"})
              must(rig.hydrate(find(rig, dir + name)), name);
            write_at(rig, dir + "/large", 140'000, "changed here");
            write_at(rig, dir + "/small", 7, "and here");
            must(rig.replica().local().resize(find(rig, dir + "/shorter"), 4), "shorter");
          }};
}

PushStepCase append_case() {
  const std::string log = random_bytes(100'000, 9);
  const std::string more = random_bytes(60'000, 10);
  return {"append",
          {{"log", file(log)}, {"log2", file(log)}},
          {{"log", file(log + more)}, {"log2", file(log + "a line\n")}},
          [more](EngineRig& rig, const std::string& dir) {
            write_at(rig, dir + "/log", 100'000, more);
            write_at(rig, dir + "/log2", 100'000, "a line\n");
          },
          true};
}

PushStepCase linked_data_case() {
  const std::string before = random_bytes(20'000, 11);
  const std::string after = changed(before, 5000, "changed");
  return {"linked_data",
          {{"a", file(before, 3)}, {"a2", file(before, 3)}, {"d", kDirectory}, {"d/a3", file(before, 3)}},
          {{"a", file(after, 3)}, {"a2", file(after, 3)}, {"d", kDirectory}, {"d/a3", file(after, 3)}},
          [](EngineRig& rig, const std::string& dir) {
            must(rig.hydrate(find(rig, dir + "/a")), "a");
            write_at(rig, dir + "/a", 5000, "changed");
          }};
}

PushStepCase attributes_case() {
  PushStepCase out{
      "attributes",
      {{"d", kDirectory}, {"d/f", file("fff")}, {"g", file("ggg")}, {"l", {'l', "x", 1}}},
      {},
      [](EngineRig& rig, const std::string& dir) {
        auto& local = rig.replica().local();
        const FileTime time{1'500'000'000, 123};
        must(local.change_attributes(find(rig, dir + "/d"), {.permissions = 0700}), "d");
        must(local.change_attributes(find(rig, dir + "/d/f"), {.permissions = 0600, .mtime = time}), "f");
        must(local.change_attributes(find(rig, dir + "/g"), {.mtime = time}), "g");
        must(local.change_attributes(find(rig, dir + "/l"), {.mtime = time}), "l");
      }};
  out.after = out.before;
  return out;
}

PushStepCase delete_case() {
  return {"delete",
          {{"d", kDirectory},
           {"d/e", kDirectory},
           {"d/e/f", file("f")},
           {"d/g", file("g")},
           {"h", file("h")},
           {"l", {'l', "h", 1}},
           {"stays", file("stays")}},
          {{"stays", file("stays")}},
          [](EngineRig& rig, const std::string& dir) {
            for (const char* path : {"/d/e/f", "/d/e", "/d/g", "/d", "/h", "/l"}) remove(rig, dir + path);
          }};
}

PushStepCase type_change_case() {
  return {"type_change",
          {{"a", file("was a file")}, {"b", kDirectory}, {"b/in", file("in b")}},
          {{"a", kDirectory}, {"a/in", file("in a")}, {"b", file("is a file")}},
          [](EngineRig& rig, const std::string& dir) {
            remove(rig, dir + "/a");
            must(rig.make_directory(dir + "/a"), "a");
            must(rig.write(dir + "/a/in", "in a"), "a/in");
            remove(rig, dir + "/b/in");
            remove(rig, dir + "/b");
            must(rig.write(dir + "/b", "is a file"), "b");
          },
          false,
          true};
}

// ".NAME.XXXXXX", as a server calls what it is writing.
bool is_temporary(const std::string& name) {
  constexpr size_t kSuffix = 7;
  return name.size() > kSuffix + 1 && name.front() == '.' && name[name.size() - kSuffix] == '.';
}

void add_local(EngineRig& rig, const std::string& path, NodeId directory, const std::string& below,
               Tree& out) {
  std::vector<std::pair<std::string, Node>> names;
  must(rig.replica().list(directory,
                          [&](std::string_view name, const Node& node) { names.emplace_back(name, node); }),
       path);
  for (const auto& [name, node] : names) {
    TreeItem& item = out[below + name];
    const std::string whole = path + "/" + name;
    if (S_ISDIR(node.attr.mode)) {
      item = kDirectory;
      add_local(rig, whole, node.id, below + name + "/", out);
    } else if (S_ISLNK(node.attr.mode)) {
      item = {'l', must(rig.replica().link_target(node.id), whole), 1};
    } else if (S_ISREG(node.attr.mode)) {
      const auto dirty = rig.replica().local().dirty(node.id);
      item = {'f', "", node.attr.nlink};
      if (!dirty) {
        item.contents = must(rig.read_all(whole), whole);
        continue;
      }
      item.contents.resize(dirty->size());
      std::vector<ExtentSet::Range> missing;
      must(dirty->read(0, std::as_writable_bytes(std::span(item.contents)), missing), whole);
      if (!missing.empty()) item.contents = must(rig.read_all(whole), whole);
    } else {
      item = {'p', "", 1};
    }
  }
}

}  // namespace

bool is_debris(const std::string& path) {
  const fs::path all(path);
  return std::any_of(all.begin(), all.end(), [](const fs::path& part) {
    const std::string name = part.string();
    return name.starts_with(".rsyncfs-") || name == ".~tmp~" || is_temporary(name);
  });
}

Tree read_tree(const std::string& directory) {
  Tree out;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    TreeItem& item = out[entry.path().lexically_relative(directory).string()];
    struct stat st {};
    if (lstat(entry.path().c_str(), &st) != 0) continue;
    if (S_ISDIR(st.st_mode)) {
      item = kDirectory;
    } else if (S_ISLNK(st.st_mode)) {
      item = {'l', fs::read_symlink(entry.path()).string(), 1};
    } else if (S_ISREG(st.st_mode)) {
      item = {'f', support::read_file(entry.path().string()), static_cast<unsigned>(st.st_nlink)};
    } else {
      item = {'p', "", 1};
    }
  }
  return out;
}

Tree read_local_tree(EngineRig& rig, const std::string& directory) {
  Tree out;
  add_local(rig, directory, find(rig, directory), "", out);
  return out;
}

// Files of several names: all of equal contents are one.
void write_tree(const Tree& tree, const std::string& directory) {
  std::map<std::string, std::string> linked;
  for (const auto& [path, item] : tree) {
    const std::string at = directory + "/" + path;
    if (item.type == 'd') {
      support::make_dirs(at);
    } else if (item.type == 'l') {
      fs::create_symlink(item.contents, at);
    } else if (item.links > 1 && linked.contains(item.contents)) {
      fs::create_hard_link(linked[item.contents], at);
    } else {
      support::write_file(at, item.contents);
      if (item.links > 1) linked[item.contents] = at;
    }
  }
}

std::string tree_difference(const Tree& expected, const Tree& found) {
  std::string out;
  for (const auto& [path, item] : expected) {
    const auto other = found.find(path);
    if (other == found.end()) {
      out += path + " is missing\n";
    } else if (other->second.type != item.type || other->second.contents != item.contents) {
      out += path + " differs\n";
    } else if (other->second.links != item.links) {
      out += path + " has " + std::to_string(other->second.links) + " names\n";
    }
  }
  for (const auto& [path, item] : found) {
    if (!expected.contains(path)) out += path + " is too much\n";
  }
  return out;
}

namespace {

bool is_version(const PushStepCase& step, const Tree& tree, const std::string& path, const TreeItem& found) {
  const auto expected = tree.find(path);
  if (expected == tree.end() || expected->second.type != found.type) return false;
  if (expected->second.contents == found.contents) return true;
  const auto old = step.before.find(path);
  return step.grows && old != step.before.end() && found.contents.starts_with(old->second.contents) &&
         expected->second.contents.starts_with(found.contents);
}

bool is_somewhere(const Tree& found, const TreeItem& item) {
  return std::any_of(found.begin(), found.end(), [&](const auto& entry) {
    return entry.second.type == item.type && entry.second.contents == item.contents;
  });
}

}  // namespace

std::string broken_state(const PushStepCase& step, const Tree& found) {
  std::string out;
  for (const auto& [path, item] : found) {
    if (is_debris(path)) continue;
    if (!is_version(step, step.before, path, item) && !is_version(step, step.after, path, item))
      out += path + " is neither old nor new\n";
  }
  for (const auto& [path, item] : step.before) {
    const bool stays = step.after.contains(path);
    if (stays && !step.gaps && !found.contains(path)) out += path + " is away\n";
    const bool kept =
        is_somewhere(step.after, item) && !(stays && step.after.at(path).contents == item.contents);
    if (kept && !is_somewhere(found, item)) out += path + " is nowhere\n";
  }
  return out;
}

const std::vector<PushStepCase>& push_step_cases() {
  static const std::vector<PushStepCase> cases = {
      create_case(),     move_case(),        rename_directory_case(), link_case(),
      replace_case(),    exchange_case(),    new_data_case(),         delta_case(),
      append_case(),     linked_data_case(), attributes_case(),       delete_case(),
      type_change_case()};
  return cases;
}

}  // namespace rsyncfs
