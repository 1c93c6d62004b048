# Scenarios: folders of lab/scenarios/ with
#   scenario    what load_scenario() sets, as shell variables; programs=(...) names programs that
#               its guests find on a disk: make_disk (dom0), mount_programs (guest)
#   dom0.sh     runs in dom0 (functions: lab/dom0/lib.sh); prints the verdict
#   guest.sh    runs in each guest (functions: lab/guest/lib.sh)
# dom0=systemd asks for the dom0 with systemd, where tmemd is installed with its unit; any other has
# busybox, and the scenario starts tmemd itself. guest=systemd asks for guests with systemd, where the
# module is installed with its unit, and whose root disk is dom0's /dev/vda.
# memory is the emulated machine's, in MiB; dom0_memory is what Xen is told as dom0_mem: what follows
# "max:" is how far dom0 can be ballooned up.
# One processor (cpus) is quickest: dom0 and a guest then wake each other inside of the emulator, and
# not by way of a busy machine's scheduler.
# A scenario runs once for each kernel series that it names, as NAME-SERIES. Sourced.

scenarios=$lab/scenarios

# load_scenario NAME: sets the variables of the scenario.
load_scenario() {
  summary='' dom0=busybox guest=busybox series=("${all_series[@]}") time_limit=300 memory=2048 cpus=1 programs=()
  dom0_memory=768M,max:768M
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
# Prints the archive's name. REQUIRES: load_scenario NAME
scenario_initrd() {
  local name=$1 series=$2 folder=$cache/image/run-$1-$2 archive=$cache/image/run-$1-$2.cpio
  local files=$folder/dom0 base=$cache/image/dom0.cpio
  rm -rf "$folder"
  if [[ $dom0 == systemd ]]; then
    files=$folder/dom0/payload base=$cache/systemd/initramfs.cpio
    mkdir -p "$files"
    cp -a "$cache/image/systemd/." "$files/"
  fi
  mkdir -p "$files/lab"
  guest_archive "$name" "$series" "$folder/guest" >"$files/lab/guest.cpio"
  ((!${#programs[@]})) || programs_disk "$folder/programs" "$files/lab/programs.squashfs"
  cp "$cache/vmlinux/$series" "$files/lab/vmlinux"
  install -m 644 "$scenarios/$name/dom0.sh" "$files/lab/"
  pack "$folder/dom0" "$folder/dom0.cpio"
  cat "$base" "$folder/dom0.cpio" >"$archive"
  rm -rf "$folder"
  echo "$archive"
}

# guest_archive NAME SERIES FOLDER: prints the archive itself.
guest_archive() {
  local name=$1 series=$2 folder=$3
  local files=$folder base=$cache/image/guest-$series.cpio
  if [[ $guest == systemd ]]; then
    files=$folder/payload base=$cache/systemd/initramfs.cpio
    mkdir -p "$files"
    cp -a "$cache/image/systemd-guest/." "$files/"
  fi
  mkdir -p "$files/lab"
  install -m 644 "$scenarios/$name/guest.sh" "$files/lab/"
  pack "$folder" "$folder.cpio"
  cat "$base" "$folder.cpio"
}

# programs_disk FOLDER DISK: the scenario's programs with their libraries, as a disk for guests: of
# what is in an initramfs, a guest could never drop a page.
programs_disk() {
  local folder=$1 disk=$2 program
  mkdir -p "$folder$library_folder"
  for program in "${programs[@]}"; do
    add_program "$folder" "$(tool "$program")" "/bin/${program##*/}"
  done
  mv "$folder$library_folder" "$folder/lib"
  rm -r "$folder/usr"
  quietly "$cache/log/programs-disk.log" run_tool /usr/bin/mksquashfs "$folder" "$disk" \
    -all-root -noI -noD -noF -noX -no-progress
}

needs_systemd() { [[ $dom0 == systemd || $guest == systemd ]]; }

# The disk that the emulated machine has; nothing if it has none.
scenario_disk() {
  ! needs_systemd || echo "$cache/systemd/root.ext4"
}

# What the scenario needs beyond the build that all share.
prepare_scenario() {
  ! needs_systemd || "$lab/systemd.sh"
}
