#!/usr/bin/env python3
"""Real programs under tmemrun give what they give without it.

usage: programs_test.py --tmemrun PATH [--library PATH] [--tmemd PATH] PROGRAM

Runs PROGRAM (sort, sqlite3, python3, redis, or processes: what happens around fork and exec) once
as it is and once with a working set several times the resident limit, and compares. With --tmemd,
a daemon is started for the test; without, --library must hold its own. Exits with 77 if the
program is not installed.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

PAGE = 4096
MIB = 1 << 20
RESIDENT = 4 * MIB
SKIPPED = 77


class Failure(Exception):
    pass


def expect(condition, message):
    if not condition:
        raise Failure(message)


class Daemon:
    """A tmemd on sockets of its own, from its first answer to the end of the test."""

    def __init__(self, tmemd, folder):
        self.socket = folder / "loopback.sock"
        config = folder / "tmemd.toml"
        config.write_text("")
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(folder / "notify.sock"))
        self.process = subprocess.Popen(
            [tmemd, "--config", config, "--hypervisor", "loopback", "--capacity", "1G",
             "--control-socket", folder / "control.sock", "--loopback-socket", self.socket],
            env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify.sock")},
            stderr=subprocess.DEVNULL)
        while b"READY=1" not in notify.recv(4096):
            pass

    def stop(self):
        self.process.terminate()
        expect(self.process.wait() == 0, "tmemd did not end well")


class Runner:
    def __init__(self, arguments, folder):
        self.folder = folder
        self.daemon = Daemon(arguments.tmemd, folder) if arguments.tmemd else None
        self.command = [arguments.tmemrun]
        if arguments.library:
            self.command += ["--library", arguments.library]
        if self.daemon:
            self.command += ["--socket", str(self.daemon.socket)]

    def under_tmem(self, command, *options, resident=RESIDENT):
        """The command line that runs `command` under tmem."""
        return [*self.command, "--resident", str(resident), "--stats-json", str(self.stats_file()),
                "--spill", str(self.folder), *options, "--", *command]

    def stats_file(self):
        return self.folder / "stats.json"

    def check_stats(self, resident=RESIDENT, times=3):
        """The limit was kept, and the program used several times as much."""
        stats = json.loads(self.stats_file().read_text())
        expect(stats["resident_peak"] * PAGE <= resident, f"over the limit: {stats}")
        expect(stats["content_peak"] * PAGE >= times * resident, f"too small a test: {stats}")
        expect(stats["gets"] > 1000 and stats["gets"] == stats["gets_found"], f"gets: {stats}")
        return stats

    def compare(self, command, **streams):
        """Runs `command` both ways; returns its output, which must be the same."""
        environment = os.environ | {"LC_ALL": "C", "PYTHONHASHSEED": "0"}
        plain = run(command, env=environment, **streams)
        restricted = run(self.under_tmem(command), env=environment, **streams)
        expect(plain == restricted, f"{command[0]}: output differs under tmem")
        self.check_stats()
        return plain


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    expect(done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr.decode()}")
    expect(done.stderr == b"", f"{command} wrote to standard error: {done.stderr.decode()}")
    return done.stdout


def test_sort(runner):
    text = runner.folder / "text"
    generator = random.Random(1)
    with open(text, "w", encoding="ascii") as file:
        for _ in range(150_000):
            file.write(f"{generator.getrandbits(64):016x} {generator.randrange(1000)} some words\n")
    for options in ([], ["-k2,2n", "-k1,1r", "--parallel=2"]):
        lines = runner.compare(["sort", "-S", "256M", *options, str(text)]).splitlines()
        expect(len(lines) == 150_000, "lines are missing")


def test_sqlite3(runner):
    script = b"""
        CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, town INTEGER, note BLOB);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
          INSERT INTO person SELECT i, printf('name-%08x', i * 2654435761 % 4294967296),
                                    i * 7919 % 1709, printf('%.*c', i % 200, 'x') FROM n;
        CREATE INDEX by_name ON person (name);
        CREATE INDEX by_town ON person (town, name);
        UPDATE person SET note = note || name WHERE town % 7 = 0;
        DELETE FROM person WHERE town % 11 = 0;
        SELECT count(*), sum(length(note)) FROM person;
        SELECT town, count(*), min(name) FROM person GROUP BY town ORDER BY 2 DESC, 1 LIMIT 10;
        SELECT a.name, b.id FROM person a JOIN person b ON b.town = a.town AND b.name > a.name
          WHERE a.id % 7000 = 1 ORDER BY 1, 2 LIMIT 20;
        PRAGMA integrity_check;
    """
    output = runner.compare(["sqlite3", "-batch", ":memory:"], input=script)
    expect(output.endswith(b"ok\n"), "the database is corrupt")


PYTHON_PROGRAM = """
import hashlib, random, threading
random.seed(7)
words = {f"key-{n}": bytes([n % 251]) * random.randrange(1, 2000) for n in range(12_000)}
order = list(words)
random.shuffle(order)
digest = hashlib.sha256()
def work(part):
    for key in part:
        words[key] = words[key][::-1] + key.encode()
threads = [threading.Thread(target=work, args=(order[k::4],)) for k in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
for key in sorted(order, key=lambda k: (len(words[k]), k)):
    digest.update(words[key])
big = bytearray(10_000_000)
for n in range(0, len(big), 4099): big[n] = n % 256
digest.update(big)
print(len(words), digest.hexdigest())
"""


def test_python3(runner):
    runner.compare(["python3", "-c", PYTHON_PROGRAM])


class Redis:
    """A redis-server, and commands to it."""

    def __init__(self, folder, wrap, *options):
        self.socket = folder / "redis.sock"
        self.process = subprocess.Popen(
            wrap(["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "",
                  "--dir", str(folder), "--enable-debug-command", "local", "--daemonize", "no",
                  "--supervised", "no",
                  *options]),
            stdout=subprocess.PIPE)
        for line in self.process.stdout:
            if b"eady to accept connections" in line:
                break

    def ask(self, *words):
        return run(["redis-cli", "-s", str(self.socket), *words]).decode().strip()

    def load(self, commands):
        run(["redis-cli", "-s", str(self.socket), "--pipe"], input=commands)

    def stop(self):
        subprocess.run(["redis-cli", "-s", str(self.socket), "shutdown", "nosave"], check=False,
                       stdout=subprocess.DEVNULL)
        self.process.stdout.read()
        expect(self.process.wait() == 0, "redis-server did not end well")


def redis_commands():
    generator = random.Random(3)
    out = []
    for n in range(40_000):
        value = f"{n}:" + f"{generator.getrandbits(256):x}" * generator.randrange(1, 12)
        words = ("SET", f"key:{n}", value) if n % 3 else ("HSET", f"hash:{n % 500}", str(n), value)
        out.append(f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words))
    return "".join(out).encode()


def test_redis(runner):
    if shutil.which("redis-server") is None:
        sys.exit(SKIPPED)
    commands = redis_commands()
    plain = Redis(runner.folder, lambda command: command)
    plain.load(commands)
    digest = plain.ask("debug", "digest")
    plain.stop()
    restricted = Redis(runner.folder, runner.under_tmem)
    restricted.load(commands)
    expect(restricted.ask("debug", "digest") == digest, "the data differs under tmem")
    # The dump is written by a forked child, of the data at the fork, while the parent changes it.
    restricted.ask("bgsave")
    restricted.ask("debug", "populate", "10000", "late", "500")
    while "rdb_bgsave_in_progress:1" in restricted.ask("info", "persistence"):
        pass
    expect("rdb_last_bgsave_status:ok" in restricted.ask("info", "persistence"), "bgsave failed")
    restricted.stop()
    stats = runner.check_stats()
    expect(stats["forks"] >= 1 and stats["child_faults"] > 1000, f"no bgsave: {stats}")
    reloaded = Redis(runner.folder, lambda command: command)
    expect(reloaded.ask("debug", "digest") == digest, "the dump differs from the data")
    reloaded.stop()


PROCESSES_PROGRAM = """
import os, subprocess, sys
data = [bytes([n % 251]) * 3000 for n in range(6_000)]
total = sum(x[7] for x in data)
# fork and exec, vfork and exec, and a shell in between.
print(subprocess.run(["sh", "-c", "env | grep -c TMEMRUN"], stdout=subprocess.PIPE).stdout)
print(subprocess.check_output(["expr", "3", "+", "4"], preexec_fn=lambda: None))
print(os.system("exit 3"), os.popen("echo popen").read())
# Children that stay: each changes its copy, none sees the others' changes.
readers = []
for k in range(3):
    r, w = os.pipe()
    if os.fork() == 0:
        for n in range(k, len(data), 3): data[n] = bytes([k]) * 3000
        os.write(w, str(sum(x[7] for x in data)).encode())
        os._exit(0)
    os.close(w)
    data[k] = bytes([0]) * 3000
    readers.append(r)
for r in readers:
    print(os.read(r, 100).decode())
    os.wait()
print(total, sum(x[7] for x in data))
sys.stdout.flush()
# A child that outlives its parent.
r, w = os.pipe()
if os.fork() == 0:
    os.close(w)
    os.read(r, 1)
    print(sum(x[7] for x in data))
"""


def test_processes(runner):
    runner.compare(["python3", "-c", PROCESSES_PROGRAM])
    # A script becomes its interpreter by exec: the same process, still under tmem.
    script = runner.folder / "script"
    script.write_text("#!/bin/sh\nexec python3 -c 'print(len([bytes(1000) for n in range(30000)]))'\n")
    script.chmod(0o755)
    expect(run(runner.under_tmem([str(script)])) == b"30000\n", "a script's program")
    # The program's status and signal are tmemrun's.
    for command, status in (("exit 7", 7), ("kill -TERM $$", -signal.SIGTERM)):
        done = subprocess.run(runner.under_tmem(["sh", "-c", command]), check=False)
        expect(done.returncode == status, f"'{command}' ended with {done.returncode}")


def test_errors(runner):
    def fails(status, message, *words):
        command = runner.command[:1] if "--socket" in words else runner.command
        done = subprocess.run([*command, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        text = done.stderr.decode()
        expect(done.returncode == status, f"{words}: ended with {done.returncode}, {text}")
        expect(text.startswith("tmemrun: ") and message in text, f"{words}: {text}")
        expect(text.count("\n") == 1, f"more than one line: {text}")

    fails(125, "at least 1M", "--resident", "1000", "--", "true")
    fails(125, "--help", "--no-such-option", "--", "true")
    fails(125, "--help")
    fails(127, "not found", "--", "no-such-program")
    fails(126, "statically linked", "--", "/sbin/ldconfig")
    fails(125, "/nonexistent", "--spill", "/nonexistent", "--", "true")
    if runner.daemon:
        fails(125, "is tmemd running", "--socket", str(runner.folder / "none.sock"), "--", "true")


def main():
    tests = {name.removeprefix("test_"): function for name, function in globals().items()
             if name.startswith("test_")}
    parser = argparse.ArgumentParser(description="Real programs under tmemrun.")
    parser.add_argument("--tmemrun", required=True)
    parser.add_argument("--library")
    parser.add_argument("--tmemd")
    parser.add_argument("program", choices=tests)
    arguments = parser.parse_args()
    if arguments.program in ("sort", "sqlite3", "python3") and not shutil.which(arguments.program):
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="tmemrun-test-") as name:
        runner = Runner(arguments, pathlib.Path(name))
        try:
            tests[arguments.program](runner)
        except Failure as failure:
            sys.exit(f"FAILED: {failure}")
        finally:
            if runner.daemon:
                runner.daemon.stop()


if __name__ == "__main__":
    main()
