#!/usr/bin/env python3
"""What `cmake --install` leaves in a prefix: it is all there, where Debian looks for it, and works.

The environment says what was built: CMAKE, TMEM_BUILD, TMEM_LIBDIR, CC, CXX, TMEM_VERSION,
TMEM_LOWDOWN. Nothing here waits by sleeping: the daemon tells through sd_notify when it is ready.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

DEADLINE = 120  # seconds; reached only by a hang
LIBDIR = os.environ["TMEM_LIBDIR"]
VERSION = os.environ["TMEM_VERSION"]

PROGRAMS = ["bin/tmemctl", "bin/tmemrun", "sbin/tmemd"]
FILES = [
    "etc/tmemd/tmemd.toml",
    "include/tmem_client.h",
    "lib/systemd/system/tmemd.service",
    "lib/systemd/system/var-lib-tmemd.mount",
    "share/bash-completion/completions/tmemctl",
    "share/doc/tmemd/examples/example.c",
    "share/doc/tmemd/tmemctl.md",
    "share/doc/tmemd/tmemd.md",
    "share/tmemd/prometheus/metrics.conf",
    "share/tmemd/prometheus/tmemd.dashboard.json",
    "share/tmemd/prometheus/tmemd.rules.yml",
    f"{LIBDIR}/libtmem_client.a",
    f"{LIBDIR}/libtmem_client.so",
    f"{LIBDIR}/libtmem_client.so.0",
    f"{LIBDIR}/libtmem_client.so.{VERSION}",
    f"{LIBDIR}/pkgconfig/tmem_client.pc",
]
MANUALS = {
    "share/man/man1/tmemctl.1": "tmemctl",
    "share/man/man1/tmemrun.1": "tmemrun",
    "share/man/man8/tmemd.8": "tmemd",
}


def run(*words, **options):
    """The command's output; an error that shows what it printed if it fails."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=DEADLINE, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{words} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class Daemon:
    """The installed tmemd, on sockets of its own."""

    def __init__(self, prefix, folder):
        self.loopback = os.path.join(folder, "loopback.sock")
        self.control = os.path.join(folder, "control.sock")
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.settimeout(DEADLINE)
        notify.bind(os.path.join(folder, "notify.sock"))
        self.process = subprocess.Popen(
            [f"{prefix}/sbin/tmemd", "--config", f"{prefix}/etc/tmemd/tmemd.toml",
             "--hypervisor", "loopback", "--loopback-socket", self.loopback,
             "--control-socket", self.control],
            env=dict(os.environ, NOTIFY_SOCKET=os.path.join(folder, "notify.sock")))
        while "READY=1" not in notify.recv(4096).decode():
            pass
        notify.close()

    def stop(self):
        self.process.terminate()
        return self.process.wait(DEADLINE)


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="tmem-install-")
        # A prefix that the build does not know.
        cls.prefix = os.path.join(cls.folder, "prefix")
        run(os.environ["CMAKE"], "--install", os.environ["TMEM_BUILD"], "--prefix", cls.prefix)
        cls.daemon = Daemon(cls.prefix, cls.folder)

    @classmethod
    def tearDownClass(cls):
        status = cls.daemon.stop()
        shutil.rmtree(cls.folder)
        assert status == 0, f"tmemd ended with {status}"

    def path(self, name):
        return os.path.join(self.prefix, name)

    def text(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def pkg_config(self, *words):
        variables = dict(os.environ, PKG_CONFIG_PATH=self.path(f"{LIBDIR}/pkgconfig"))
        return run("pkg-config", *words, "tmem_client", env=variables).split()

    def check_example(self, program):
        variables = dict(os.environ, LD_LIBRARY_PATH=self.path(LIBDIR))
        output = run(program, self.daemon.loopback, os.path.basename(program), env=variables)
        self.assertIn("persistent: 16 pages stored and found again", output)
        self.assertIn("ephemeral: 16 of 16 pages were still there", output)

    def test_all_files_are_there(self):
        for name in FILES + PROGRAMS:
            self.assertTrue(os.path.isfile(self.path(name)), name)
        for name in PROGRAMS:
            self.assertTrue(os.access(self.path(name), os.X_OK), name)

    def test_nothing_names_the_build(self):
        # Programs and libraries do, in what is for debuggers.
        for name in FILES:
            if "/libtmem_client." not in name:
                self.assertNotIn(os.environ["TMEM_BUILD"], self.text(name), name)

    def test_a_program_is_built_against_the_shared_library(self):
        program = os.path.join(self.folder, "example-shared")
        run(os.environ["CC"], "-Wall", "-Wextra", "-Werror",
            self.path("share/doc/tmemd/examples/example.c"), "-o", program,
            *self.pkg_config("--cflags", "--libs"))
        self.assertIn("libtmem_client.so.0", run("readelf", "-d", program))
        self.check_example(program)

    def test_a_program_is_built_against_the_static_library(self):
        program = os.path.join(self.folder, "example-static")
        libraries = ["-l:libtmem_client.a" if word == "-ltmem_client" else word
                     for word in self.pkg_config("--static", "--libs")]
        run(os.environ["CC"], self.path("share/doc/tmemd/examples/example.c"), "-o", program,
            *self.pkg_config("--cflags"), *libraries)
        self.assertNotIn("libtmem_client", run("readelf", "-d", program))
        self.check_example(program)

    def test_pkg_config_tells_the_version(self):
        self.assertEqual(self.pkg_config("--modversion"), [VERSION])

    def test_the_header_stands_alone(self):
        source = os.path.join(self.folder, "alone.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write("#include <tmem_client.h>\n")
        flags = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only",
                 *self.pkg_config("--cflags")]
        run(os.environ["CC"], "-std=c11", *flags, source)
        run(os.environ["CXX"], "-std=c++17", *flags, "-x", "c++", source)

    def test_the_library_shows_its_api_alone(self):
        listing = run("nm", "-D", "--defined-only", self.path(f"{LIBDIR}/libtmem_client.so"))
        names = {line.split()[-1].split("@")[0] for line in listing.splitlines()}
        declared = set(re.findall(r"\b(tmem_\w+)\(", self.text("include/tmem_client.h")))
        functions = {name for name in names if not name.startswith("TMEM_")}
        self.assertTrue(functions)
        self.assertEqual(functions - declared, set())

    def test_tmemctl_finds_the_daemon(self):
        output = run(self.path("bin/tmemctl"), "--socket", self.daemon.control, "version")
        self.assertEqual(output.count(VERSION), 2, output)

    def test_tmemrun_finds_its_library(self):
        done = subprocess.run(
            [self.path("bin/tmemrun"), "--socket", self.daemon.loopback, "--resident", "64M", "--",
             "python3", "-c", "print(sum(map(len, ['x' * 4096] * 1000)))"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=DEADLINE,
            check=False)
        if "userfaultfd" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual((done.returncode, done.stdout), (0, "4096000\n"), done.stderr)

    def test_the_unit_starts_what_is_installed(self):
        command = re.search(r"^ExecStart=(.*)$", self.text("lib/systemd/system/tmemd.service"),
                            re.MULTILINE).group(1).split()
        self.assertEqual(command[0], self.path("sbin/tmemd"))
        self.assertEqual(command[1:3], ["--config", self.path("etc/tmemd/tmemd.toml")])
        run(*command[:3], "--check-config")

    def test_the_completion_loads(self):
        output = run("bash", "-c", f"source '{self.path('share/bash-completion/completions/tmemctl')}'"
                     " && complete -p tmemctl")
        self.assertIn("_tmemctl", output)

    def test_the_manual_pages_have_names_and_format_cleanly(self):
        if not os.environ["TMEM_LOWDOWN"].startswith("/"):
            self.skipTest("built without lowdown")
        self.assertEqual(self.text("share/man/man5/tmemd.toml.5"), ".so man8/tmemd.8\n")
        for page, name in MANUALS.items():
            source = self.text(page)
            self.assertRegex(source, rf'\.TH "{name}" "{page[-1]}"')
            self.assertRegex(source, rf"\n\.SH\s+NAME\n\.LP\n{name} \\?- \w+")
            if shutil.which("groff"):
                # Lines that cannot be justified in a narrow column are no fault.
                complaints = run("groff", "-t", "-man", "-Tutf8", "-z", "-W", "break",
                                 self.path(page)).splitlines()
                faults = [line for line in complaints if "cannot adjust" not in line]
                self.assertEqual(faults, [], page)


if __name__ == "__main__":
    unittest.main(verbosity=2)
