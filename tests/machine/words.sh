#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Manual pages and completions say what the program says of itself.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=machine.sh disable=SC2154
source "$here/machine.sh"
build=$1
packaging=$here/../../packaging
program=$build/rsyncfs
PATH=$build:$PATH

help=$("$program" --help)
options=$(sed -n '/^The source:/,/^State is kept/s/^  \([a-z_0-9]*\)\(=\|  \| *$\).*/\1/p' <<<"$help")
check "there are options" test "$(wc -w <<<"$options")" -gt 50

echo "# manual pages"
page=$(sed 's/\\f.//g; s/\\-/-/g; s/\\e/\\/g' "$build/packaging/rsyncfs.1")
for option in $options; do has "the page has $option" "$page" "$option"; done
for verb in umount status info fetch free pin unpin flush refresh verify conflicts resume doctor; do
  has "the page has $verb" "$page" "rsyncfs $verb"
  check "$verb has a --help" "$program" "$verb" --help
done
if command -v man >/dev/null; then
  for file in rsyncfs.1 mount.rsyncfs.8; do
    equal "$file is sound" "$(LC_ALL=C.UTF-8 MANROFFSEQ='' man --warnings -l -Tutf8 "$build/packaging/$file" 2>&1 >/dev/null)" ""
  done
fi
letters=$(sed 's/\\f.//g; s/\\-/-/g' "$build/packaging/mount.rsyncfs.8" | sed -n '/^.SH SYNOPSIS/,/^.SH DESC/p')
has "the letters of mount" "$letters" "-sfnv"
has "the letters of umount" "$letters" "-flnrv"

echo "# bash"
# shellcheck source=/dev/null
source "$packaging/completion/rsyncfs.bash"
# shellcheck disable=SC2317 # _rsyncfs calls it
compopt() { :; }
complete_words() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  COMPREPLY=()
  _rsyncfs
  echo "${COMPREPLY[*]}"
}
equal "a verb" "$(complete_words rsyncfs flu)" flush
equal "another" "$(complete_words rsyncfs unp)" unpin
equal "an option" "$(complete_words rsyncfs src mnt -o password_)" password_file=
equal "the second of a list" "$(complete_words rsyncfs src mnt -o ro,cache_s)" ro,cache_size=
has "values that are words" "$(complete_words rsyncfs src mnt -o ro,conflict=)" ro,conflict=remote
equal "a long flag of a verb" "$(complete_words rsyncfs verify --rem)" --remote
equal "a mount option as a long flag" "$(complete_words rsyncfs src mnt --writeb)" --writeback_delay=
all=$(_rsyncfs_mount_options | tr -d =)
for option in $options; do has "bash knows $option" " ${all//$'\n'/ } " " $option "; done

echo "# zsh, fish"
! command -v zsh >/dev/null || check "zsh takes its file" zsh -n "$packaging/completion/_rsyncfs"
if command -v fish >/dev/null; then
  check "fish takes its file" fish -n "$packaging/completion/rsyncfs.fish"
  has "fish completes a verb" "$(fish -c "source $packaging/completion/rsyncfs.fish; complete -C'rsyncfs flu'")" flush
  has "fish completes an option" "$(fish -c "source $packaging/completion/rsyncfs.fish; complete -C'rsyncfs a b -o ro,cache_s'")" ro,cache_size=
fi
finish
