# Runs the experiments that are not yet done, each by its program, and keeps what they report.
# SPDX-License-Identifier: MIT

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from evaluation import effort, machine
from evaluation.experiments import BY_NAME, EXPERIMENTS
from evaluation.failure import Failure, Skipped
from evaluation.progress import Progress
from evaluation.records import check_together, parse_report, parse_samples

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
TICK_SECONDS = 0.5
# So long at most each group of rows is measured: all take less than ten minutes, whatever else runs.
GROUP_SECONDS = "3"


class Run:
    """The folder of one evaluation and what it is measured with."""

    def __init__(self, build, folder, quick=False, emulated=""):
        self.build, self.folder, self.quick, self.emulated = build, folder, quick, emulated
        self.data = folder / "data"
        self.whole = folder / "whole"  # Is there after a run of all that was not interrupted.

    def program(self, experiment):
        """Returns what the experiment runs, or None if it is not there."""
        if experiment.name == "effort":
            return pathlib.Path(effort.__file__)
        if experiment.name == "node":
            found = shutil.which("node")
            return pathlib.Path(found) if found else None
        path = self.build / "bench" / experiment.name
        return path if path.exists() else None

    def identity(self, program):
        """Returns what a result depends on: with another program it is measured again."""
        digest = hashlib.sha256(program.read_bytes())
        if program.suffix == ".py":
            digest.update(json.dumps(effort.count(ROOT)).encode())
        digest.update(b"quick" if self.quick else b"full")
        return digest.hexdigest()

    def is_done(self, experiment, program):
        """Whether a result of this program is there and whole."""
        try:
            text = (self.data / f"{experiment.name}.json").read_text()
            samples = (self.data / f"{experiment.name}.csv").read_text()
            report, rows = parse_report(text, experiment.name)
            check_together(rows, parse_samples(samples, experiment.name), experiment.name)
        except (OSError, Failure):
            return False
        return report.get("identity") == self.identity(program)

    def begin(self, names, again):
        """Examines the machine. Keeps what an interrupted run of all has, and nothing of a whole one."""
        doctor = machine.examine(self.build)
        if not doctor.get("works"):
            raise Skipped(machine.why_not(doctor))
        self.data.mkdir(parents=True, exist_ok=True)
        if again or self.whole.exists():
            for name in names:
                for suffix in ("json", "csv"):
                    (self.data / f"{name}.{suffix}").unlink(missing_ok=True)
        about = machine.describe(doctor, self.quick, self.emulated)
        write(self.folder / "machine.json", json.dumps(about, indent=1) + "\n")

    def measure(self, names=None, again=False):
        """Measures these experiments, or all."""
        chosen = [BY_NAME[name] for name in names] if names else EXPERIMENTS
        self.begin([each.name for each in chosen], again)
        if not names:
            self.whole.unlink(missing_ok=True)
        missing, left = {}, []
        for experiment in chosen:
            program = self.program(experiment)
            if program is None:
                missing[experiment.name] = f"not built here: it needs the package {experiment.package}"
            elif self.is_done(experiment, program):
                print(f"{experiment.what}: kept, was measured before the interruption")
            else:
                left.append((experiment, program))
        progress = Progress({e.name: 1.0 if self.quick else e.seconds for e, _ in left})
        for experiment, program in left:
            progress.start(experiment.name, experiment.what)
            self.measure_one(experiment, program, progress)
            progress.finish()
        progress.end()
        if not names:
            write(self.folder / "missing.json", json.dumps(missing, indent=1) + "\n")
            self.whole.touch()
        for name, why in missing.items():
            print(f"{BY_NAME[name].what}: {why}")

    def command(self, experiment, program, json_file, csv_file):
        if experiment.name == "node":
            script = pathlib.Path(__file__).with_name("node.mjs")
            return [program, script, json_file, csv_file, commit(), "short" if self.quick else "full"]
        words = [program, "--json", json_file, "--samples", csv_file, "--limit", GROUP_SECONDS]
        return words + (["--short"] if self.quick else [])

    def measure_one(self, experiment, program, progress):
        load = machine.load()
        with tempfile.TemporaryDirectory(dir=self.folder) as directory:
            json_file = pathlib.Path(directory) / "report.json"
            csv_file = pathlib.Path(directory) / "samples.csv"
            if experiment.name == "effort":
                write_effort(json_file, csv_file)
            else:
                command = self.command(experiment, program, json_file, csv_file)
                self.run(experiment, command, progress)
            report, rows = parse_report(json_file.read_text(), program.name)
            if not report["machine"].get("optimised", True) and not self.quick:
                raise Failure(f"{program} is not optimised, so its figures say nothing: "
                              "meson configure -Doptimization=2")
            samples = csv_file.read_text()
            check_together(rows, parse_samples(samples, program.name), program.name)
            report |= {"identity": self.identity(program), "date": machine.now(), "load": load}
            write(self.data / f"{experiment.name}.csv", samples)
            write(self.data / f"{experiment.name}.json", json.dumps(report, indent=1) + "\n")

    def run(self, experiment, command, progress):
        log = self.folder / f"{experiment.name}.log"
        with log.open("w") as out:
            running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            try:
                while True:
                    try:
                        status = running.wait(TICK_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        progress.draw()
            finally:
                if running.poll() is None:
                    running.kill()
                    running.wait()
        last = (log.read_text().strip().splitlines() or ["it said nothing"])[-1]
        log.unlink()
        if status == SKIPPED:
            raise Skipped(f"{experiment.name}: {last.removeprefix('skipped: ')}")
        if status != 0:
            raise Failure(f"{experiment.name} ended with {status}: {last}")


def commit():
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def write_effort(json_file, csv_file):
    """Writes what is counted as the programs write what they measure."""
    counted = effort.count(ROOT)
    where = {"cpu": "any", "kernel": "any", "kvm": "none", "compiler": "none", "commit": commit(),
             "optimised": True}
    rows = [{"name": name, "unit": "lines", "n": 1, "min": value, "median": value, "p99": value,
             "floor": None, "ratio": None} for name, value in counted.items()]
    json_file.write_text(json.dumps({"program": "effort", "machine": where, "rows": rows}))
    lines = [f"{name},lines,sample,{value}" for name, value in counted.items()]
    csv_file.write_text("\n".join(["row,unit,kind,value", *lines]) + "\n")


def write(path, text):
    """Replaces the file as a whole, so that an interruption leaves the old one or the new one."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)
