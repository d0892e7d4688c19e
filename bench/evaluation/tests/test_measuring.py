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
from argparse import Namespace

import samples  # noqa: F401  # Where the evaluation is.

from evaluation import emulated, main, measure, programs
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

# Runs a program as tests/hosts/run does, but here.
HOST = """#!/bin/sh
echo "$@" >> FOLDER/hosts
[ "$1" = svm ] || exit 125
while [ "$1" != -- ]; do
  [ "$1" != --take ] || taken="$taken $2"
  shift
done
shift
"$@" || exit
for pair in $taken; do cp "${pair%%:*}" "${pair#*:}"; done
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
            run = measure.Run(self.build, self.folder / "out", how.pop("quick", False), how.pop("host", None))
            run.measure(**how)
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

    def emulate(self):
        """Has emulated hosts run programs here."""
        run = self.folder / "run"
        self.write(run, HOST.replace("FOLDER", str(self.folder)))
        replaced = {name: vars(emulated)[name] for name in ("RUN", "REPORT", "SAMPLES")}
        self.addCleanup(lambda: vars(emulated).update(replaced))
        emulated.RUN = run
        emulated.REPORT, emulated.SAMPLES = self.folder / "report.json", self.folder / "samples.csv"

    def test_what_fails_in_an_emulated_host_is_missing(self):
        self.emulate()
        (self.folder / "echo" / "fails").touch()
        self.assertIn("echo: failed in the emulated host: echo ended with 1: a guest failed",
                      self.measure(host=emulated.Host("svm"), quick=True))
        self.assertEqual((self.runs("boot"), self.runs("echo")), (1, 1))

    def test_in_an_emulated_host(self):
        self.emulate()
        every = [Experiment("boot", "boot", 1, files=("bench/echo",)), Experiment("node", "V8", 1)]
        measure.EXPERIMENTS, measure.BY_NAME = every, {each.name: each for each in every}
        self.assertIn("V8: not run in an emulated host", self.measure(host=emulated.Host("svm"), quick=True))
        about = json.loads((self.folder / "out" / "machine.json").read_text())
        self.assertEqual(about["emulated"], "AMD's SVM by QEMU")
        report = json.loads((self.folder / "out" / "data" / "boot.json").read_text())
        self.assertEqual(report["rows"][0]["name"], "boot.row")
        said = (self.folder / "hosts").read_text()
        echo = self.build / "bench" / "echo"
        self.assertIn(f"--file {echo}:{echo}", said)
        self.assertIn("--short", said)

    def test_nothing_of_an_emulated_host_is_kept_for_a_real_one(self):
        boot = Experiment("boot", "boot", 1)
        found = emulated.Host("svm").find(boot, self.build)
        self.assertNotEqual(found.identity(True), programs.find(boot, self.build).identity(True))

    def test_vespid_says_what_it_lacks(self):
        with self.assertRaisesRegex(programs.Absent, "is not (installed|built here).* needs nats-server"):
            programs.find(Experiment("vespid", "Vespid", 1, "nats-server"), self.build)

    def test_a_single_figure_without_its_experiment(self):
        with self.assertRaisesRegex(Skipped, "duktape-dev"):
            main.run(Namespace(host=None, build=self.build, out=self.folder / "out", quick=True, again=False,
                               figure=["fig14"]))

    def test_ends_what_it_runs(self):
        self.write(self.build / "bench" / "boot", f"#!/bin/sh\necho $$ > {self.folder}/pid\nexec sleep 1000\n")
        one = measure.Run(self.build, self.folder / "out")

        class Interrupted(Exception):
            pass

        def interrupt(_):
            if (self.folder / "pid").exists():
                raise Interrupted

        self.addCleanup(setattr, Progress, "draw", Progress.draw)
        Progress.draw = interrupt
        with self.assertRaises(Interrupted):
            one.measure(names=["boot"])
        self.assertFalse(pathlib.Path("/proc", (self.folder / "pid").read_text().strip()).exists())

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
