# What one experiment left: the report of its program and all its samples. Reads and checks them;
# must not know what they mean.
# SPDX-License-Identifier: MIT

import csv
import io
import json
import math

from evaluation.failure import Failure
from evaluation.summary import summarise

COLUMNS = ["row", "unit", "kind", "value"]
UNITS = {"us", "KiB", "cycles", "lines", "requests"}


def parse_samples(text, name):
    """Returns the summaries of the rows of a CSV of samples."""
    lines = csv.reader(io.StringIO(text))
    if next(lines, None) != COLUMNS:
        raise Failure(f"{name}: its first line is not {','.join(COLUMNS)}; it is damaged, or no "
                      "file of samples")
    units, firsts, samples = {}, {}, {}
    for number, line in enumerate(lines, 2):
        try:
            row, unit, kind, text_value = line
            value = float(text_value)
            if unit not in UNITS or kind not in ("first", "sample") or not math.isfinite(value):
                raise ValueError
        except ValueError:
            raise Failure(f"{name}, line {number}: not a sample: {','.join(line)[:60]!r}; the file "
                          "is damaged") from None
        if units.setdefault(row, unit) != unit:
            raise Failure(f"{name}, line {number}: {row} has two units")
        if kind == "first":
            firsts[row] = value
        else:
            samples.setdefault(row, []).append(value)
    if not samples:
        raise Failure(f"{name}: no samples; the run that wrote it was interrupted, or it is damaged")
    return {row: summarise(units[row], values, firsts.get(row)) for row, values in samples.items()}


def parse_report(text, name):
    """Returns the report of a program, which says where its samples were taken."""
    try:
        report = json.loads(text)
        machine = report["machine"]
        if not all(isinstance(machine[key], str) for key in ("cpu", "kernel", "kvm", "commit")):
            raise TypeError
        rows = {row["name"]: row for row in report["rows"]}
    except (ValueError, KeyError, TypeError):
        raise Failure(f"{name}: not a report of a benchmark program; it is damaged") from None
    return report, rows


def check_together(rows, summaries, name):
    """Raises Failure unless report and samples are of the same run."""
    if set(rows) != set(summaries):
        odd = sorted(set(rows) ^ set(summaries))
        raise Failure(f"{name}: report and samples are not of one run: only one of them has {odd[0]}")
    for row, summary in summaries.items():
        if rows[row]["n"] != summary.n:
            raise Failure(f"{name}: {row} has {summary.n} samples and not {rows[row]['n']}; a part of "
                          "the file is missing")
        if not math.isclose(rows[row]["median"], summary.p50, rel_tol=1e-4, abs_tol=1e-9):
            raise Failure(f"{name}: the median of {row} is not the one that was reported")
