# The scenario in a dom0 with systemd; lab.service runs it.
cd /
. /lab/both.sh
. /lab/lib.sh
say "systemd is up: $(systemctl is-system-running --wait)"
(. /lab/dom0.sh) || echo "LAB-FAIL the scenario ended with status $?"
epilogue
poweroff -f
