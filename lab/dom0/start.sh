# The scenario in a dom0 with systemd; lab.service runs it.
cd /
. /lab/both.sh
. /lab/lib.sh
state=$(systemctl is-system-running --wait)
[ "$state" = running ] || fail "systemd is $state: $(systemctl --failed --no-legend --plain | xargs)"
say "systemd is up"
(. /lab/dom0.sh) || echo "LAB-FAIL the scenario ended with status $?"
epilogue
poweroff -f
