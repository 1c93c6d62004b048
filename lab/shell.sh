#!/usr/bin/env bash
# An interactive dom0 with the images of a scenario (smoke by default). It ends with "exit", or at
# once with Ctrl-A X.
#
#   lab/shell.sh [NAME[-SERIES]]
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$lab/image.sh"
. "$lab/boot.sh"
. "$lab/scenario.sh"

one=$(expand "${1:-smoke-$dom0_series}" | head -n 1)
"$lab/build.sh" "${one##*-}"
load_scenario "${one%-*}"
prepare_scenario
initrd=$(scenario_initrd "${one%-*}" "${one##*-}")
trap 'rm -f "$initrd"' EXIT
boot "$initrd" "$memory" "$cpus" "lab.shell lab.scenario=$one" mon:stdio "$(scenario_disk)"
