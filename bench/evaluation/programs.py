# What an experiment runs: a benchmark program, or a script. All take the same options, and leave a
# report and samples. Says why where one cannot be had; must not know what is measured.
# SPDX-License-Identifier: MIT

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77  # The status of a program that cannot run here.
HERE = pathlib.Path(__file__).resolve().parent
# So long at most each group of rows is measured: all take less than ten minutes, whatever else runs.
GROUP_SECONDS = "3"


class Absent(Exception):
    """Why an experiment cannot run here."""


@dataclass
class Program:
    words: list  # The command, without its options.
    parts: list  # Files: with another one of them the experiment is measured again.
    environment: dict = field(default_factory=dict)

    def command(self, report, samples, quick):
        words = [*self.words, "--json", report, "--samples", samples, "--limit", GROUP_SECONDS]
        return [str(word) for word in words + (["--short"] if quick else [])]

    def identity(self, quick):
        """Returns what a result depends on."""
        digest = hashlib.sha256()
        for path in self.parts:
            digest.update(path.read_bytes())
        digest.update(b"quick" if quick else b"full")
        return digest.hexdigest()


def commit():
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def find(experiment, build):
    """Returns the program of the experiment, or raises Absent."""
    scripts = {"effort": find_effort, "node": find_node, "vespid": find_vespid}
    if experiment.name in scripts:
        return scripts[experiment.name](experiment, build)
    path = build / "bench" / experiment.name
    if not path.exists():
        raise Absent(f"not built here: it needs the package {experiment.package}")
    return Program([path], [path])


def find_effort(_, __):
    from evaluation import effort
    script = HERE / "effort.py"
    return Program([sys.executable, script, "--commit", commit()], [script, *effort.sources(ROOT)])


def installed(name, experiment):
    found = shutil.which(name)
    if not found:
        raise Absent(f"{name} is not installed; it needs {experiment.package}")
    return pathlib.Path(found)


def find_node(experiment, _):
    node, script = installed("node", experiment), HERE / "node.mjs"
    return Program([node, script, "--commit", commit()], [node, script])


def find_vespid(experiment, build):
    for name in ("node", "nats-server"):
        installed(name, experiment)
    folders = [build / "examples" / "vespid", build / "bench"]
    parts = [folders[0] / name for name in ("vespid-gateway", "vespid-worker", "vespid-load", "functions.virtine")]
    parts.append(folders[1] / "vespid-latency")
    for path in parts:
        if not path.exists():
            raise Absent(f"{path.name} is not built here: it needs {experiment.package}")
    scripts = [ROOT / "bench" / "vespid" / name for name in ("waves.py", "subject.py", "baseline.js")]
    return Program([sys.executable, scripts[0], folders[0] / "functions.virtine"], [*parts, *scripts],
                   {"VESPID_PROGRAMS": os.pathsep.join(map(str, folders))})
