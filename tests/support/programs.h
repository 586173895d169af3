// SPDX-License-Identifier: GPL-3.0-or-later
// What people do with a directory: version control, databases, builds, archives, copies and editors.
#pragma once

namespace rsyncfs::support {

// For `bash -c`; $1: an empty directory, $2: one outside of it. What is not installed is left out. What it
// prints is the same wherever it runs, the leading slashes of the directories aside; it ends with the names
// there are.
inline constexpr const char* kPrograms = R"sh(
set -eu
cd "$1"
export HOME="$1" GIT_CONFIG_NOSYSTEM=1 LC_ALL=C
has() { command -v "$1" >/dev/null; }
if has git; then
  mkdir repository; cd repository
  git init -q .
  git config user.email a@b; git config user.name n; git config gc.auto 0
  for i in $(seq 60); do echo "file $i" > "f$i"; done
  git add .; git commit -qm one
  for i in $(seq 1 3 60); do echo more >> "f$i"; done
  git mv f1 moved; git commit -qam two
  git gc -q; git fsck --full --strict 2>&1
  git clone -q . ../clone
  [ -z "$(git -C ../clone status --porcelain)" ]; git log --format=%s
  cd ..
  diff -r -x .git repository clone
fi
if has sqlite3; then
  for mode in wal delete; do
    sqlite3 $mode.db "pragma journal_mode=$mode; create table t(a integer primary key, b);
      with recursive c(x) as (select 1 union all select x+1 from c where x<500) insert into t select x, hex(zeroblob(100)) from c;
      update t set b='x' where a%3=0; begin; delete from t; rollback; delete from t where a%7=0; vacuum;
      pragma integrity_check; select count(*), sum(a) from t;"
  done
fi
if has make && has cc; then
  mkdir project; cd project
  for i in 1 2; do echo "int f$i(int x) { return x + $i; }" > f$i.c; done
  echo 'int f1(int); int f2(int); int main(void) { return f1(f2(-3)); }' > main.c
  printf 'program: main.o f1.o f2.o\n\tcc -o $@ main.o f1.o f2.o\nclean:\n\trm -f *.o program\n' > Makefile
  make -s; ./program; make -q; make -s clean; make -s; ./program
  cd ..
fi
mkdir tree; for d in a b c; do mkdir tree/$d; for i in $(seq 30); do echo "$d $i" > "tree/$d/$i"; done; done
ln tree/a/1 tree/b/hard; ln -s ../a/2 tree/c/link; chmod 640 tree/a/3
tar cf tree.tar tree; mkdir untarred; tar xf tree.tar -C untarred; diff -r tree untarred/tree
if has rsync; then
  rsync -aHAX tree/ copy/; rsync -aHAXc --itemize-changes tree/ copy/
  rsync -aHAX copy/ "$2/"; rsync -aHAXc --itemize-changes "$2/" copy/
fi
# As editors save: beside, synced, and renamed over.
echo one > document; cp -p document document~; echo two > .document.new; sync .document.new; mv .document.new document
cat document document~
# As Emacs does: the file itself goes aside, and what is written anew takes its name.
echo one > text; ln text text.link; mv text text~; echo three > text; chmod --reference=text~ text; cat text text~ text.link
# Or keeps its file: written over, with a copy beside it.
cp -p text '#text#'; echo four > text; rm '#text#'; cat text
if has vim; then vim -es -u NONE -N -c 'set backup writebackup backupcopy=no' -c '%s/two/three/' -c 'wq' document; cat document; fi
rm -r untarred tree
find . -path ./repository -prune -o -path ./clone -prune -o -path ./project -prune -o -print | sort
)sh";

}  // namespace rsyncfs::support
