#!/usr/bin/env python3
"""tmemd and tmemctl as programs: what they print, how they end, what they leave behind.

The environment names the programs: TMEMD, TMEMCTL, TMEM_E2E_GUEST. Nothing here waits by sleeping:
the daemon tells through sd_notify when it is ready, and all reads have a deadline that only a hang
can reach.
"""

import contextlib
import json
import os
import pty
import queue
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

TMEMD = os.environ["TMEMD"]
TMEMCTL = os.environ["TMEMCTL"]
GUEST = os.environ["TMEM_E2E_GUEST"]
DEADLINE = 120  # seconds; reached only by a hang
NOBODY = 65534
UUID = "00000000-0000-0001-0000-000000000002"


class Daemon:
    """A tmemd on sockets of its own."""

    def __init__(self, folder, config="", arguments=(), environment=None):
        self.folder = folder
        self.control = os.path.join(folder, "control.sock")
        self.loopback = os.path.join(folder, "loopback.sock")
        self.config = os.path.join(folder, "tmemd.toml")
        self.write_config(config)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.settimeout(DEADLINE)
        notify_path = os.path.join(folder, "notify.sock")
        if os.path.exists(notify_path):
            os.unlink(notify_path)
        self.notify.bind(notify_path)
        variables = dict(os.environ, NOTIFY_SOCKET=notify_path, **(environment or {}))
        self.process = subprocess.Popen(
            [TMEMD, "--config", self.config, "--hypervisor", "loopback",
             "--control-socket", self.control, "--loopback-socket", self.loopback, *arguments],
            stderr=subprocess.PIPE, text=True, env=variables)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.put(line.rstrip("\n"))

    def write_config(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    def wait_for_state(self, state):
        """The notification that holds `state`; those before it are dropped."""
        while True:
            message = self.notify.recv(4096).decode()
            if state in message.splitlines():
                return message

    def wait_for_line(self, text):
        while True:
            line = self.lines.get(timeout=DEADLINE)
            if text in line:
                return line

    def reload(self):
        self.process.send_signal(signal.SIGHUP)
        self.wait_for_state("RELOADING=1")
        self.wait_for_state("READY=1")

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(DEADLINE)
        self.reader.join(DEADLINE)
        self.process.stderr.close()
        self.notify.close()
        return status


class Guest:
    """A loopback guest that does as it is told."""

    def __init__(self, daemon, name):
        self.process = subprocess.Popen([GUEST, daemon.loopback, name], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.greeting = self.process.stdout.readline().strip()

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(DEADLINE)


def run(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE, check=False,
                          stdin=subprocess.DEVNULL, **options)


class TestCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tmem-e2e-")
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, config="", arguments=(), environment=None):
        daemon = Daemon(self.folder, config, arguments, environment)
        self.addCleanup(self._end, daemon)
        daemon.wait_for_state("READY=1")
        return daemon

    @staticmethod
    def _end(daemon):
        if daemon.process.returncode is None:
            daemon.stop()

    def guest(self, daemon, name):
        guest = Guest(daemon, name)
        self.addCleanup(lambda: guest.process.stdin.closed or guest.end())
        self.assertRegex(guest.greeting, "^ready [0-9]+$")
        return guest

    def ctl(self, daemon, *words, status=0):
        done = run(TMEMCTL, "--socket", daemon.control, *words)
        self.assertEqual(done.returncode, status, done.stderr)
        if status == 0:
            self.assertEqual(done.stderr, "")
            return done.stdout
        self.assert_one_line(done.stderr, "tmemctl: ")
        return done.stderr

    def assert_one_line(self, text, start):
        self.assertEqual(text.count("\n"), 1, text)
        self.assertTrue(text.startswith(start), text)

    def assert_tmemd_fails(self, words, status, pattern, **options):
        done = run(TMEMD, *words, **options)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assert_one_line(done.stderr, "tmemd: ")
        self.assertRegex(done.stderr, pattern)

    def sockets(self, *more):
        return ["--hypervisor", "loopback", "--control-socket", self.path("control.sock"),
                "--loopback-socket", self.path("loopback.sock"), *more]


class StartTest(TestCase):
    def test_wrong_command_line(self):
        self.assert_tmemd_fails(["--frobnicate"], 2, "--frobnicate.*see tmemd --help")
        self.assert_tmemd_fails(["--workers", "many"], 2, "workers: .*whole number from 0 to 256")
        self.assert_tmemd_fails(["--set", "wrokers=1"], 2, "no setting 'wrokers'")

    def test_help_and_version_are_no_mistakes(self):
        for word in ["--help", "--help-config", "--print-config", "--version"]:
            done = run(TMEMD, word)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(done.stdout)

    def test_wrong_configuration(self):
        config = self.path("bad.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write("capacity = \"64M\"\n\nworkers = 900\n")
        for more in [[], ["--check-config"]]:
            self.assert_tmemd_fails(["--config", config, *more], 3,
                                    f"{config}:3: workers: 900 is not allowed; write a whole number")
        self.assert_tmemd_fails(["--config", self.path("none.toml")], 3,
                                "none.toml: No such file or directory")

    def test_printed_configuration_is_right(self):
        config = self.path("good.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(run(TMEMD, "--print-config").stdout)
        done = run(TMEMD, "--config", config, "--check-config")
        self.assertEqual((done.returncode, done.stdout), (0, config + ": ok\n"))

    def test_unsupported_hypervisor(self):
        if os.path.exists("/proc/xen/capabilities"):
            self.skipTest("Xen is here")
        self.assert_tmemd_fails(["--config", "/dev/null", "--hypervisor", "xen"], 6,
                                "hypervisor = \"xen\": .*--hypervisor loopback")

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to become nobody")
    def test_missing_permission(self):
        closed = self.path("closed")
        os.mkdir(closed, 0o700)
        config = os.path.join(closed, "tmemd.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write("")
        nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        self.assert_tmemd_fails(["--config", config], 4, "tmemd.toml: Permission denied", **nobody)
        self.assert_tmemd_fails(
            ["--config", "/dev/null", "--hypervisor", "loopback", "--loopback-socket",
             os.path.join(closed, "l.sock")], 4, "loopback.socket: .*Permission denied", **nobody)

    def test_a_second_daemon_is_refused_and_the_first_goes_on(self):
        daemon = self.start()
        same = ["--config", "/dev/null", "--hypervisor", "loopback"]
        self.assert_tmemd_fails(
            [*same, "--control-socket", daemon.control, "--loopback-socket", self.path("2.sock")],
            5, "another tmemd holds " + daemon.control)
        self.assert_tmemd_fails(
            [*same, "--control-socket", self.path("2.sock"), "--loopback-socket", daemon.loopback],
            5, daemon.loopback)
        self.ctl(daemon, "list")

    def test_a_killed_daemon_leaves_nothing_in_the_way(self):
        daemon = self.start()
        self.assertEqual(daemon.stop(signal.SIGKILL), -signal.SIGKILL)
        self.ctl(self.start(), "list")


class LifeTest(TestCase):
    def test_makes_room_for_the_descriptors_of_many_guests(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        try:
            daemon = self.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        now, _ = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        self.assertEqual(now, min(65536, hard))

    def test_stops_when_told_and_removes_its_sockets(self):
        for number in [signal.SIGTERM, signal.SIGINT]:
            daemon = self.start()
            guest = self.guest(daemon, "db1")
            daemon.process.send_signal(number)
            daemon.wait_for_state("STOPPING=1")
            self.assertEqual(daemon.stop(number), 0)
            left = {name for name in os.listdir(self.folder) if "sock" in name}
            self.assertEqual(left, {"notify.sock"})
            guest.process.kill()
            guest.end()

    def test_reload_applies_what_can_change(self):
        daemon = self.start("capacity = \"32M\"\n")
        self.guest(daemon, "db1")
        daemon.write_config("capacity = \"64M\"\nlimits.slots = 64\n[guest.\"db1\"]\nweight = 7\n")
        daemon.reload()
        daemon.wait_for_line("limits.slots: the change takes effect when tmemd is restarted")
        self.assertIn("capacity 64.0 MiB", self.ctl(daemon, "top", "--once"))
        self.assertEqual(json.loads(self.ctl(daemon, "show", "db1", "--json"))
                         ["settings"]["weight"], 7)

    def test_reload_of_a_bad_file_changes_nothing(self):
        daemon = self.start("capacity = \"32M\"\n[guest-defaults]\nweight = 7\n")
        self.guest(daemon, "db1")
        daemon.write_config("capacity = \"64M\"\n[guest-defaults]\nweight = 0\n")
        daemon.reload()
        line = daemon.wait_for_line("the configuration stays as it was")
        self.assertIn(f"{daemon.config}:3: guest-defaults: weight: 0 is not allowed", line)
        self.assertIn("capacity 32.0 MiB", self.ctl(daemon, "top", "--once"))
        self.assertEqual(json.loads(self.ctl(daemon, "show", "db1", "--json"))
                         ["settings"]["weight"], 7)

    def test_watchdog_is_fed(self):
        daemon = self.start(environment={"WATCHDOG_USEC": "100000"})
        for _ in range(3):
            self.assertIn("STATUS=0 guests", daemon.wait_for_state("WATCHDOG=1"))

    def test_lines_for_the_journal_carry_priorities(self):
        reader, writer = os.pipe()
        status = os.fstat(writer)
        variables = dict(os.environ, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
        done = subprocess.run([TMEMD, "--config", self.path("none.toml")], stderr=writer,
                              env=variables, timeout=DEADLINE, check=False)
        os.close(writer)
        with os.fdopen(reader) as lines:
            self.assertRegex(lines.read(), "^<3>.*none.toml: No such file or directory\n$")
        self.assertEqual(done.returncode, 3)


class ControlTest(TestCase):
    def test_shows_what_a_guest_does(self):
        daemon = self.start()
        guest = self.guest(daemon, "db1")
        self.assertEqual(self.ctl(daemon, "list", "--names"), "db1\n")
        pool = guest.tell("pool persistent")
        cache = guest.tell("pool ephemeral")
        self.assertEqual(guest.tell(f"put {pool} 100"), 100)
        self.assertEqual(guest.tell(f"put {cache} 50"), 50)
        self.assertEqual(guest.tell(f"get {pool} 100"), 100)
        self.assertEqual(guest.tell(f"get {cache} 20"), 20)

        self.assertRegex(self.ctl(daemon, "list"), r"db1 +connected +100 +30 +100 ")
        number = guest.greeting.split()[1]
        self.assertIn(f"guest {number} db1 (", self.ctl(daemon, "show", number))
        shown = json.loads(self.ctl(daemon, "show", "db1", "--json"))
        self.assertEqual(shown["counters"]["puts_stored"], 150)
        self.assertEqual(shown["counters"]["gets_found"], 120)
        self.assertEqual(shown["stored"]["persistent"]["pages"], 100)
        self.assertEqual(shown["stored"]["persistent"]["compressed"], 100)
        self.assertEqual(len(shown["pools"]), 2)

        everything = json.loads(self.ctl(daemon, "stats", "--json"))
        self.assertEqual(everything["host"]["guests"], 1)
        self.assertEqual(everything["guests"], [shown])
        self.assertRegex(self.ctl(daemon, "stats", "db1"), r"puts stored +150\n")
        self.assertRegex(self.ctl(daemon, "stats"), r"(?s)^host\n.*\nguest ")
        self.assertEqual(len(re.findall("^  pool [01], ", self.ctl(daemon, "stats", "--pools"),
                                        re.MULTILINE)), 2)
        self.assertRegex(self.ctl(daemon, "top", "--once"), r"db1 +connected +30 +100 ")
        frames = self.ctl(daemon, "top", "--batch", "--count", "2", "--delay", "0.1")
        self.assertEqual(frames.count("PUTS/S"), 2)

        guest.end()
        daemon.wait_for_line("gone")
        self.assertEqual(self.ctl(daemon, "list", "--names"), "")

    def test_changes_hold_at_once_and_after_a_reboot_of_the_guest(self):
        daemon = self.start()
        guest = self.guest(daemon, "db1")
        pool = guest.tell("pool persistent")
        self.assertRegex(self.ctl(daemon, "set", "db1", "weight=200", "cap=64M", "compress=off"),
                         r"(?s)weight +200\n.*cap +64.0 MiB\n")
        self.assertEqual(guest.tell(f"put {pool} 10"), 10)
        stored = json.loads(self.ctl(daemon, "show", "db1", "--json"))["stored"]["persistent"]
        self.assertEqual(stored["compressed"], 0)
        self.ctl(daemon, "freeze", "db1")
        self.assertEqual(guest.tell(f"put {pool} 10"), 0)
        self.ctl(daemon, "thaw", "--all")
        self.assertEqual(guest.tell(f"put {pool} 10"), 10)
        self.ctl(daemon, "auth", "db1", UUID, "allow")

        guest.end()
        daemon.wait_for_line("gone")
        self.guest(daemon, "db1")
        settings = json.loads(self.ctl(daemon, "show", "db1", "--json"))["settings"]
        self.assertEqual((settings["weight"], settings["cap"], settings["shared-auth"]),
                         (200, 64 << 20, [UUID]))

    def test_history_is_plotted(self):
        daemon = self.start()
        guest = self.guest(daemon, "db1")
        pool = guest.tell("pool persistent")
        self.assertEqual(guest.tell(f"put {pool} 100"), 100)
        self.assertEqual(guest.tell(f"get {pool} 100"), 100)
        history = {"puts": []}
        deadline = time.monotonic() + DEADLINE
        while sum(history["puts"]) < 100:  # from the daemon's first look at the guest on
            self.assertLess(time.monotonic(), deadline)
            history = json.loads(self.ctl(daemon, "history", "db1", "--json"))
        self.assertEqual(sum(history["gets_found"]), 100)
        self.assertEqual(history["persistent_pages"][-1], 100)
        self.assertEqual({len(series) for series in history.values() if isinstance(series, list)},
                         {len(history["seconds"])})
        done = run(TMEMCTL, "--socket", daemon.control, "history", "db1",
                   env=dict(os.environ, LC_ALL="C"))
        self.assertIn(f"guest {guest.greeting.split()[1]} db1, the last 10 minutes", done.stdout)
        self.assertRegex(done.stdout, r"hits of gets: now 100%, at most 100%\n +100% \| +#\n")
        done = run(TMEMCTL, "--socket", daemon.control, "history", "db1",
                   env=dict(os.environ, LC_ALL="C.UTF-8"))
        self.assertRegex(done.stdout, "hits of gets: now 100%, at most 100%\n +100% \\| +\u2588\n")
        self.assertIn("no guest 'nobody'", self.ctl(daemon, "history", "nobody", status=1))

    def test_flush_drops_ephemeral_pages_only(self):
        daemon = self.start()
        guest = self.guest(daemon, "db1")
        pool, cache = guest.tell("pool persistent"), guest.tell("pool ephemeral")
        guest.tell(f"put {pool} 10")
        guest.tell(f"put {cache} 10")
        self.assertRegex(self.ctl(daemon, "flush", "db1"), "^[0-9.]+ .*given back\n$")
        self.assertEqual(guest.tell(f"get {pool} 10"), 10)
        self.assertEqual(guest.tell(f"get {cache} 10"), 0)

    def test_host_settings(self):
        daemon = self.start("capacity = \"32M\"\n")
        self.assertEqual(self.ctl(daemon, "set", "capacity=64M", "log-level=debug"),
                         "capacity 64M\nlog-level debug\ncapacity in force 64.0 MiB\n")
        self.assertIn("max-capacity, 128M", self.ctl(daemon, "set", "capacity=1G", status=1))
        self.assertIn("cannot change while tmemd runs",
                      self.ctl(daemon, "set", "workers=2", status=1))
        self.assertIn("no setting 'wrokers'", self.ctl(daemon, "set", "wrokers=2", status=1))
        self.assertRegex(self.ctl(daemon, "show"), r"capacity +64M\n")
        self.ctl(daemon, "set", "capacity=default")
        self.assertRegex(self.ctl(daemon, "show"), r"capacity +32M\n")
        self.assertEqual(json.loads(self.ctl(daemon, "stats", "--json"))["host"]["log_level"],
                         "debug")

    def test_mistakes_are_told_in_one_line(self):
        daemon = self.start()
        self.guest(daemon, "db1")
        self.assertIn("bytes: \"much\" is not allowed", self.ctl(daemon, "reclaim", "much", status=1))
        self.assertIn("not a path", self.ctl(daemon, "xenstore", "write", "a", "b", status=1))
        self.assertIn("no such node", self.ctl(daemon, "xenstore", "read", "/none", status=1))
        self.assertIn("no guest 'nobody'", self.ctl(daemon, "show", "nobody", status=1))
        self.assertIn("weight: \"0\" is not allowed; write a whole number from 1",
                      self.ctl(daemon, "set", "db1", "weight=0", status=1))
        self.assertIn("no setting 'size'", self.ctl(daemon, "set", "db1", "size=1", status=1))
        self.assertIn("is not a uuid", self.ctl(daemon, "auth", "db1", "x", "allow", status=1))
        self.assertIn("--help", self.ctl(daemon, "set", "db1", status=2))
        self.assertIn("--help", self.ctl(daemon, "frobnicate", status=2))
        self.assertIn("--once", self.ctl(daemon, "top", status=1))

    def test_no_daemon(self):
        done = run(TMEMCTL, "--socket", self.path("none.sock"), "list")
        self.assertEqual(done.returncode, 3)
        self.assert_one_line(done.stderr, "tmemctl: no tmemd answers: ")

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to become nobody")
    def test_missing_permission(self):
        daemon = self.start()
        done = run(TMEMCTL, "--socket", daemon.control, "list", user=NOBODY, group=NOBODY,
                   extra_groups=[])
        self.assertEqual(done.returncode, 4)
        self.assert_one_line(done.stderr, "tmemctl: ")
        self.assertIn("as root", done.stderr)

    def test_output_that_cannot_be_written_is_a_failure(self):
        daemon = self.start()
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([TMEMCTL, "--socket", daemon.control, "stats"], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assert_one_line(done.stderr, "tmemctl: standard output: ")

    def test_works_while_the_daemon_is_under_load(self):
        daemon = self.start(arguments=["--workers", "1"])
        guests = [self.guest(daemon, f"load{i}") for i in range(2)]
        stop = threading.Event()

        def load(guest):
            pool = guest.tell("pool persistent")
            while not stop.is_set():
                guest.tell(f"put {pool} 500")

        threads = [threading.Thread(target=load, args=(guest,)) for guest in guests]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                self.assertEqual(self.ctl(daemon, "list", "--names").split(), ["load0", "load1"])
                self.ctl(daemon, "set", "load0", "weight=50")
                self.ctl(daemon, "freeze", "load1")
                self.ctl(daemon, "thaw", "load1")
        finally:
            stop.set()
            for thread in threads:
                thread.join(DEADLINE)

    def test_idle_and_deaf_clients_hold_up_nobody(self):
        daemon = self.start()
        clients = []
        for i in range(100):
            client = socket.socket(socket.AF_UNIX)
            client.connect(daemon.control)
            clients.append(client)
            if i % 3 == 0:
                client.send(b"{\"version\":1,")
            if i % 3 == 1:
                client.send(b"{\"version\":1,\"verb\":\"stats\"}\n" * 20)
        self.ctl(daemon, "list")
        for client in clients:
            client.close()


class PersistTest(TestCase):
    """Settings that outlive the guest and the daemon."""

    def settings(self, daemon):
        return json.loads(self.ctl(daemon, "show", "db1", "--json"))["settings"]

    def test_settings_are_kept_in_the_guests_file(self):
        daemon = self.start("[guest.\"db1\"]\nweight = 3\n")
        os.mkdir(self.path("guests.d"))
        file = self.path("guests.d/db1.toml")
        with open(file, "w", encoding="utf-8") as text:
            text.write("# the owners asked for this\nweight = 5  # at first\n")
        daemon.reload()
        guest = self.guest(daemon, "db1")
        self.assertEqual(self.settings(daemon)["weight"], 5)
        self.ctl(daemon, "set", "db1", "weight=7", "cap=64M", "--persist")
        with open(file, encoding="utf-8") as text:
            self.assertEqual(text.read(), "# the owners asked for this\nweight = 7  # at first\n"
                             "cap = \"64M\"\n")
        guest.end()
        daemon.stop()
        daemon = self.start("[guest.\"db1\"]\nweight = 3\n")
        self.guest(daemon, "db1")
        self.assertEqual((self.settings(daemon)["weight"], self.settings(daemon)["cap"]),
                         (7, 64 << 20))
        self.ctl(daemon, "set", "db1", "weight=default", "--persist")
        self.assertEqual(self.settings(daemon)["weight"], 3)

    def test_what_commands_set_survives_the_daemon_with_the_pages(self):
        store = tempfile.mkdtemp(prefix="tmem-e2e-", dir="/dev/shm")
        self.addCleanup(shutil.rmtree, store)
        arguments = ("--store-path", os.path.join(store, "store"))
        daemon = self.start("capacity = \"64M\"\n", arguments)
        guest = self.guest(daemon, "db1")
        pool = guest.tell("pool persistent")
        self.assertEqual(guest.tell(f"put {pool} 10"), 10)
        self.ctl(daemon, "set", "db1", "weight=7")
        self.ctl(daemon, "freeze", "db1")
        self.ctl(daemon, "set", "capacity=32M")
        daemon.stop(signal.SIGKILL)
        daemon = self.start("capacity = \"64M\"\n", arguments)
        self.assertEqual(guest.tell(f"get {pool} 10"), 10)  # so it is here again
        self.assertEqual(guest.tell(f"put {pool} 10"), 0)
        self.assertEqual(self.settings(daemon)["weight"], 7)
        self.assertRegex(self.ctl(daemon, "show"), r"capacity +32M\n")

    def test_what_cannot_be_persisted_is_not_set(self):
        daemon = self.start()
        self.guest(daemon, "db1")
        with open(self.path("guests.d"), "w", encoding="utf-8"):
            pass
        self.assertIn("Not a directory",
                      self.ctl(daemon, "set", "db1", "weight=7", "--persist", status=1))
        self.assertEqual(self.settings(daemon)["weight"], 100)
        self.assertIn("only guests' settings can be persisted",
                      self.ctl(daemon, "set", "capacity=64M", "--persist", status=1))

    def test_a_guests_file_with_a_mistake_is_a_wrong_configuration(self):
        os.mkdir(self.path("guests.d"))
        with open(self.path("guests.d/db1.toml"), "w", encoding="utf-8") as file:
            file.write("weigth = 5\n")
        with open(self.path("tmemd.toml"), "w", encoding="utf-8"):
            pass
        self.assert_tmemd_fails(["--config", self.path("tmemd.toml"), "--check-config"], 3,
                                "guests.d/db1.toml:1: a guest has no setting 'weigth'; there are")


class TuningTest(TestCase):
    """Keys in the tree that stands in for xenstore."""

    def setUp(self):
        super().setUp()
        self.daemon = self.start("capacity = \"32M\"\n")
        self.db1 = self.guest(self.daemon, "db1")
        self.folder_of_guest = "/tool/tmemd/guest/" + self.db1.greeting.split()[1]

    def xenstore(self, *words, status=0):
        return self.ctl(self.daemon, "xenstore", *words, status=status)

    def watch(self, path, count):
        """Starts to watch; ends after so many lines."""
        return subprocess.Popen([TMEMCTL, "--socket", self.daemon.control, "xenstore", "watch", path,
                                 "--count", str(count)], stdout=subprocess.PIPE, text=True)

    def wait_until(self, holds):
        deadline = time.monotonic() + DEADLINE
        while not holds():
            self.assertLess(time.monotonic(), deadline)

    def wait_for_setting(self, name, value):
        def holds():
            shown = self.ctl(self.daemon, "show", "db1", "--json")
            return json.loads(shown)["settings"][name] == value
        self.wait_until(holds)

    def wait_for(self, path, value):
        """Until the key at the path has the value, or, for None, is gone."""
        wanted = f"{path} is gone" if value is None else f"{path} = \"{value}\""
        watch = subprocess.Popen([TMEMCTL, "--socket", self.daemon.control, "xenstore", "watch",
                                  os.path.dirname(path)], stdout=subprocess.PIPE, text=True)
        try:
            for line in watch.stdout:
                if line.startswith(wanted.rstrip("\"")):
                    return line
        finally:
            watch.kill()
            watch.wait(DEADLINE)
            watch.stdout.close()
        raise AssertionError(f"no {wanted}")

    def test_keys_change_a_running_guest(self):
        pool = self.db1.tell("pool persistent")
        self.assertEqual(self.db1.tell(f"put {pool} 10"), 10)
        self.xenstore("write", self.folder_of_guest + "/frozen", "1")
        self.wait_for_setting("frozen", True)
        self.assertEqual(self.db1.tell(f"put {pool} 10"), 0)
        self.xenstore("rm", self.folder_of_guest + "/frozen")
        self.wait_for_setting("frozen", False)
        self.assertEqual(self.db1.tell(f"put {pool} 10"), 10)
        self.assertEqual(self.xenstore("read", "/tool/tmemd"), "\n")

    def test_a_bad_value_is_refused_and_told(self):
        key = self.folder_of_guest + "/weight"
        self.xenstore("write", key, "9")
        self.wait_for_setting("weight", 9)
        self.xenstore("write", key, "heavy")
        self.assertIn("not allowed; write a whole number",
                      self.wait_for(key + "-error", "weight: "))
        self.wait_for_setting("weight", 9)
        watch = self.watch(key + "-error", 2)  # that it is there, and that it goes
        self.assertIn("not allowed", watch.stdout.readline())
        self.xenstore("write", key, "10")
        self.assertEqual(watch.communicate(timeout=DEADLINE)[0], key + "-error is gone\n")
        self.wait_for_setting("weight", 10)

    def test_keys_of_the_host(self):
        self.xenstore("write", "/tool/tmemd/capacity", "1T")
        self.assertIn("above max-capacity, 128M",
                      self.wait_for("/tool/tmemd/capacity-error", "capacity: "))
        self.xenstore("write", "/tool/tmemd/capacity", "64M")
        self.wait_until(lambda: "capacity 64.0 MiB" in self.ctl(self.daemon, "top", "--once"))

    def test_a_storm_of_writes_keeps_nobody(self):
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.daemon.control)
        pool = self.db1.tell("pool persistent")
        answers = client.makefile()
        for first in range(1, 2001, 50):
            client.sendall(b"".join(
                json.dumps({"version": 1, "verb": "xenstore-write",
                            "path": self.folder_of_guest + "/weight",
                            "value": str(i)}).encode() + b"\n" for i in range(first, first + 50)))
            self.assertEqual(self.db1.tell(f"put {pool} 10"), 10)
            for _ in range(50):
                self.assertTrue(json.loads(answers.readline())["ok"])
        answers.close()
        client.close()
        self.wait_for_setting("weight", 2000)

    def test_keys_go_with_the_guest(self):
        self.xenstore("write", self.folder_of_guest + "/weight", "9")
        self.db1.end()
        self.daemon.wait_for_line("gone")
        self.assertEqual(self.xenstore("list", "/tool/tmemd/guest"), "/tool/tmemd/guest = \"\"\n")

    def test_figures_of_a_guest_are_keys(self):
        pool = self.db1.tell("pool persistent")
        self.assertEqual(self.db1.tell(f"put {pool} 123"), 123)
        self.wait_for(self.folder_of_guest + "/stats/puts-stored", "123")
        self.assertEqual(self.db1.tell(f"get {pool} 20"), 20)
        self.wait_for(self.folder_of_guest + "/stats/gets-found", "20")
        self.assertEqual(self.xenstore("read", self.folder_of_guest + "/stats/persistent-pages"),
                         "123\n")

    def test_list_shows_what_is_there(self):
        self.xenstore("write", "/tool/tmemd/spin-us", "7")
        listed = self.xenstore("list", "/tool/tmemd").splitlines()
        self.assertIn("/tool/tmemd/spin-us = \"7\"", listed)
        self.assertTrue([line for line in listed if line.startswith(self.folder_of_guest + "/uuid")])


class FollowTest(TestCase):
    """A capacity that follows the memory of a host that the tree pretends to have."""

    CONFIG = ("capacity = \"auto\"\nmin-capacity = \"8M\"\nmax-capacity = \"64M\"\n"
              "host-reserve = \"64M\"\ndom0-reserve = \"1M\"\n"
              "[guest-defaults]\ncompress = \"off\"\n")
    TARGET = "/local/domain/0/memory/target"

    def setUp(self):
        super().setUp()
        self.daemon = self.start(self.CONFIG)
        self.db1 = self.guest(self.daemon, "db1")
        self.cache = self.db1.tell("pool ephemeral")

    def write(self, path, value):
        self.ctl(self.daemon, "xenstore", "write", path, value)

    def host(self):
        return json.loads(self.ctl(self.daemon, "stats", "--json"))["host"]

    def wait_until(self, holds):
        deadline = time.monotonic() + DEADLINE
        while not holds(self.host()):
            self.assertLess(time.monotonic(), deadline, self.host()["following"])

    def fill_up(self):
        def is_full(host):
            self.db1.tell(f"put {self.cache} 20000")
            return host["capacity_bytes"] == 64 << 20
        self.wait_until(is_full)

    def test_grows_with_the_host_and_gives_back_at_once(self):
        self.assertEqual(self.host()["capacity_bytes"], 8 << 20)
        self.daemon.wait_for_line("cannot follow the host: a loopback host has memory only if")
        self.write("/loopback/memory", "512M")  # of which dom0 has 256
        self.fill_up()
        following = self.host()["following"]
        self.assertEqual(following["borrowed_bytes"], 56 << 20)
        self.assertEqual(following["dom0_held_bytes"], (256 + 56) << 20)
        self.assertEqual(following["last_change"], "wanted by guests")
        self.assertEqual(self.ctl(self.daemon, "xenstore", "read", self.TARGET),
                         f"{(256 + 56) << 10}\n")
        self.assertRegex(self.ctl(self.daemon, "stats"), r"follows the host, borrowed +56.0 MiB")

        # A domain takes what is free, the reserve as well: the store fills the reserve again.
        self.write("/loopback/guests-memory", "180M")
        self.wait_until(lambda host: host["capacity_bytes"] < 64 << 20 and
                        host["following"]["host_free_bytes"] >= 64 << 20)
        host = self.host()
        self.assertEqual(host["capacity_bytes"], host["following"]["borrowed_bytes"] + (8 << 20))
        self.assertLessEqual(sum(host["segment_bytes"].values()), host["capacity_bytes"])
        self.daemon.wait_for_line("(host short of memory)")

    def test_a_toolstack_asks_for_memory(self):
        self.write("/loopback/memory", "512M")
        self.fill_up()
        self.write("/tool/tmemd/free-request", "230M")
        self.wait_until(lambda host: host["following"]["host_free_bytes"] >= 230 << 20)
        self.assertEqual(self.host()["following"]["last_change"], "request of a toolstack")
        self.ctl(self.daemon, "xenstore", "rm", "/tool/tmemd/free-request")
        self.fill_up()
        # As xl does it that balloons dom0 down by itself.
        self.write(self.TARGET, str(270 << 10))
        self.wait_until(lambda host: host["capacity_bytes"] == 22 << 20)
        self.assertEqual(self.host()["following"]["borrowed_bytes"], 14 << 20)

    def test_off_unless_asked_for(self):
        self.ctl(self.daemon, "set", "capacity=16M")
        self.write("/loopback/memory", "512M")
        self.assertEqual(self.db1.tell(f"put {self.cache} 20000"), 20000)
        self.assertIsNone(self.host()["following"])
        self.assertEqual(self.host()["capacity_bytes"], 16 << 20)


class ReclaimTest(TestCase):
    def test_ephemeral_pages_go_first_and_persistent_ones_stay(self):
        daemon = self.start("capacity = \"64M\"\n[guest-defaults]\ncompress = \"off\"\n")
        guest = self.guest(daemon, "db1")
        pool, cache = guest.tell("pool persistent"), guest.tell("pool ephemeral")
        self.assertEqual(guest.tell(f"put {pool} 2000"), 2000)
        self.assertEqual(guest.tell(f"put {cache} 2000"), 2000)
        freeable = json.loads(self.ctl(daemon, "freeable", "--json"))
        self.assertGreaterEqual(freeable["freeable_bytes"], 2000 * 4096)
        self.assertGreaterEqual(freeable["persistent_bytes"], 2000 * 4096)
        self.assertRegex(self.ctl(daemon, "freeable"), r"can be given back at once.*\n(.*\n)+ +db1 ")

        some = json.loads(self.ctl(daemon, "reclaim", "2M", "--json"))
        self.assertEqual(some["given_back_bytes"], 2 << 20)
        self.assertRegex(self.ctl(daemon, "reclaim", "1G"),
                         r"given back; the capacity is .* now, it was .*\nnot 1.00 GiB: .* hold "
                         r"persistent pages")
        self.assertEqual(json.loads(self.ctl(daemon, "freeable", "--json"))["freeable_bytes"], 0)
        self.assertEqual(guest.tell(f"get {pool} 2000"), 2000)
        self.assertEqual(guest.tell(f"get {cache} 2000"), 0)
        self.assertEqual(guest.tell(f"put {cache} 100"), 0)
        self.ctl(daemon, "set", "capacity=default")
        self.assertEqual(guest.tell(f"put {cache} 100"), 100)


class ExplainTest(TestCase):
    """Why a guest has what it has, as a real store tells it."""

    CONFIG = "capacity = \"16M\"\n[guest-defaults]\ncompress = \"off\"\n"

    def explained(self, daemon, guest, *patterns):
        text = " ".join(self.ctl(daemon, "explain", guest).split())
        for pattern in patterns:
            self.assertRegex(text, pattern)
        return json.loads(self.ctl(daemon, "explain", guest, "--json"))

    def test_a_guest_that_lacks_nothing(self):
        daemon = self.start(self.CONFIG)
        guest = self.guest(daemon, "db1")
        pool = guest.tell("pool persistent")
        self.assertEqual(guest.tell(f"put {pool} 100"), 100)
        told = self.explained(daemon, "db1", "None of its puts was refused",
                              "None of its ephemeral pages was evicted", "no cap is set")
        self.assertEqual(told["share"]["persistent_held_bytes"], 1 << 20)
        self.assertEqual(told["refusals"]["last"], None)

    def test_its_cap(self):
        daemon = self.start(self.CONFIG)
        guest = self.guest(daemon, "db1")
        pool = guest.tell("pool persistent")
        self.ctl(daemon, "set", "db1", "cap=1M")
        stored = guest.tell(f"put {pool} 400")
        self.assertLess(stored, 400)
        told = self.explained(
            daemon, "db1", rf"Puts refused since it came: {400 - stored} \({400 - stored} for its cap\)",
            r"because of its cap: its pages take .* of 1.00 MiB now",
            r"`tmemctl set db1 cap=SIZE` \(it is 1.00 MiB\)")
        self.assertEqual(told["refusals"]["cap"], 400 - stored)
        # What it advises helps.
        self.ctl(daemon, "set", "db1", "cap=4M")
        self.assertEqual(guest.tell(f"put {pool} 400"), 400)

    def test_frozen(self):
        daemon = self.start(self.CONFIG)
        guest = self.guest(daemon, "db1")
        pool = guest.tell("pool persistent")
        self.ctl(daemon, "freeze", "db1")
        self.assertEqual(guest.tell(f"put {pool} 5"), 0)
        self.explained(daemon, "db1", "5 while it was frozen", "because it is frozen",
                       "`tmemctl thaw db1`")
        self.ctl(daemon, "thaw", "db1")
        self.explained(daemon, "db1", "it is not now")
        self.assertEqual(guest.tell(f"put {pool} 5"), 5)

    def test_its_share(self):
        daemon = self.start("policy = \"static\"\n" + self.CONFIG)
        self.guest(daemon, "other")
        guest = self.guest(daemon, "db1")
        pool = guest.tell("pool persistent")
        stored = guest.tell(f"put {pool} 3000")
        self.assertLess(stored, 3000)
        told = self.explained(daemon, "db1", "share, by policy static",
                              "may take 8.00 MiB", "weight of 100 among 200",
                              f"{3000 - stored} for its share", "all that they may: 8.00 MiB of 8.00",
                              "`tmemctl set db1 weight=NUMBER`")
        self.assertEqual(told["refusals"]["last"], "entitlement")
        self.ctl(daemon, "set", "db1", "weight=300")
        self.assertGreater(guest.tell(f"put {pool} 3000"), stored)

    def test_what_is_reserved_for_others(self):
        daemon = self.start("policy = \"greedy\"\n" + self.CONFIG)
        self.guest(daemon, "other")
        self.ctl(daemon, "set", "other", "reserve=10M")
        guest = self.guest(daemon, "db1")
        pool = guest.tell("pool persistent")
        self.assertLess(guest.tell(f"put {pool} 4000"), 4000)
        told = self.explained(daemon, "db1", "who comes first has all", "the rest is reserved",
                              "or lower reserves of others")
        self.assertEqual(told["refusals"]["last"], "reserves")

    def test_evicted_for_persistent_pages(self):
        daemon = self.start(self.CONFIG)
        cached, swapping = self.guest(daemon, "cached"), self.guest(daemon, "swapping")
        cache = cached.tell("pool ephemeral")
        pool = swapping.tell("pool persistent")
        self.assertEqual(cached.tell(f"put {cache} 3500"), 3500)
        self.assertGreater(swapping.tell(f"put {pool} 1000"), 0)
        told = self.explained(daemon, "cached", "persistent pages needed room",
                              r"of its pages were evicted\.", r"[0-9]+ for persistent pages")
        self.assertGreater(told["evictions"]["persistent"], 0)
        self.assertEqual(told["evictions"]["last"], "persistent")
        self.ctl(daemon, "set", "capacity=4M")
        told = self.explained(daemon, "cached", "the capacity was lowered: it is")
        self.assertGreater(told["evictions"]["shrunk"], 0)


class ShareTest(TestCase):
    """A hog and a guest that behaves, both putting all the time: what is admitted follows the rule
    while weights and quotas change. Prints what the rule predicts beside what is."""

    CAPACITY = 32  # segments of 1 MiB, as all figures here
    SLACK = 2  # one that holds a sixteenth too much need not shrink; nor is a segment divided
    LOOKS = 10  # in a row, until memory counts as settled
    MORE = 10000  # pages, than there is room for

    def setUp(self):
        super().setUp()
        self.daemon = self.start(f"capacity = \"{self.CAPACITY}M\"\n"
                                 "[guest-defaults]\ncompress = \"off\"\n")
        self.stop = threading.Event()
        self.threads = []
        self.pages = {}

    def end_load(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(DEADLINE)

    def start_load(self, name, pages):
        """A guest that puts so many pages, again and again."""
        guest = self.guest(self.daemon, name)
        self.addCleanup(self.end_load)  # before its guest ends
        pool = guest.tell("pool persistent")
        self.pages[name] = pages

        def load():
            while not self.stop.is_set():
                guest.tell(f"put {pool} {self.pages[name]}")

        self.threads.append(threading.Thread(target=load))
        self.threads[-1].start()
        return guest.greeting.split()[1]

    def held(self, name):
        told = json.loads(self.ctl(self.daemon, "explain", name, "--json"))
        return told["share"]["persistent_held_bytes"] >> 20

    def charged(self, name):
        return json.loads(self.ctl(self.daemon, "show", name, "--json"))["charged_bytes"]

    def shares(self, guests):
        """Of guests that want all there is, by (weight, reserve): the rule of max-min."""
        left = self.CAPACITY - sum(reserve for _, reserve in guests)
        weights = sum(weight for weight, _ in guests)
        return [reserve + left * weight / weights for weight, reserve in guests]

    def admitted(self, what, predicted):
        """Waits until each holds what is predicted, and goes on doing so."""
        deadline = time.monotonic() + DEADLINE
        settled = 0
        while settled < self.LOOKS:
            held = [self.held(name) for name in predicted]
            is_so = all(abs(is_held - predicted[name]) <= self.SLACK
                        for name, is_held in zip(predicted, held))
            settled = settled + 1 if is_so else 0
            self.assertLess(time.monotonic(), deadline, f"{what}: {predicted}, but {held}")
        for name, is_held in zip(predicted, held):
            print(f"  {what:<36} {name:<7} predicted {predicted[name]:5.1f} MiB, "
                  f"admitted {is_held:3} MiB")

    def test_what_is_admitted_follows_the_rule(self):
        print()
        hog = self.start_load("hog", self.MORE)
        self.admitted("the hog alone", {"hog": self.CAPACITY})
        modest = self.start_load("modest", 2540)
        # 10 and one for the page under way; and it may add 4 before it has to ask.
        self.admitted("one that behaves wants 10 MiB", {"modest": 11, "hog": self.CAPACITY - 15})
        self.pages["modest"] = self.MORE
        predict = lambda *guests: dict(zip(("hog", "modest"), self.shares(guests)))
        self.admitted("both want all, weights 100 and 100", predict((100, 0), (100, 0)))
        self.ctl(self.daemon, "xenstore", "write", f"/tool/tmemd/guest/{modest}/weight", "300")
        self.admitted("weights 100 and 300", predict((100, 0), (300, 0)))
        self.ctl(self.daemon, "xenstore", "write", f"/tool/tmemd/guest/{hog}/reserve", "12M")
        self.admitted("the hog has a reserve of 12 MiB", predict((100, 12), (300, 0)))
        self.ctl(self.daemon, "set", "modest", "weight=50")
        self.ctl(self.daemon, "xenstore", "rm", f"/tool/tmemd/guest/{hog}/reserve")
        self.admitted("weights 100 and 50, no reserve", predict((100, 0), (50, 0)))

        self.ctl(self.daemon, "xenstore", "write", f"/tool/tmemd/guest/{hog}/cap", "5M")
        deadline = time.monotonic() + DEADLINE
        while self.charged("hog") > 5 << 20:
            self.assertLess(time.monotonic(), deadline)
        most = max(self.charged("hog") for _ in range(50))
        self.assertLessEqual(most, 5 << 20)
        print(f"  the hog is capped at {5 << 20} bytes: never charged more than {most}")


class MetricsTest(TestCase):
    """What Prometheus gets, and what is packaged for it."""

    PACKAGED = os.path.join(os.path.dirname(__file__), "../../packaging/prometheus")

    def scraped(self, daemon):
        port = daemon.wait_for_line("metrics at").rsplit(" ", 1)[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE) as answer:
            return answer.read().decode()

    def test_a_running_daemon_is_scraped(self):
        daemon = self.start("metrics.address = \"127.0.0.1:0\"\n")
        guest = self.guest(daemon, "db1")
        domid = guest.greeting.split()[1]
        pool = guest.tell("pool persistent")
        self.assertEqual(guest.tell(f"put {pool} 1000"), 1000)
        self.assertEqual(guest.tell(f"get {pool} 1000"), 1000)
        text = self.scraped(daemon)
        labels = f'guest="db1",domid="{domid}"'
        for line in ['tmemd_capacity_bytes 268435456', 'tmemd_guests 1',
                     'tmemd_puts_total{result="stored"} 1000',
                     f'tmemd_guest_gets_total{{{labels},result="found"}} 1000',
                     f'tmemd_guest_pages{{{labels},class="persistent"}} 1000',
                     f'tmemd_guest_cap_bytes{{{labels}}} +Inf',
                     f'tmemd_guest_connected{{{labels}}} 1']:
            self.assertIn(line + "\n", text)
        timed = re.search(r'duration_seconds_count{operation="put_page"} (\d+)', text)
        self.assertGreater(int(timed[1]), 0)
        self.assertEqual(daemon.stop(), 0)

        promtool = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                                  capture_output=True, timeout=DEADLINE, check=False)
        # The library's own metrics are not ours to name.
        wrong = [line for line in (promtool.stdout + promtool.stderr).splitlines()
                 if not line.startswith("exposer_")]
        self.assertEqual(wrong, [])

        # Whatever the rules and the dashboard ask for exists.
        names = set(re.findall(r"^(tmemd_\w+)", text, re.MULTILINE))
        for file in ["tmemd.rules.yml", "tmemd.dashboard.json"]:
            with open(os.path.join(self.PACKAGED, file), encoding="utf-8") as asked:
                self.assertEqual(set(re.findall(r"tmemd_\w+", asked.read())) - names, set())

    def test_the_alert_rules_are_right(self):
        run_rules = run("promtool", "check", "rules", os.path.join(self.PACKAGED, "tmemd.rules.yml"))
        self.assertEqual(run_rules.returncode, 0, run_rules.stderr + run_rules.stdout)

    def test_an_address_that_is_taken_is_told(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.assert_tmemd_fails(
                ["--hypervisor", "loopback", "--control-socket", self.path("c"),
                 "--loopback-socket", self.path("l"), "--set", f"metrics.address={address}"], 4,
                f"cannot listen on {address}: Address already in use; another program is there")

    def test_other_hosts_are_not_served(self):
        self.assert_tmemd_fails(["--set", "metrics.address=0.0.0.0:9641"], 2, "127.0.0.1:PORT")

    def test_nobody_listens_if_not_asked_to(self):
        daemon = self.start()
        with open(f"/proc/{daemon.process.pid}/net/tcp", encoding="utf-8") as table:
            sockets = {line.split()[9] for line in table.readlines()[1:]}
        held = set()
        for fd in os.listdir(f"/proc/{daemon.process.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                held.add(os.readlink(f"/proc/{daemon.process.pid}/fd/{fd}"))
        self.assertEqual(held & {f"socket:[{inode}]" for inode in sockets}, set())

    def test_those_who_say_nothing_hold_up_neither_scrapes_nor_the_end(self):
        daemon = self.start("metrics.address = \"127.0.0.1:0\"\n")
        port = int(daemon.wait_for_line("metrics at").rsplit(" ", 1)[1])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            self.assertIn("tmemd_guests 0\n", answer.read().decode())
        silent += [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        self.assertEqual(daemon.stop(), 0)
        for connection in silent:
            connection.close()


class CompletionTest(TestCase):
    """The completion for bash, which asks tmemctl itself for the guests' names."""

    FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                        "../../packaging/tmemctl.bash-completion")

    def complete(self, *words):
        """What is offered for the last word."""
        line = " ".join(f"'{word}'" for word in ("tmemctl", *words))
        script = (f"source {self.FILE}; compopt() {{ :; }}; COMP_WORDS=({line}); "
                  f"COMP_CWORD={len(words)}; _tmemctl; echo \"${{COMPREPLY[*]}}\"")
        path = os.path.dirname(TMEMCTL) + ":" + os.environ["PATH"]
        done = run("bash", "-c", script, env=dict(os.environ, PATH=path))
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_offers_every_command(self):
        helped = run(TMEMCTL, "--help").stdout.split("Subcommands:\n")[1].split("\n\n")[0]
        commands = [line.split()[0] for line in helped.splitlines()]
        self.assertEqual(self.complete(""), commands)
        self.assertEqual(self.complete("fre"), ["freeze", "freeable"])

    def test_offers_the_guests_that_are_here(self):
        daemon = self.start()
        self.guest(daemon, "db1")
        self.assertEqual(self.complete("--socket", daemon.control, "show", "d"), ["db1"])
        self.assertEqual(self.complete("--socket", daemon.control, "set", "db1", "we"), ["weight="])
        self.assertEqual(self.complete("auth", "db1", "U", ""), ["allow", "deny"])
        self.assertIn("--once", self.complete("top", "--"))
        self.assertIn("watch", self.complete("xenstore", ""))
        self.assertIn("--persist", self.complete("set", "db1", "--"))


class TopScreenTest(TestCase):
    """`tmemctl top` on a terminal."""

    def setUp(self):
        super().setUp()
        self.daemon = self.start()
        self.guest(self.daemon, "db1")
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(TMEMCTL, [TMEMCTL, "--socket", self.daemon.control, "top", "--delay", "0.1"])
        self.addCleanup(os.close, self.terminal)

    def wait_for(self, text):
        seen = b""
        while text.encode() not in seen:
            ready, _, _ = select.select([self.terminal], [], [], DEADLINE)
            self.assertTrue(ready, f"no '{text}' in {seen!r}")
            seen += os.read(self.terminal, 4096)

    def ended(self):
        while True:  # drain, so that it can write its last
            try:
                if not os.read(self.terminal, 4096):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def test_q_quits(self):
        self.wait_for("db1")
        os.write(self.terminal, b"nr")
        os.write(self.terminal, b"q")
        self.assertEqual(self.ended(), 0)

    def test_a_daemon_that_goes_away_is_told_and_found_again(self):
        self.wait_for("db1")
        self.daemon.stop()
        self.wait_for("no tmemd answers")
        self.start()
        self.wait_for("sort: ")
        os.write(self.terminal, b"q")
        self.assertEqual(self.ended(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
