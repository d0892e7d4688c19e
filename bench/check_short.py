#!/usr/bin/env python3
# Checks that a benchmark program runs and that its JSON has the rows it should. Must not judge how
# long anything took.
# SPDX-License-Identifier: MIT
"""usage: check_short.py PROGRAM ROW..."""

import csv
import json
import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77
FIELDS = {"name", "unit", "n", "min", "median", "p99", "floor", "ratio"}


def check(report, wanted):
    rows = {row["name"]: row for row in report["rows"]}
    assert len(rows) == len(report["rows"]), "two rows have one name"
    missing = set(wanted) - set(rows)
    assert not missing, f"rows are missing: {sorted(missing)}"
    for name, row in rows.items():
        assert set(row) == FIELDS, f"{name} has the fields {sorted(row)}"
        assert row["unit"] in {"us", "KiB", "cycles"} and row["n"] > 0, row
        # Memory may be freed by others meanwhile, time is always spent.
        assert row["unit"] == "KiB" or row["min"] > 0, row
        assert row["min"] <= row["median"] <= row["p99"], row
        if row["floor"] is not None and row["ratio"] is not None:
            assert abs(row["ratio"] - row["median"] / row["floor"]) < 1e-3 * row["ratio"], row
        assert row["unit"] != "us" or (row["floor"] is None) == (row["ratio"] is None), row
    for key in ("cpu", "kernel", "kvm", "compiler", "commit"):
        assert report["machine"][key], f"the report does not say {key}"


def check_samples(path, report):
    samples, firsts = {}, {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            into = firsts if line["kind"] == "first" else samples
            into.setdefault(line["row"], []).append(float(line["value"]))
    for row in report["rows"]:
        assert len(firsts[row["name"]]) == 1, f"{row['name']} has no first run"
        values = samples[row["name"]]
        assert len(values) == row["n"] and min(values) == row["min"], row
    assert len(samples) == len(report["rows"]), "the samples are of other rows"


def main(program, *wanted):
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "out.json"
        samples = pathlib.Path(directory) / "out.csv"
        done = subprocess.run([program, "--short", "--json", str(out), "--samples", str(samples)],
                              check=False)
        if done.returncode == SKIPPED:
            return SKIPPED
        assert done.returncode == 0, f"{program} ended with {done.returncode}"
        report = json.loads(out.read_text())
        check(report, wanted)
        check_samples(samples, report)

        only = subprocess.run([program, "--short", "--limit", "1", "--only", wanted[-1], "--json", str(out)],
                              stdout=subprocess.DEVNULL, check=False)
        assert only.returncode == 0, f"--only {wanted[-1]} ended with {only.returncode}"
        names = [row["name"] for row in json.loads(out.read_text())["rows"]]
        assert wanted[-1] in names and len(names) <= 2, f"--only {wanted[-1]} gave {names}"

        for arguments in (["--only", "no.such.row"], ["--no-such-option"]):
            wrong = subprocess.run([program, "--short", *arguments], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, check=False)
            assert wrong.returncode == 2, f"{arguments} ended with {wrong.returncode}"
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
