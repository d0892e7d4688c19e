# Runs the experiments that are not yet done, each by its program, and keeps what they report.
# SPDX-License-Identifier: MIT

import json
import os
import pathlib
import subprocess
import tempfile

from evaluation import machine, programs
from evaluation.experiments import BY_NAME, EXPERIMENTS
from evaluation.failure import Failure, Skipped
from evaluation.programs import SKIPPED, Absent
from evaluation.progress import Progress
from evaluation.records import check_together, parse_report, parse_samples

TICK_SECONDS = 0.5
END_SECONDS = 10  # So long a program has to end what it has started.


class Run:
    """The folder of one evaluation and what it is measured with."""

    def __init__(self, build, folder, quick=False, host=None):
        self.build, self.folder, self.quick, self.host = build, folder, quick, host
        self.data = folder / "data"
        self.whole = folder / "whole"  # Is there after a run of all that was not interrupted.

    def is_done(self, experiment, program):
        """Whether a result of this program is there and whole."""
        try:
            text = (self.data / f"{experiment.name}.json").read_text()
            samples = (self.data / f"{experiment.name}.csv").read_text()
            report, rows = parse_report(text, experiment.name)
            check_together(rows, parse_samples(samples, experiment.name), experiment.name)
        except (OSError, Failure):
            return False
        return report.get("identity") == program.identity(self.quick)

    def begin(self, names, again):
        """Examines the machine. Keeps what an interrupted run of all has, and nothing of a whole one."""
        findings = (self.host or machine).examine(self.build)
        if not findings.get("works"):
            raise Skipped(machine.why_not(findings))
        self.data.mkdir(parents=True, exist_ok=True)
        if again or self.whole.exists():
            for name in names:
                for suffix in ("json", "csv"):
                    (self.data / f"{name}.{suffix}").unlink(missing_ok=True)
        about = machine.describe(findings, self.quick, self.host.description if self.host else "")
        write(self.folder / "machine.json", json.dumps(about, indent=1) + "\n")

    def measure(self, names=None, again=False):
        """Measures these experiments, or all. Returns {experiment: why it was not}."""
        chosen = [BY_NAME[name] for name in names] if names else EXPERIMENTS
        self.begin([each.name for each in chosen], again)
        if not names:
            self.whole.unlink(missing_ok=True)
        missing, left = {}, []
        for experiment in chosen:
            try:
                program = (self.host or programs).find(experiment, self.build)
            except Absent as why:
                missing[experiment.name] = str(why)
                continue
            if self.is_done(experiment, program):
                print(f"{experiment.what}: kept, was measured before the interruption")
            else:
                left.append((experiment, program))
        progress = Progress({each.name: self.expected(each) for each, _ in left})
        for experiment, program in left:
            progress.start(experiment.name, experiment.what)
            try:
                self.measure_one(experiment, program, progress)
            except Failure as why:
                if not self.host:
                    raise
                # An emulator may be too slow for a deadline of a program; the report says so.
                missing[experiment.name] = f"failed in the emulated host: {why}"
            progress.finish()
        progress.end()
        if not names:
            write(self.folder / "missing.json", json.dumps(missing, indent=1) + "\n")
            self.whole.touch()
        for name, why in missing.items():
            print(f"{BY_NAME[name].what}: {why}")
        return missing

    def expected(self, experiment):
        """Returns about how many seconds it takes."""
        if self.host:
            return 15 + experiment.seconds  # For the boot, and for an emulator's pace with few samples.
        return 1.0 if self.quick else experiment.seconds

    def measure_one(self, experiment, program, progress):
        load = machine.load()
        with tempfile.TemporaryDirectory(dir=self.folder) as directory:
            json_file = pathlib.Path(directory) / "report.json"
            csv_file = pathlib.Path(directory) / "samples.csv"
            self.run(experiment, program, json_file, csv_file, progress)
            report, rows = parse_report(json_file.read_text(), experiment.name)
            if not report["machine"].get("optimised", True) and not self.quick:
                raise Failure(f"{experiment.name} is not optimised, so its figures say nothing: "
                              "meson configure -Doptimization=2")
            samples = csv_file.read_text()
            check_together(rows, parse_samples(samples, experiment.name), experiment.name)
            report |= {"identity": program.identity(self.quick), "date": machine.now(), "load": load}
            write(self.data / f"{experiment.name}.csv", samples)
            write(self.data / f"{experiment.name}.json", json.dumps(report, indent=1) + "\n")

    def run(self, experiment, program, json_file, csv_file, progress):
        command = program.command(json_file, csv_file, self.quick)
        log = self.folder / f"{experiment.name}.log"
        with log.open("w") as out:
            running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT,
                                       env=os.environ | program.environment)
            try:
                while True:
                    try:
                        status = running.wait(TICK_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        progress.draw()
            finally:
                end(running)
        last = (log.read_text().strip().splitlines() or ["it said nothing"])[-1]
        log.unlink()
        if status == SKIPPED:
            raise Skipped(f"{experiment.name}: {last.removeprefix('skipped: ')}")
        if status != 0:
            raise Failure(f"{experiment.name} ended with {status}: {last}")


def end(running):
    """Ends a program that still runs, and gives it time to end what it has started."""
    if running.poll() is None:
        running.terminate()
        try:
            running.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def write(path, text):
    """Replaces the file as a whole, so that an interruption leaves the old one or the new one."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)
