#!/usr/bin/env python3
"""Three guests at once under one tmemd, with real programs on real data.

  sqlite  sqlite3 builds and queries an indexed in-memory table, its heap under tmemrun
  sort    sort puts a text corpus in order, its heap under tmemrun
  files   tmem-file-cache reads files of /usr with an ephemeral pool as its victim cache

Each is run once as it is and once under tmem, and its output must be the same.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
PAGE = 4096
SAMPLE_SECONDS = 3
SQL_ROWS = 1_000_000
CORPUS_BYTES = 96 * MIB
TEXT_SUFFIXES = (".h", ".hpp", ".c", ".py", ".pm", ".pl", ".txt", ".html", ".md", ".json", ".xml")

SQL = f"""
CREATE TABLE event(id INTEGER PRIMARY KEY, kind INTEGER, stamp INTEGER, note TEXT);
INSERT INTO event
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {SQL_ROWS})
  SELECT i, i * 7919 % 1000, i * 104729 % 86400,
         printf('event %d of kind %d at %d: %s', i, i * 7919 % 1000, i * 104729 % 86400,
                substr('the quick brown fox jumps over the lazy dog', 1 + i % 30))
  FROM n;
CREATE INDEX by_kind ON event(kind, stamp);
SELECT count(*), sum(stamp), sum(length(note)) FROM event;
SELECT kind, count(*), min(stamp), max(stamp) FROM event GROUP BY kind ORDER BY kind LIMIT 20;
SELECT id, note FROM event WHERE kind = 421 ORDER BY stamp, id LIMIT 20;
UPDATE event SET note = note || ' (seen)' WHERE kind < 50;
SELECT count(*), sum(length(note)) FROM event WHERE note LIKE '%(seen)';
"""


class Failure(Exception):
    """What went wrong, in one line for the user."""


def human(count):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024


def share(part, whole):
    return f"{100 * part / whole:.1f}%" if whole else "-"


class Demo:
    def __init__(self, build, work, resident):
        self.build = build
        self.work = work
        self.resident = resident
        self.control = work / "control.sock"
        self.loopback = work / "loopback.sock"
        self.started = time.monotonic()
        self.daemon = None
        self.peak_segments = 0
        self.peak_served = 0
        self.ratio = None

    def tool(self, name):
        for folder in ("src/daemon", "src/ctl", "src/run", "examples"):
            path = self.build / folder / name
            if path.exists():
                return str(path)
        raise Failure(f"{name} is not built; run tools/build release")

    def say(self, text):
        print(f"{time.monotonic() - self.started:5.0f}s  {text}", flush=True)

    # ---- the daemon ----

    def start_daemon(self, capacity):
        log = open(self.work / "tmemd.log", "wb")
        empty = self.work / "tmemd.toml"
        empty.write_text("")
        self.daemon = subprocess.Popen(
            [self.tool("tmemd"), "--config", empty, "--hypervisor", "loopback",
             "--capacity", capacity, "--loopback-socket", self.loopback,
             "--control-socket", self.control],
            stdout=log, stderr=log)
        while self.ask("version") is None:
            if self.daemon.poll() is not None:
                raise Failure("tmemd did not start: " + self.daemon_log())
            time.sleep(0.05)
        self.say(f"tmemd serves {capacity} on the loopback hypervisor")

    def daemon_log(self):
        return (self.work / "tmemd.log").read_text(errors="replace").strip()[-500:]

    def stop_daemon(self):
        if self.daemon is None or self.daemon.poll() is not None:
            return None
        self.daemon.send_signal(signal.SIGTERM)
        return self.daemon.wait(timeout=60)

    def ask(self, *words):
        """The answer of tmemctl as JSON, or None if the daemon does not answer."""
        run = subprocess.run([self.tool("tmemctl"), "--socket", self.control, "--json", *words],
                             capture_output=True, text=True, check=False)
        return json.loads(run.stdout) if run.returncode == 0 else None

    # ---- the guests ----

    def make_corpus(self):
        """Lines of real text from below /usr, in the order in which they are found."""
        corpus = self.work / "corpus.txt"
        written = 0
        with open(corpus, "wb") as out:
            for folder, folders, names in os.walk("/usr"):
                folders.sort()
                for name in sorted(names):
                    path = os.path.join(folder, name)
                    if not name.endswith(TEXT_SUFFIXES) or os.path.islink(path):
                        continue
                    try:
                        with open(path, "rb") as text:
                            data = text.read()
                    except OSError:
                        continue
                    out.write(data if data.endswith(b"\n") else data + b"\n")
                    written += len(data)
                    if written >= CORPUS_BYTES:
                        return corpus, written
        return corpus, written

    def guests(self):
        """name -> (command as it is, command under tmem, its input)"""
        corpus, size = self.make_corpus()
        self.say(f"a text corpus of {human(size)} from /usr, a table of {SQL_ROWS:,} rows")
        sql = self.work / "build-and-query.sql"
        sql.write_text(SQL)
        sort = ["sort", "--parallel=1", "-S", "1G", str(corpus)]
        files = [self.tool("tmem-file-cache"), "--limit", "256M", "--passes", "3",
                 "--cache", "32M", "/usr/lib", "/usr/share"]

        def run(name, command):
            return [self.tool("tmemrun"), "--resident", self.resident, "--guest", name,
                    "--socket", self.loopback, "--stats-json", self.work / f"{name}.json", "--",
                    *command]

        return {
            "sqlite": (["sqlite3", ":memory:"], run("sqlite", ["sqlite3", ":memory:"]), sql),
            "sort": (sort, run("sort", sort), os.devnull),
            "files": (files + ["--plain"],
                      files + ["--socket", self.loopback, "--guest", "files",
                               "--stats-json", self.work / "files.json"], os.devnull),
        }

    def start(self, name, command, source, kind):
        out = open(self.work / f"{name}.{kind}.out", "wb")
        err = open(self.work / f"{name}.{kind}.err", "wb")
        with open(source, "rb") as stdin:
            return subprocess.Popen([str(word) for word in command], stdin=stdin, stdout=out,
                                    stderr=err, env={**os.environ, "LC_ALL": "C"})

    def finish(self, name, process, kind):
        if process.wait() != 0:
            error = (self.work / f"{name}.{kind}.err").read_text(errors="replace").strip()
            raise Failure(f"{name} ({kind}) ended with status {process.returncode}: {error[-500:]}")

    def digest(self, name, kind):
        digest = hashlib.sha256()
        with open(self.work / f"{name}.{kind}.out", "rb") as out:
            while block := out.read(MIB):
                digest.update(block)
        return digest.hexdigest()

    # ---- figures ----

    def sample(self):
        stats = self.ask("stats")
        if stats is None:
            return
        host = stats["host"]
        segments = sum(host["segment_bytes"].values()) + host["index_bytes"]
        stored = host["stored"].values()
        pages = sum(one["pages"] for one in stored)
        payload = sum(one["payload_bytes"] for one in stored)
        if pages * PAGE > self.peak_served:
            self.peak_served = pages * PAGE
            self.peak_segments = segments
            self.ratio = pages * PAGE / payload if payload else None
        counters = host["counters"]
        self.say(f"{counters['puts']:>9,} puts  {counters['gets_found']:>9,} gets found  "
                 f"{human(pages * PAGE):>10} served from {human(segments):>10}  "
                 f"{host['guests']} guests")

    def summary(self, seconds):
        host = self.ask("stats")["host"]
        counters = host["counters"]
        refused = counters["puts_no_memory"] + counters["puts_frozen"]
        rows = [
            ("pages put", f"{counters['puts']:,}"),
            ("pages got", f"{counters['gets_found']:,}"),
            ("puts refused", f"{refused:,}"),
            ("hit rate of gets", share(counters["gets_found"], counters["gets"])),
            ("ephemeral pages evicted", f"{counters['evicted']:,}"),
            ("compression ratio", f"{self.ratio:.2f}" if self.ratio else "-"),
            ("memory served, at the peak", human(self.peak_served)),
            ("memory used for it", human(self.peak_segments)),
            ("corrupt pages", f"{counters['corrupt']:,}"),
        ]
        print("\nall guests together")
        for label, value in rows:
            print(f"  {label:<28}{value:>14}")
        print("\neach guest")
        for name in ("sqlite", "sort"):
            run = json.loads((self.work / f"{name}.json").read_text())
            print(f"  {name:<8}{human(run['content_peak'] * PAGE)} of heap in "
                  f"{human(run['resident_peak'] * PAGE)} resident: {run['faults']:,} faults, "
                  f"{run['puts']:,} puts, {run['puts_refused']:,} refused, "
                  f"{run['gets_found']:,} gets, {run['spilled']:,} spilled")
        files = json.loads((self.work / "files.json").read_text())
        misses = files["reads"] - files["cache_hits"]
        print(f"  {'files':<8}{files['reads']:,} reads: {share(files['cache_hits'], files['reads'])} "
              f"in its own cache; of the rest {share(files['tmem_hits'], misses)} came from tmem, "
              f"{files['disk_reads']:,} from the disk")
        print("\nproof: the output of each program, as it is and under tmem (sha256)")
        same = True
        for name in ("sqlite", "sort", "files"):
            plain, tmem = self.digest(name, "plain"), self.digest(name, "tmem")
            same &= plain == tmem
            verdict = "identical" if plain == tmem else "DIFFERENT"
            print(f"  {name:<8}{verdict}  {plain[:16]} {tmem[:16]}  "
                  f"({seconds['plain'][name]:.1f} s, {seconds['tmem'][name]:.1f} s)")
        return same

    def run_all(self, guests, kind):
        """Seconds that each guest took; all of them at once."""
        begin = time.monotonic()
        running = {name: self.start(name, commands[kind == "tmem"], commands[2], kind)
                   for name, commands in guests.items()}
        seconds = {}
        sampled = begin
        try:
            while running:
                for name, process in list(running.items()):
                    if process.poll() is None:
                        continue
                    self.finish(name, process, kind)
                    del running[name]
                    seconds[name] = time.monotonic() - begin
                    if kind == "tmem":
                        self.say(f"{name} is done")
                if kind == "tmem" and time.monotonic() - sampled >= SAMPLE_SECONDS:
                    sampled = time.monotonic()
                    self.sample()
                time.sleep(0.1)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
        return seconds

    def main(self, capacity):
        guests = self.guests()
        self.say("the programs as they are, for comparison")
        seconds = {"plain": self.run_all(guests, "plain")}
        self.start_daemon(capacity)
        self.say(f"the same under tmem, three guests at once, {self.resident} resident each")
        seconds["tmem"] = self.run_all(guests, "tmem")
        same = self.summary(seconds)
        status = self.stop_daemon()
        print(f"\ntmemd stopped with status {status}.")
        if not same:
            raise Failure("an output differs; the files are in " + str(self.work))
        print("""
What to try next
  build/release/src/daemon/tmemd --help-config   every setting
  build/release/src/ctl/tmemctl --help           list, stats, top, set, freeze, ...
  build/release/src/run/tmemrun --help           your own program under tmem
  docs/architecture.md                           how it works
  ./tools/check                                  all tests""")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=pathlib.Path, required=True, help="a build folder")
    parser.add_argument("--resident", default="48M", help="resident limit of sqlite and sort")
    parser.add_argument("--capacity", default="512M", help="memory for tmemd")
    parser.add_argument("--keep", action="store_true", help="keep the work folder")
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="tmemd-demo-"))
    demo = Demo(options.build.resolve(), work, options.resident)
    try:
        demo.main(options.capacity)
    except Failure as failure:
        print(f"quickstart: {failure}", file=sys.stderr)
        options.keep = True
        sys.exit(1)
    finally:
        demo.stop_daemon()
        if options.keep:
            print(f"the work folder is {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
