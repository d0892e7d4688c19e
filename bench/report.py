#!/usr/bin/env python3
# Runs the benchmark programs and writes docs/performance.md, and the figures in READMEs, from what
# they report. Must not know what any row means: the words are in performance.md.in.
# SPDX-License-Identifier: MIT
"""Measure, and write the figures into the documents."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "bench" / "performance.md.in"
FIGURES = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
READMES = [ROOT / "README.md",
           *(ROOT / "examples" / name / "README.md" for name in ("echo", "http", "js"))]
SKIPPED = 77

# In the template: `@table NAME...` on a line of its own becomes a table of these rows, `@machine`
# says where they were measured, {NAME.FIELD} is one figure, and {NAME/NAME} is how often the second
# median goes into the first. In a README the lines between `<!-- figures: NAME... -->` and the next
# empty line are such a table.


class Bad(Exception):
    """The documents and the figures do not go together."""


def measure(figures, build, programs):
    for program in programs:
        with tempfile.TemporaryDirectory() as directory:
            out = pathlib.Path(directory) / "out.json"
            done = subprocess.run([build / "bench" / program, "--json", out], check=False)
            if done.returncode == SKIPPED:
                raise Bad(f"{program} cannot run here")
            if done.returncode != 0:
                raise Bad(f"{program} ended with {done.returncode}")
            report = json.loads(out.read_text())
        if not report["machine"]["optimised"]:
            raise Bad("these figures are of a build that is not optimised")
        figures["machine"] = report["machine"]
        kept = {n: r for n, r in figures["rows"].items() if r["program"] != program}
        figures["rows"] = kept | rows_of(report)


def take(folder):
    """Takes all figures from what an evaluation of a machine left; docs/evaluation.md."""
    about = json.loads((folder / "machine.json").read_text())
    if about["quick"] or about["emulated"]:
        raise Bad(f"{folder}: figures of a quick run, or of an emulated host, say nothing")
    figures = {"machine": None, "rows": {}}
    for path in sorted((folder / "data").glob("*.json")):
        report = json.loads(path.read_text())
        if report["machine"]["kvm"] != "none":  # Else it is not of a virtine.
            figures["machine"] = report["machine"]
            figures["rows"] |= rows_of(report)
    return figures


def rows_of(report):
    return {row["name"]: {"program": report["program"], **{k: v for k, v in row.items() if k != "name"}}
            for row in report["rows"]}


def number(value):
    if value is None:
        return ""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 1000 else f"{value:,.0f}"


def row_of(figures, name):
    try:
        return figures["rows"][name]
    except KeyError:
        raise Bad(f"there is no figure {name}; measure it: bench/report.py --build DIR") from None


def table(figures, names):
    lines = ["| row | calls | median | p99 | floor | ratio |", "|---|---|---|---|---|---|"]
    for name in names:
        row = row_of(figures, name)
        ratio = "" if row["ratio"] is None else f"**{row['ratio']:.3f}**"
        lines.append(f"| `{name}` | {row['n']} | {number(row['median'])} {row['unit']} "
                     f"| {number(row['p99'])} | {number(row['floor'])} | {ratio} |")
    return lines


def machine_line(figures):
    where = figures["machine"]
    return [f"Measured on: {where['cpu']}, Linux {where['kernel']}, {where['kvm']}; "
            f"{where['compiler']}, commit {where['commit']}."]


def page(figures):
    def one(match):
        value = row_of(figures, match[1]).get(match[2])
        return f"{value:.3f}" if match[2] == "ratio" else number(value)

    def quotient(match):
        whole, part = (row_of(figures, name)["median"] for name in match.groups())
        return f"{whole / part:.3f}"

    lines = []
    for line in TEMPLATE.read_text().splitlines():
        if line.startswith("@table "):
            lines += table(figures, line.split()[1:])
        elif line == "@machine":
            lines += machine_line(figures)
        else:
            line = re.sub(r"\{([\w.-]+)\.(median|p99|ratio|n|floor)\}", one, line)
            lines.append(re.sub(r"\{([\w.-]+)/([\w.-]+)\}", quotient, line))
    return "\n".join(lines) + "\n"


def readme(figures, path):
    def replace(match):
        return match[1] + "\n" + "\n".join(table(figures, match[2].split())) + "\n"

    text, count = re.subn(r"(<!-- figures: ([^>]*) -->)\n(?:\|.*\n)*", replace, path.read_text())
    if count == 0:
        raise Bad(f"{path.relative_to(ROOT)} has no place for figures")
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, help="measure with the programs built there")
    parser.add_argument("--evaluation", type=pathlib.Path,
                        help="take the figures from this folder of an evaluation; --build adds others")
    parser.add_argument("--check", action="store_true",
                        help="only say whether the documents have the figures of performance.json")
    parser.add_argument("programs", nargs="*", help="what --build measures; all by default")
    given = parser.parse_args()
    try:
        figures = {"machine": None, "rows": {}}
        if given.evaluation:
            figures = take(given.evaluation)
        elif FIGURES.exists():
            figures = json.loads(FIGURES.read_text())
        if given.build:
            # Some are built only where what they measure can be had.
            programs = given.programs or sorted(
                path.stem for path in (ROOT / "bench").glob("*.cpp")
                if (given.build / "bench" / path.stem).exists())
            measure(figures, given.build.resolve(), programs)
        wanted = {PAGE: page(figures)}
        wanted |= {path: readme(figures, path) for path in READMES}
        if given.check:
            stale = [str(path.relative_to(ROOT)) for path, text in wanted.items()
                     if path.read_text() != text]
            if stale:
                raise Bad(f"{', '.join(stale)}: not what bench/report.py makes of "
                          f"{FIGURES.name} and {TEMPLATE.name}; run it")
            print(f"{len(figures['rows'])} figures agree")
            return 0
        FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
        for path, text in wanted.items():
            path.write_text(text)
    except Bad as why:
        print(f"report.py: {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
