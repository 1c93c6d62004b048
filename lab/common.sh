# Sourced by every script of the lab: where things are, and how failures are told.
#
#   $lab    the lab's own scripts (this folder)
#   $repo   the checkout
#   $cache  what is downloaded or built; may be deleted at any time, is made again when needed
#             apt/       a private apt state, so that the machine's own is not touched
#             tools/     QEMU, Xen and programs for the images, unpacked
#             kernel/    one unpacked kernel with its headers a series: kernel/6.1/...; or a built one
#             vmlinux/   the kernels as Xen boots them
#             module/    guest-driver/ built, one folder a series
#             image/     initramfs archives
#             lint/      sparse and checkpatch.pl
#             log/       what the scenarios printed
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(dirname "$lab")
cache=${TMEM_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tmemd-lab}
mkdir -p "$cache"

# The kernel series that guests run; dom0 runs dom0_series. One more, "debug", is built here
# (debug-kernel.sh), for the scenarios that ask for it.
all_series=(5.10 6.1 6.12)
dom0_series=6.1

die() {
  echo "xenlab: $*" >&2
  exit 1
}

# The first of the unpacked tools and this machine that has the file: tool /usr/bin/busybox.
# A merged /usr is assumed of neither.
tool() {
  local path alternative
  path=$1 alternative=${1#/usr}
  for file in "$cache/tools$path" "$cache/tools$alternative" "$path" "$alternative"; do
    [[ -e $file ]] && echo "$file" && return
  done
  die "no $path: neither among the unpacked tools nor on this machine (try: tools/xenlab fetch --again)"
}

# A program that was unpacked needs the libraries that were unpacked with it.
tool_libraries() {
  echo "$cache/tools/usr/lib/x86_64-linux-gnu:$cache/tools/lib/x86_64-linux-gnu"
}

run_tool() {
  local program
  program=$(tool "$1")
  shift
  LD_LIBRARY_PATH=$(tool_libraries) "$program" "$@"
}

# kmod's programs are one, which looks at its name: run_kmod depmod ...
run_kmod() {
  local program
  program=$(tool /usr/bin/kmod)
  (
    export LD_LIBRARY_PATH
    LD_LIBRARY_PATH=$(tool_libraries)
    exec -a "$1" "$program" "${@:2}"
  )
}

# Runs a command quietly; its output is shown only if it fails: quietly LOG COMMAND...
quietly() {
  local log=$1 status
  shift
  mkdir -p "$(dirname "$log")"
  # Not as a condition: a function then goes on after what fails in it.
  set +e
  (set -e && "$@") >"$log" 2>&1
  status=$?
  set -e
  if ((status)); then
    tail -n 30 "$log" >&2
    die "failed: $* (the whole log is $log)"
  fi
}

# One xenlab at a time may change a part of the cache: with_lock PART COMMAND...
with_lock() {
  local part=$1
  shift
  (
    flock 9
    "$@"
  ) 9>"$cache/.lock-$part"
}

is_series() { [[ " ${all_series[*]} debug " == *" $1 "* ]]; }

# The release of an unpacked kernel, as uname -r prints it there: kernel_release 6.1
kernel_release() { cat "$cache/kernel/$1/release"; }
