#!/usr/bin/env python3
"""tools/bench: its arguments, table, JSON and exit status, and that zram is left as it was.

The programs are canned: scripts that print what a benchmark would. Nothing is built or measured.
"""

import importlib.machinery
import importlib.util
import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

PATH = os.path.join(os.environ["TMEM_TOOLS"], "bench")
DEADLINE = 60  # seconds; reached only by a hang


def load():
    loader = importlib.machinery.SourceFileLoader("bench", PATH)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench", loader))
    sys.modules["bench"] = module  # where its dataclasses look for their module
    loader.exec_module(module)
    return module


bench = load()


def counters(name, **values):
    """One benchmark as Google Benchmark prints it."""
    return {"name": f"{name}/iterations:100/manual_time",
            "run_name": f"{name}/iterations:100/manual_time", "run_type": "iteration",
            "cpu_time": 1.0, "time_unit": "ns"} | values


def raw_results(put=800.0, flush=90.0):
    store = "raw:1GiB/persistent"
    return [counters(f"{store}/put", ns=put, yardstick_ns=900.0),
            counters(f"{store}/get", ns=880.0, yardstick_ns=900.0),
            counters(f"{store}/flush_page", ns=flush, yardstick_ns=900.0),
            counters(f"{store}/flush_page_in_order", ns=80.0, yardstick_ns=900.0),
            counters(f"{store}/flush_object_of_1024", ns=40_000.0)]


class Command(unittest.TestCase):
    """The command as its users have it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def program(self, name, script):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, stat.S_IRWXU)

    def prints(self, name, results, status=0):
        self.program(name, f"cat <<'END'\n{json.dumps({'benchmarks': results})}\nEND\n"
                           f"exit {status}\n")

    def bench(self, *arguments):
        return subprocess.run([sys.executable, PATH, "--programs", self.folder, "--quick",
                               "--corpus", self.folder, *arguments],
                              capture_output=True, text=True, timeout=DEADLINE, check=False)

    def test_targets_that_are_met(self):
        self.prints("bench_store", raw_results())
        done = self.bench("raw")
        self.assertEqual(done.returncode, 0, done.stderr)
        put = next(line for line in done.stdout.splitlines() if line.startswith("put, "))
        self.assertEqual(put.split(), "put, uncompressed 800 ns memcpy 900 ns 0.889x <= 1.00x met"
                         .split())
        self.assertIn("5 met, 0 missed, 0 left out, 0 failed", done.stdout)

    def test_a_target_that_is_missed(self):
        self.prints("bench_store", raw_results(put=901.0))
        done = self.bench("raw")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"put, uncompressed .* 1\.001x +<= 1\.00x +MISSED")
        self.assertIn("4 met, 1 missed", done.stdout)

    def test_json_on_stdout_and_the_table_beside_it(self):
        self.prints("bench_store", raw_results(flush=120.0))
        done = self.bench("--json", "raw")
        rows = {row["figure"]: row for row in json.loads(done.stdout)["rows"]}
        self.assertEqual(rows["put, uncompressed"]["ratio"], 800 / 900)
        self.assertEqual(rows["put, uncompressed"]["target"], {"at_most": 1.0})
        self.assertIs(rows["put, uncompressed"]["met"], True)
        self.assertEqual(rows["flush page, at random"]["ours"], 120.0)
        self.assertIs(rows["flush page, at random"]["met"], False)
        self.assertIn("4 met, 1 missed", done.stderr)

    def test_a_program_that_fails_fails_its_rows_and_not_the_others(self):
        self.program("bench_store", "exit 3\n")
        self.program("kill_test", "echo '25 kills, 9 operations, 1 puts refused: "
                                  "0 lost, 0 stale, 0 wrong (--seed 1)'\n")
        done = self.bench("raw", "kills")
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stdout, r"put, uncompressed .* FAILED: .*bench_store.* ended with 3")
        self.assertIn("1 met, 0 missed, 0 left out, 5 failed", done.stdout)

    def test_a_benchmark_that_is_not_reported_is_a_failure(self):
        self.prints("bench_store", raw_results()[:1])
        done = self.bench("raw")
        self.assertEqual(done.returncode, 2)
        self.assertIn("does not report 'raw:1GiB/persistent/get ns'", done.stdout)

    def test_kills(self):
        for lost, status in ((0, 0), (1, 1)):
            self.program("kill_test", f"echo \"25 kills, 9 operations, 1 puts refused: "
                                      f"{lost} lost, 0 stale, 0 wrong (--seed 1)\"; exit {lost}\n")
            done = self.bench("kills")
            self.assertEqual(done.returncode, status, done.stdout)

    def test_kills_that_were_not_completed(self):
        self.program("kill_test", "echo '3 kills, 9 operations, 1 puts refused: 0 lost, 0 stale, "
                                  "0 wrong (--seed 1); NOT COMPLETED'; exit 1\n")
        self.assertEqual(self.bench("kills").returncode, 2)

    def test_a_figure_that_there_is_not(self):
        done = self.bench("speed")
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no figure 'speed'", done.stderr)


class Measuring(unittest.TestCase):
    def test_too_little_memory_leaves_rows_out(self):
        with mock.patch.object(bench, "available_memory", return_value=3 << 30):
            rows = bench.measure(bench.raw(False), bench.Programs("/nowhere"), "")
        self.assertEqual({row["left_out"] for row in rows},
                         {"needs 14 GiB of memory, 3.0 are available"})
        self.assertEqual({row["met"] for row in rows}, {None})

    def test_of_repetitions_the_median_counts(self):
        entries = [counters("a", ns=ns) for ns in (1.0, 2.0, 9.0)]
        for name, ns in (("mean", 4.0), ("median", 2.0)):
            entries.append(counters("a", ns=ns) | {"run_type": "aggregate", "aggregate_name": name})
        results = bench.parse_google_benchmark(json.dumps({"benchmarks": entries}))
        self.assertEqual(results["a"]["ns"], 2.0)

    def test_a_row_without_a_target_is_neither_met_nor_missed(self):
        group = bench.Group("a", "", "a", (bench.Row("copies", "ns", "a ns", "a peer", "b"),))
        line = bench.judge(group, group.rows[0], {"a": {"ns": 3.0, "peer": 2.0}})
        self.assertEqual((line["ratio"], line["met"], line["target"]), (1.5, None, {}))
        self.assertEqual(bench.cells(line), ["copies", "3 ns", "b 2 ns", "1.500x", "", ""])

    def test_no_row_has_two_targets(self):
        for make in bench.GROUPS:
            for quick in (False, True):
                group = make(quick)
                self.assertEqual(group.name, make.__name__)
                self.assertTrue(group.rows)
                for row in group.rows:
                    self.assertTrue(row.at_most is None or row.at_least is None, row.figure)


class Zram(unittest.TestCase):
    """On a folder that looks like the device's in /sys/block."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.device = os.path.join(folder.name, "zram0")
        os.mkdir(self.device)
        self.set("disksize", "0\n")
        for patch in (mock.patch.object(bench, "SYS_BLOCK", folder.name),
                      mock.patch.object(os, "geteuid", return_value=0)):
            patch.start()
            self.addCleanup(patch.stop)

    def set(self, name, text):
        with open(os.path.join(self.device, name), "w", encoding="ascii") as file:
            file.write(text)

    def get(self, name):
        path = os.path.join(self.device, name)
        if not os.path.exists(path):
            return None
        with open(path, encoding="ascii") as file:
            return file.read()

    def test_it_is_set_up_and_reset(self):
        with bench.zram_device(1 << 20) as path:
            self.assertEqual(path, "/dev/zram0")
            self.assertEqual(self.get("comp_algorithm"), "lz4")
            self.assertEqual(self.get("disksize"), str(1 << 20))
            self.assertIsNone(self.get("reset"))
        self.assertEqual(self.get("reset"), "1")

    def test_it_is_reset_when_a_signal_ends_the_run(self):
        with self.assertRaises(SystemExit), bench.zram_device(1 << 20):
            bench.end_by_signal(15, None)
        self.assertEqual(self.get("reset"), "1")

    def test_one_in_use_is_left_alone(self):
        self.set("disksize", "4096\n")
        with self.assertRaisesRegex(bench.LeftOut, "in use"), bench.zram_device(1 << 20):
            self.fail("it was set up")
        self.assertIsNone(self.get("reset"))
        self.assertIsNone(self.get("comp_algorithm"))

    def test_only_root_may(self):
        with mock.patch.object(os, "geteuid", return_value=1000):
            with self.assertRaisesRegex(bench.LeftOut, "root"), bench.zram_device(1 << 20):
                self.fail("it was set up")

    def test_without_the_device(self):
        with mock.patch.object(bench, "ZRAM", "zram9"):
            with self.assertRaisesRegex(bench.LeftOut, "no /dev/zram9"), bench.zram_device(1):
                self.fail("it was set up")


if __name__ == "__main__":
    unittest.main()
