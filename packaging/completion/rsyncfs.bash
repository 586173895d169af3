# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion of rsyncfs(1). Verbs and options come from the program's own --help.

_rsyncfs_verbs() { rsyncfs --help 2>/dev/null | sed -n '/^$/q; /^rsyncfs [a-z]/{h; s/^rsyncfs \([a-z]*\).*/\1/p; g; s/.*, rsyncfs \([a-z]*\) .*/\1/p}'; }

# NAME or NAME= for each mount option.
_rsyncfs_mount_options() {
  rsyncfs --help 2>/dev/null | sed -n '/^The source:/,/^State is kept/s/^  \([a-z_0-9]*\)\(=\?\).*/\1\2/p'
}

_rsyncfs_flags() { rsyncfs "$1" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*'; }

_rsyncfs_mounts() { awk '$3 ~ /^fuse\.rsyncfs$/ { print $2 }' /proc/self/mounts | sed 's/\\040/ /g'; }

# The last of a list of options, and the values that are words.
_rsyncfs_option_list() {
  local current=$1 before='' last=$1
  case $current in *,*) before=${current%,*}, last=${current##*,} ;; esac
  local words
  case $last in
    conflict=*) words='conflict=copy conflict=local conflict=remote' ;;
    fsync=*) words='fsync=local fsync=remote' ;;
    io=*) words='io=auto io=uring io=threads' ;;
    profile=*) words='profile=auto profile=small profile=large' ;;
    poll=*) words='poll=auto poll=off' ;;
    protocol=*) words='protocol=30 protocol=31 protocol=32' ;;
    log_level=*) words='log_level=trace log_level=debug log_level=info log_level=warning log_level=error' ;;
    password_file=* | log_file=* | store=*)
      mapfile -t COMPREPLY < <(compgen -f -P "$before${last%%=*}=" -- "${last#*=}")
      return ;;
    *) words=$(_rsyncfs_mount_options) ;;
  esac
  mapfile -t COMPREPLY < <(compgen -P "$before" -W "$words" -- "$last")
  compopt -o nospace
}

_rsyncfs() {
  local current previous words cword
  COMPREPLY=()
  # '=', ':' and ',' are parts of words here.
  words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
  if declare -F _get_comp_words_by_ref >/dev/null; then _get_comp_words_by_ref -n '=:,' -w words -i cword; fi
  current=${words[cword]} previous=${words[cword - 1]}
  local verb=${words[1]}
  if [ "$previous" = -o ]; then
    _rsyncfs_option_list "$current"
    return
  fi
  if [ "$cword" = 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_rsyncfs_verbs) --help --version" -- "$current")
    return
  fi
  case $current in
    -*)
      case " $(_rsyncfs_verbs | tr '\n' ' ')" in
        *" $verb "*) mapfile -t COMPREPLY < <(compgen -W "$(_rsyncfs_flags "$verb")" -- "$current") ;;
        *) mapfile -t COMPREPLY < <(compgen -W "-o -f -d -v -q $(_rsyncfs_mount_options | sed 's/^/--/')" -- "$current") ;;
      esac
      return ;;
  esac
  case $verb in
    umount | status | conflicts | resume)
      local IFS=$'\n'
      mapfile -t COMPREPLY < <(compgen -W "$(_rsyncfs_mounts)" -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames ;;
  esac
}
complete -F _rsyncfs rsyncfs
