# Evaluations as folders and as evaluation.tar: reads either, checks it, writes the latter.
# SPDX-License-Identifier: MIT

import json
import pathlib
import tarfile

from evaluation.experiments import BY_NAME
from evaluation.failure import Failure
from evaluation.records import check_together, parse_report, parse_samples

MOST_BYTES = 200 << 20  # Of a file in an archive.


class Machine:
    """One evaluated machine: rows by name, and why experiments are missing."""

    def __init__(self, files, name):
        self.source = name
        self.rows, self.reports, self.missing = {}, {}, {}
        if "machine.json" not in files:
            raise Failure(f"{name}: it has no machine.json; it is no evaluation, or only a part of one")
        try:
            self.about = json.loads(files["machine.json"])
            self.doctor = self.about["doctor"]
            self.missing = json.loads(files.get("missing.json", "{}"))
            if not isinstance(self.doctor, dict) or not isinstance(self.missing, dict):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise Failure(f"{name}: machine.json or missing.json is damaged") from None
        for experiment in BY_NAME:
            self.read(experiment, files)
        if not self.reports:
            raise Failure(f"{name}: it has no data")

    def read(self, experiment, files):
        json_name, csv_name = f"data/{experiment}.json", f"data/{experiment}.csv"
        if json_name not in files and csv_name not in files:
            self.missing.setdefault(experiment, "it was not run")
            return
        for wanted in (json_name, csv_name):
            if wanted not in files:
                raise Failure(f"{self.source}: {wanted} is missing, but what belongs to it is there")
        report, rows = parse_report(files[json_name], f"{self.source}: {json_name}")
        summaries = parse_samples(files[csv_name], f"{self.source}: {csv_name}")
        check_together(rows, summaries, f"{self.source}: {csv_name}")
        self.reports[experiment] = report
        self.rows |= summaries
        self.missing.pop(experiment, None)

    @property
    def where(self):
        """What the programs say of the machine."""
        for report in self.reports.values():
            if report["machine"]["kvm"] != "none":
                return report["machine"]
        return next(iter(self.reports.values()))["machine"]

    @property
    def emulated(self):
        """How this host is emulated; empty if it is not."""
        return self.about.get("emulated", "")

    @property
    def title(self):
        short = self.where["cpu"].replace("(R)", "").replace("(TM)", "").replace(" CPU", "")
        kind = {"kvm_pvm": "software KVM"}.get(self.where["kvm"], self.where["kvm"])
        emulated = ", emulated" if self.emulated else ""
        return f"{' '.join(short.split())} ({kind}{emulated})"

    def get(self, row):
        return self.rows.get(row)


def read(path):
    """Returns the machine of a folder or an archive."""
    return Machine(folder_files(path) if path.is_dir() else tar_files(path), str(path))


def wanted(name):
    return name in ("machine.json", "missing.json") or (
        name.startswith("data/") and name.endswith((".json", ".csv")))


def folder_files(folder):
    return {str(path.relative_to(folder)): text_of(path.read_bytes(), path)
            for path in folder.rglob("*") if path.is_file() and wanted(str(path.relative_to(folder)))}


def tar_files(path):
    """Reads in memory: names in an archive lead nowhere."""
    files = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = member.name.removeprefix("evaluation/")
                if member.isfile() and wanted(name) and member.size <= MOST_BYTES:
                    files[name] = text_of(tar.extractfile(member).read(), f"{path}: {name}")
    except (OSError, EOFError, tarfile.TarError) as why:
        raise Failure(f"{path}: not an archive of an evaluation, or only a part of one ({why})") from None
    return files


def text_of(content, name):
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Failure(f"{name}: not a text; it is damaged") from None


def write(folder):
    """Writes evaluation.tar of all that is in the folder. machine.json follows the data, so that an
    archive that was cut off within them is noticed."""
    path = folder / "evaluation.tar"
    new = folder / "evaluation.tar.new"
    with tarfile.open(new, "w") as tar:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file not in (path, new):
                tar.add(file, pathlib.PurePath("evaluation") / file.relative_to(folder), recursive=False)
    new.replace(path)
    return path
