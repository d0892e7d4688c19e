# The authors' measurements, of ten machines, and what only their paper has.
# SPDX-License-Identifier: MIT

import csv
import json
import pathlib

from evaluation.failure import Failure
from evaluation.summary import FIELDS, Summary

FOLDER = pathlib.Path(__file__).resolve().parent / "reference"

TITLES = {
    "gold": "EPYC 7281 (the paper's)",
    "AMD-EPYC-7281-tinker-2": "EPYC 7281 (again)",
    "AMD-EPYC-7302P-cloudlab": "EPYC 7302P",
    "AMD-Opteron-4122-r415": "Opteron 4122",
    "AMD-Ryzen-3600x-desktop": "Ryzen 3600X",
    "Intel-XEON-Gold-6126-chameleon": "Xeon 6126",
    "Intel-XEON-Gold-6142-cloudlab": "Xeon 6142",
    "Intel-i7-10750H-XPS-9500": "i7-10750H",
    "Intel-i7-6600U-thinkpad-p40-yoga": "i7-6600U",
    "VIRT-Intel-XEON-E5-2670-nested": "nested Xeon E5-2670",
}
PAPER = "gold"
NESTED = "VIRT-Intel-XEON-E5-2670-nested"


class AuthorsMachine:
    """One of their machines. Keys are FIGURE:SERIES or FIGURE:SERIES:POINT, without spaces."""

    def __init__(self, name):
        self.name = name
        self.title = TITLES.get(name, name)
        self.rows = {}  # As published.
        self.times = {}  # The same in us, where it is a time.

    def get(self, key):
        return self.times.get(key)

    @property
    def floor(self):
        """What a KVM_RUN takes, in us, with the reading and writing of registers that theirs has."""
        return self.times["fig8:wasp_vmrun"]


def load(path=FOLDER / "authors.csv"):
    machines = {}
    with path.open(newline="") as file:
        for number, line in enumerate(csv.DictReader(file), 2):
            try:
                machine = machines.setdefault(line["machine"], AuthorsMachine(line["machine"]))
                series = line["series"].replace(" ", "_")
                key = ":".join(word for word in (line["figure"], series, line["point"]) if word)
                values = {field: float(line[field]) for field in FIELDS}
                summary = Summary(line["unit"], int(line["n"]), values)
                ghz = float(line["tsc_ghz"]) if summary.unit == "cycles" else None
            except (KeyError, TypeError, ValueError):
                raise Failure(f"{path}, line {number}: not a series of the authors' data") from None
            machine.rows[key] = summary
            if summary.unit == "us/1000 requests":
                summary = summary.scaled(1 / 1000, "us")
            machine.times[key] = summary.scaled(1 / (1000 * ghz), "us") if ghz else summary
    if PAPER not in machines:
        raise Failure(f"{path} lacks the paper's own machine")
    return machines


def published():
    """What the paper and its data say in words only."""
    return json.loads((FOLDER / "published.json").read_text())
