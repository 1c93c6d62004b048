# Scenarios: folders of lab/scenarios/ with
#   scenario    what follows below, as shell variables
#   dom0.sh     runs in dom0 (functions: lab/dom0/lib.sh); prints the verdict
#   guest.sh    runs in each guest (functions: lab/guest/lib.sh)
# A scenario runs once for each kernel series that it names, as NAME-SERIES. Sourced.

scenarios=$lab/scenarios

# load_scenario NAME: sets the variables of the scenario.
load_scenario() {
  summary='' series=("${all_series[@]}") time_limit=300 memory=2048 cpus=2 programs=()
  [[ -e $scenarios/$1/scenario ]] || die "there is no scenario '$1'; tools/xenlab list names them"
  . "$scenarios/$1/scenario"
}

# The runs that a name stands for: "all", a scenario, or a scenario with a series.
expand() {
  local name one
  if [[ $1 == all ]]; then
    for name in $(all_scenarios); do expand "$name"; done
    return
  fi
  name=$1
  if [[ ! -d $scenarios/$name ]]; then
    name=${1%-*}
    load_scenario "$name"
    [[ " ${series[*]} " == *" ${1##*-} "* ]] || die "scenario $name has no run on '${1##*-}'"
    echo "$1"
    return
  fi
  load_scenario "$name"
  for one in "${series[@]}"; do echo "$name-$one"; done
}

all_scenarios() { (cd "$scenarios" && ls); }

# scenario_initrd NAME SERIES: dom0's image with the guest's kernel, its image, and the scripts.
scenario_initrd() {
  local name=$1 series=$2 folder=$cache/image/run-$1-$2 program
  rm -rf "$folder"
  mkdir -p "$folder"/{dom0,guest}/lab
  install -m 644 "$scenarios/$name/guest.sh" "$folder/guest/lab/"
  for program in "${programs[@]}"; do
    mkdir -p "$folder/guest$library_folder"
    add_program "$folder/guest" "$(tool "$program")"
  done
  pack "$folder/guest" "$folder/guest.cpio"
  cat "$cache/image/guest-$series.cpio" "$folder/guest.cpio" >"$folder/dom0/lab/guest.cpio"
  cp "$cache/vmlinux/$series" "$folder/dom0/lab/vmlinux"
  install -m 644 "$scenarios/$name/dom0.sh" "$folder/dom0/lab/"
  pack "$folder/dom0" "$folder/dom0.cpio"
  cat "$cache/image/dom0.cpio" "$folder/dom0.cpio" >"$cache/image/run-$name-$series.cpio"
  rm -rf "$folder"
  echo "$cache/image/run-$name-$series.cpio"
}
