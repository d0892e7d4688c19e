# An emulated KVM host in which the experiments run instead of on this machine: tests/hosts has it.
# What is measured there shows that all works; it must never pass for a figure of a processor.
# SPDX-License-Identifier: MIT

import subprocess
from dataclasses import dataclass, field

from evaluation import machine, programs
from evaluation.failure import Skipped
from evaluation.programs import ROOT, SKIPPED, Absent, Program

RUN = ROOT / "tests" / "hosts" / "run"
KINDS = {"svm": "AMD's SVM by QEMU", "vmx": "Intel's VMX by Bochs"}
SECONDS = 1200  # Most that one experiment may take, boot included.
REPORT, SAMPLES = "/tmp/report.json", "/tmp/samples.csv"
NOT_THERE = {
    "node": "not run in an emulated host: it measures V8 and no virtine",
    "vespid": "not run in an emulated host: it needs nats-server and node",
}


@dataclass
class EmulatedProgram(Program):
    """A program of this machine, run in the host."""

    host: str = ""
    files: list = field(default_factory=list)  # That the host needs, too.

    def command(self, report, samples, quick):
        files = [word for path in self.files for word in ("--file", f"{path}:{path}")]
        taken = ["--take", f"{REPORT}:{report}", "--take", f"{SAMPLES}:{samples}"]
        return [str(RUN), self.host, "--timeout", str(SECONDS), *files, *taken, "--",
                *super().command(REPORT, SAMPLES, quick)]

    def identity(self, quick):
        return f"{self.host} {super().identity(quick)}"


class Host:
    def __init__(self, kind):
        self.kind, self.description = kind, KINDS[kind]

    def examine(self, build):
        """Returns the doctor's JSON of the host."""
        done = subprocess.run([RUN, self.kind, "--", machine.doctor(build), "--json"], capture_output=True, text=True,
                              check=False)
        if done.returncode == SKIPPED:
            raise Skipped(done.stderr.strip())
        return machine.parse(build, done.stdout)

    def find(self, experiment, build):
        """Returns the program of the experiment, or raises Absent."""
        if experiment.name in NOT_THERE:
            raise Absent(NOT_THERE[experiment.name])
        found = programs.find(experiment, build)
        if experiment.name == "effort":  # It counts lines, in which hosts do not differ.
            return found
        files = [next(path for path in (build / name, ROOT / name) if path.exists()) for name in experiment.files]
        return EmulatedProgram(found.words, found.parts, host=self.kind, files=files)
