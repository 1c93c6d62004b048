#!/usr/bin/env bash
# Prints the scenarios: name, kernels, what it shows.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$lab/scenario.sh"

for name in $(all_scenarios); do
  load_scenario "$name"
  printf '%-16s %-16s %s\n' "$name" "${series[*]}" "$summary"
done
