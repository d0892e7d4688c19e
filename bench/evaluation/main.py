# The options of the evaluation and what they do.
# SPDX-License-Identifier: MIT
"""Measure every figure of the virtines paper on this machine, and show it beside its authors' data."""

import argparse
import json
import pathlib
import shutil
import signal
import sys

from evaluation import archive, reference
from evaluation.emulated import KINDS, Host
from evaluation.experiments import BY_NAME
from evaluation.failure import Failure, Skipped
from evaluation.programs import SKIPPED


def options():
    parser = argparse.ArgumentParser(prog="evaluation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="measure, and write the report")
    run.add_argument("build", type=pathlib.Path, help="the build directory")
    run.add_argument("--out", type=pathlib.Path, help="the folder to write (BUILD/evaluation, BUILD/evaluation-HOST)")
    run.add_argument("--host", choices=KINDS,
                     help="measure in an emulated KVM host, with few samples: shows that all works there")
    run.add_argument("--quick", action="store_true", help="few samples, for tests")
    run.add_argument("--again", action="store_true", help="keep nothing of an interrupted run")
    run.add_argument("--figure", action="append", metavar="NAME",
                     help="measure only what this figure needs, and draw it")

    report = commands.add_parser("report", help="write the report of what was measured again")
    report.add_argument("folder", type=pathlib.Path)

    merge = commands.add_parser("merge", help="one report of the archives of several machines")
    merge.add_argument("archives", nargs="+", type=pathlib.Path, metavar="ARCHIVE")
    merge.add_argument("--out", type=pathlib.Path, default=pathlib.Path("merged"),
                       help="the folder to write (merged)")
    return parser.parse_args()


def write_figures(names, machines, folder):
    from evaluation import figures
    authors = reference.load()
    for name in names:
        if name not in figures.BY_NAME:
            raise Failure(f"there is no figure {name}; there are {', '.join(figures.BY_NAME)}")
        figures.save(figures.BY_NAME[name], machines, authors, folder / "figures")


def write_report(machines, folder):
    """Writes all figures and the report of these machines to the folder."""
    from evaluation import figures, html_page, pdf_pages, report
    from evaluation.claims import judged
    from evaluation.numbers import plain
    authors = reference.load()
    folder.mkdir(parents=True, exist_ok=True)
    write_figures(figures.BY_NAME, machines, folder)
    blocks = report.blocks(machines, authors)
    html_page.write(folder / "report.html", blocks, folder / "figures")
    pdf_pages.write(folder / "report.pdf", blocks, machines, authors)
    verdicts = [
        {"claim": claim.name, "text": claim.text,
         "authors": {"status": theirs.status, "why": plain(theirs.parts)},
         "here": [{"machine": machine.title, "status": each.status, "why": plain(each.parts)}
                  for machine, each in zip(machines, ours)]}
        for claim, theirs, ours in judged(machines, authors)]
    (folder / "claims.json").write_text(json.dumps(verdicts, indent=1) + "\n")
    shutil.copyfile(reference.FOLDER / "authors.csv", folder / "authors.csv")


def needed(names):
    """Returns the experiments that the figures need."""
    from evaluation import figures
    found = []
    for name in names:
        if name not in figures.BY_NAME:
            raise Failure(f"there is no figure {name}; there are {', '.join(figures.BY_NAME)}")
        found += figures.BY_NAME[name].needs
    return [name for name in BY_NAME if name in found]


def main_need(name):
    """Returns the experiment without which there is no such figure."""
    from evaluation import figures
    return figures.BY_NAME[name].needs[0]


def run(given):
    from evaluation.measure import Run
    host = Host(given.host) if given.host else None
    folder = given.out or given.build / ("evaluation-" + given.host if host else "evaluation")
    one = Run(given.build.resolve(), folder, given.quick or host is not None, host)
    if not given.figure:
        one.measure(again=given.again)
        write_report([archive.read(folder)], folder)
        path = archive.write(folder)
        print(f"{folder / 'report.html'}\n{folder / 'report.pdf'}\n{path}")
        return
    missing = one.measure(needed(given.figure), again=True)
    drawn = [name for name in given.figure if main_need(name) not in missing]
    if not drawn:
        raise Skipped(missing[main_need(given.figure[0])])
    write_figures(drawn, [archive.read(folder)], folder)
    for name in drawn:
        print(folder / "figures" / f"{name}.svg")


def main():
    given = options()
    # What was started here ends with this program, also when it is asked to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        import_matplotlib()
        if given.command == "run":
            run(given)
        elif given.command == "report":
            write_report([archive.read(given.folder)], given.folder)
            archive.write(given.folder)
        else:
            machines = [archive.read(path) for path in given.archives]
            if len(machines) > 4:
                raise Failure("a report has room for four machines; merge fewer")
            write_report(machines, given.out)
            print(given.out / "report.html")
    except Skipped as why:
        print(f"skipped: {why}")
        return SKIPPED
    except Failure as why:
        print(f"evaluation: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nevaluation: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


def import_matplotlib():
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise Skipped("python3-matplotlib is not installed, which draws the figures") from None
