# The scenario in a guest with systemd; lab.service runs it.
cd /
guest_name=$(sed -n 's/.*lab.name=\([^ ]*\).*/\1/p' /proc/cmdline)
. /lab/both.sh
. /lab/lib.sh
say "systemd is up"
(. /lab/guest.sh) || echo "GUEST-FAIL guest.sh ended with status $?"
say "ends"
sleep 1
poweroff -f
