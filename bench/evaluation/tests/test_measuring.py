#!/usr/bin/python3
# Measuring without KVM: programs that only write what a benchmark would. What is kept after an
# interruption, what is measured again, and what is said where something is missing.
# SPDX-License-Identifier: MIT

import contextlib
import io
import json
import pathlib
import tempfile
import unittest

import samples  # noqa: F401  # Where the evaluation is.

from evaluation import measure
from evaluation.experiments import EXPERIMENTS, Experiment
from evaluation.failure import Failure, Skipped
from evaluation.progress import Progress

PROGRAM = """#!/bin/sh
# Counts its runs, and writes what a benchmark writes.
echo run >> {runs}
[ ! -e {folder}/fails ] || { echo "a guest failed"; exit 1; }
[ ! -e {folder}/skips ] || { echo "skipped: no KVM"; exit 77; }
while [ $# -gt 0 ]; do
  case $1 in
    --json) json=$2; shift ;;
    --samples) csv=$2; shift ;;
  esac
  shift
done
cat > $json <<X
{"machine": {"cpu": "a", "kernel": "b", "kvm": "kvm_pvm", "compiler": "c", "commit": "d", "optimised": {optimised}},
 "rows": [{"name": "{name}.row", "n": 3, "median": 2}]}
X
printf 'row,unit,kind,value\\n{name}.row,us,first,9\\n' > $csv
for i in 1 2 3; do echo "{name}.row,us,sample,$i" >> $csv; done
"""

DOCTOR = """#!/bin/sh
echo '{"device": {"path": "/dev/kvm", "opens": false}, "works": WORKS}'
"""


class Measuring(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)
        self.build = self.folder / "build"
        (self.build / "bench").mkdir(parents=True)
        (self.build / "guests").mkdir()
        self.doctor("true")
        for name in ("boot", "echo"):
            self.program(name)
        every = [Experiment("boot", "boot", 1), Experiment("echo", "echo", 1),
                 Experiment("js", "JavaScript", 1, "duktape-dev")]
        self.replaced = {"EXPERIMENTS": measure.EXPERIMENTS, "BY_NAME": measure.BY_NAME}
        measure.EXPERIMENTS, measure.BY_NAME = every, {each.name: each for each in every}
        self.addCleanup(lambda: vars(measure).update(self.replaced))

    def doctor(self, works):
        self.write(self.build / "guests" / "virtine-doctor", DOCTOR.replace("WORKS", works))

    def program(self, name, optimised="true"):
        text = PROGRAM
        for word, value in (("runs", self.folder / f"{name}.runs"), ("folder", self.folder / name),
                            ("name", name), ("optimised", optimised)):
            text = text.replace("{" + word + "}", str(value))
        (self.folder / name).mkdir(exist_ok=True)
        self.write(self.build / "bench" / name, text)

    @staticmethod
    def write(path, text):
        path.write_text(text)
        path.chmod(0o755)

    def measure(self, **how):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            measure.Run(self.build, self.folder / "out", quick=how.pop("quick", False)).measure(**how)
        return said.getvalue()

    def runs(self, name):
        path = self.folder / f"{name}.runs"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def test_goes_on_where_it_was(self):
        (self.folder / "echo" / "fails").touch()
        with self.assertRaisesRegex(Failure, "echo ended with 1: a guest failed"):
            self.measure()
        self.assertEqual((self.runs("boot"), self.runs("echo")), (1, 1))
        (self.folder / "echo" / "fails").unlink()
        self.assertIn("boot: kept", self.measure())
        self.assertEqual((self.runs("boot"), self.runs("echo")), (1, 2))

    def test_a_whole_one_is_measured_again(self):
        self.measure()
        self.measure()
        self.assertEqual((self.runs("boot"), self.runs("echo")), (2, 2))

    def test_one_more_figure_interrupts_nothing(self):
        self.measure()
        self.measure(names=["echo"], again=True)
        self.measure()
        self.assertEqual((self.runs("boot"), self.runs("echo")), (2, 3))

    def test_keeps_nothing_of_another_program(self):
        (self.folder / "echo" / "fails").touch()
        for count in (1, 2):
            with self.assertRaises(Failure):
                self.measure()
            self.assertEqual(self.runs("boot"), count)
            self.program("boot", "true ")

    def test_keeps_nothing_of_a_quick_run(self):
        (self.folder / "echo" / "fails").touch()
        for quick in (True, False):
            with self.assertRaises(Failure):
                self.measure(quick=quick)
        self.assertEqual(self.runs("boot"), 2)

    def test_keeps_nothing_that_is_damaged(self):
        (self.folder / "echo" / "fails").touch()
        for _ in range(2):
            with self.assertRaises(Failure):
                self.measure()
            csv = self.folder / "out" / "data" / "boot.csv"
            csv.write_text(csv.read_text()[:-8])
        self.assertEqual(self.runs("boot"), 2)

    def test_says_what_is_not_built(self):
        self.assertIn("JavaScript: not built here: it needs the package duktape-dev", self.measure())
        missing = json.loads((self.folder / "out" / "missing.json").read_text())
        self.assertIn("duktape-dev", missing["js"])

    def test_refuses_what_is_not_optimised(self):
        self.program("boot", "false")
        with self.assertRaisesRegex(Failure, "is not optimised"):
            self.measure()
        self.measure(quick=True)

    def test_without_kvm(self):
        self.doctor("false")
        with self.assertRaisesRegex(Skipped, "virtines do not work on this machine .*opens: False"):
            self.measure()
        self.assertEqual(self.runs("boot"), 0)

    def test_a_program_that_skips(self):
        (self.folder / "boot" / "skips").touch()
        with self.assertRaisesRegex(Skipped, "boot: no KVM"):
            self.measure()

    def test_one_experiment(self):
        self.measure(names=["echo"])
        self.assertEqual((self.runs("boot"), self.runs("echo")), (0, 1))


class Time(unittest.TestCase):
    def test_less_is_left_the_more_is_done(self):
        progress = Progress({"a": 10.0, "b": 20.0}, io.StringIO())
        self.assertAlmostEqual(progress.remaining(), 30)
        progress.start("a", "a")
        progress.finish()  # It took no time, so the rest is expected to take less, too.
        self.assertLess(progress.remaining(), 20)
        progress.start("b", "b")
        progress.finish()
        self.assertAlmostEqual(progress.remaining(), 0)

    def test_all_take_less_than_ten_minutes(self):
        self.assertLess(sum(each.seconds for each in EXPERIMENTS), 600)


if __name__ == "__main__":
    unittest.main()
