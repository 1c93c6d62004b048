#!/usr/bin/env bash
# Looks at guest-driver/ with sparse, for each kernel, and with the kernel's checkpatch.pl. Prints one
# line each; ends with failure if there is anything to say.
#
# checkpatch.pl is in the kernel's source package only: of that, just its files are unpacked.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$lab/packages.sh"

tools=$cache/lint

fetch_lint() {
  [[ ! -e $tools/scripts/checkpatch.pl ]] || return 0
  set_up_apt
  refresh_apt
  echo "fetching sparse and checkpatch.pl"
  unpack "$tools" sparse "linux-source-$dom0_series"
  tar -C "$tools" --strip-components=1 -xJf "$tools/usr/src/linux-source-$dom0_series.tar.xz" \
    --wildcards '*/scripts/checkpatch.pl' '*/scripts/spelling.txt' '*/scripts/const_structs.checkpatch'
  rm "$tools/usr/src/linux-source-$dom0_series.tar.xz"
}

# report WHAT LOG PATTERN: passes if nothing in the log is like the pattern.
report() {
  if grep -E -A4 -- "$3" "$2"; then
    echo "FAIL  $1 (log: $2)"
    failed=1
  else
    echo "PASS  $1"
  fi
}

checkpatch() { perl "$tools/scripts/checkpatch.pl" --no-signoff --terse --show-types "$@" || true; }

run_checkpatch() {
  cd "$repo/guest-driver"
  checkpatch -f -- *.[ch] test/*{evil,bench,echo}*.[ch]
  # A user's program has the C library's types, and signals.
  checkpatch --ignore PREFER_KERNEL_TYPES,PREFER_FALLTHROUGH,LONG_LINE_STRING,VOLATILE -f test/swap_verify.c
  rm -f .checkpatch-camelcase.*
}

mkdir -p "$cache/log"
with_lock lint fetch_lint
failed=0
for series in "${all_series[@]}"; do
  log=$cache/log/sparse-$series.log
  MODULE_FLAGS="C=2 CHECK=$tools/usr/bin/sparse" "$lab/module.sh" "$series" >"$log" 2>&1 ||
    { cat "$log" && die "the module does not build for $series"; }
  # Of the kernel's own headers nobody here is the author.
  grep -v 'usr/src/linux-headers' "$cache/module/$series/make.log" >"$log" || true
  grep -q CHECK "$log" || die "sparse did not look at anything for $series: $log"
  report "sparse-$series" "$log" '(warning|error):'
done
(run_checkpatch) >"$cache/log/checkpatch.log" 2>&1
report checkpatch "$cache/log/checkpatch.log" '(WARNING|ERROR|CHECK):|No structs|Can.t open'
((!failed))
