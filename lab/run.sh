#!/usr/bin/env bash
# Runs scenarios, one after the other, and prints one line each:
#
#   PASS  smoke-6.1        41 s  pages=400 ...
#   FAIL  refused-5.10    300 s  not within 60 s: ... (log: ...)
#
# After a FAIL come the last lines of what the consoles said before it was noticed.
#
#   lab/run.sh NAME...    a scenario, one run of it (smoke-6.1), or all
#
# Ends with failure if one failed. Logs are in the cache, under log/.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$lab/image.sh"
. "$lab/boot.sh"
. "$lab/scenario.sh"

(($#)) || die "which scenario? tools/xenlab list names them"

# What no kernel may print while it works, whatever the scenario says of itself.
crash='BUG: |BUG [^ ]+ \(|Oops|kernel BUG at|WARNING: |general protection|Kernel panic|kmemleak: [1-9]|Xen BUG|Panic on CPU|INFO: (task .* blocked|trying to register)'

# But these, which guests print as well that swap to a disk and never saw the module. 6.1 on Xen
# warns when it drops swapped pages, because paravirtualised page tables are changed lazily.
known='include/linux/mm_inline.h:[0-9]+ unmap_page_range'

# verdict LOG STATUS LIMIT: prints PASS or FAIL, then figures or the reason.
verdict() {
  local log=$1 status=$2 limit=$3 bad
  bad=$(grep -aoE "LAB-FAIL .*" "$log" | head -n 1)
  [[ $bad ]] ||
    bad=$(grep -aE -- "$crash" "$log" | grep -avE -- "$known" | head -n 1 | cut -c1-160)
  if [[ -z $bad ]] && ! grep -aq 'LAB-PASS' "$log"; then
    bad="the emulator ended with status $status before the scenario did"
    ((status != 124 && status != 137)) || bad="not done within $limit s"
    bad+=", last: $(grep -aoE '(LAB|GUEST)-SAY .*' "$log" | tail -n 1)"
  fi
  if [[ $bad ]]; then
    echo "FAIL ${bad#LAB-FAIL } (log: $log)"
  else
    echo "PASS $(grep -aoE 'LAB-FIGURE .*' "$log" | sed 's/LAB-FIGURE //' | xargs)"
  fi
}

# run NAME-SERIES
run() {
  local name=${1%-*} series_now=${1##*-} log=$cache/log/$1.log start=$SECONDS status=0 initrd result
  load_scenario "$name"
  [[ $series_now != debug ]] || time_limit=$((time_limit * 4))
  if ! prepare_scenario; then
    printf '%s  %-18s %4d s  %s\n' FAIL "$1" "$((SECONDS - start))" "what it needs could not be built"
    return 1
  fi
  initrd=$(scenario_initrd "$name" "$series_now")
  export -f run_tool boot tool tool_libraries die
  export cache dom0_series dom0_memory
  # The emulator goes with this script, however this script goes.
  setpriv --pdeathsig TERM timeout --kill-after=10 "$time_limit" bash -c 'boot "$@"' _ "$initrd" \
    "$memory" "$cpus" "lab.scenario=$1" stdio "$(scenario_disk)" </dev/null 2>&1 |
    python3 "$lab/timestamps.py" >"$log" || status=${PIPESTATUS[0]}
  rm -f "$initrd"
  result=$(verdict "$log" "$status" "$time_limit")
  printf '%s  %-18s %4d s  %s\n' "${result%% *}" "$1" "$((SECONDS - start))" "${result#* }"
  [[ $result == PASS* ]] || { tail_of "$log" && return 1; }
}

# The end of a log, indented; what a failed scenario prints after its verdict counts as well.
tail_of() {
  grep -aE -- "LAB-|GUEST-|tmemd\||$crash" "$1" | tail -n 15 | cut -c1-200 | sed 's/^/    /'
  echo "    ..."
  tail -n 30 "$1" | cut -c1-200 | sed 's/^/    /'
}

runs=()
for name in "$@"; do
  mapfile -t -O "${#runs[@]}" runs < <(expand "$name")
done
((${#runs[@]})) || exit 1
mapfile -t series < <(printf '%s\n' "${runs[@]##*-}" | sort -uV)
"$lab/build.sh" "${series[@]}"
mkdir -p "$cache/log"
failed=0
exec 8>"$cache/.lock-run"
flock 8
for one in "${runs[@]}"; do
  run "$one" || failed=$((failed + 1))
done
((failed == 0))
