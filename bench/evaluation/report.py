# What the report says, as blocks: headings, texts, tables and figures. The same for HTML and PDF,
# which know how to show a block and nothing of what it says.
# SPDX-License-Identifier: MIT

from dataclasses import dataclass

from evaluation.absent_figure import AbsentFigure
from evaluation.claims import judged
from evaluation.figures import FIGURES, drawable, sentences
from evaluation.numbers import number, plain


@dataclass
class Heading:
    text: str
    level: int = 2


@dataclass
class Text:
    parts: list  # Of words and (expression, number).
    machine: str = ""  # Of which the numbers are.


@dataclass
class Table:
    head: list
    rows: list  # Of cells: texts, or lists of parts.
    widths: list  # Shares of the page.
    status: int = -1  # The column from which on cells begin with a verdict.
    machines: tuple = ()  # Of the columns from `status` + 1 on.


@dataclass
class Drawing:
    figure: object


TITLE = "Evaluation of virtine beside the virtines paper"

HOW_TO_READ = [
    "Each figure has this machine's samples in colour, and beneath them those that the paper's authors "
    "published of ten machines, in grey; the paper's own machine is darker. The left side is time. The "
    "right side divides it by what a KVM_RUN takes on the same machine, because only such ratios can be "
    "compared between machines. Axes of time are logarithmic.",
    "Nothing is left out of the samples. A row's first run, which is cold, is marked by an x and is no "
    "sample. All rows of a group are measured in turn in one run, so that what disturbs the machine "
    "disturbs all of them. The authors' KVM_RUN includes reading and writing registers; "
    "\"KVM_RUN with registers\" in the first figure is the same here.",
]

FAULTS = [
    "\"Within 4% of vmrun\" holds only if the clock stops before the machine is wiped; nothing in the "
    "artifact wipes in the background.",
    "Native fib(0) on the paper's machine takes 2.38 us because its clock is slow to read, so ratios to it "
    "mean little. This report has the time that a call adds.",
    "The native JavaScript program was run without its script.",
    "The OpenSSL port encrypts 16 of every 256 bytes.",
    "On two laptops the HTTP server's handler evidently ran natively.",
    "Means include first calls of about a millisecond; this report has medians and shows first runs apart.",
]


def blocks(machines, reference):
    """Returns the blocks of the report of these machines."""
    return [Heading(TITLE, 1), *about(machines), Heading("Claims"), *claims(machines, reference),
            Heading("How to read the figures"), *(Text([text]) for text in HOW_TO_READ),
            *figures(machines, reference), Heading("Faults of the published measurements"),
            Text(["What to know when comparing with the authors' data; none of it is repeated here:"]),
            *(Text(["• " + text]) for text in FAULTS),
            Heading("Sources"), Text([SOURCES]),
            Heading("Numbers"), *numbers(machines)]


SOURCES = (
    "N. Wanninger, J. Bowden, K. Shetty, A. Garg, K. Hale: Isolating Functions at the Hardware Limit with "
    "Virtines, EuroSys '22. The authors' data are those of the paper's artifact, doi:10.5281/zenodo.6350453, "
    "under the MIT licence, summarised in bench/evaluation/reference/authors.csv. All samples of this report "
    "are in the folder data of its archive, evaluation.tar.")


def about(machines):
    rows = []
    for machine in machines:
        where, about = machine.where, machine.about
        loads = [report["load"] for report in machine.reports.values() if "load" in report]
        busy = f"{min(loads):.1f} to {max(loads):.1f}" if loads else "unknown"
        rows.append([
            machine.title, f"Linux {where['kernel']}", f"{about.get('processors', '?')}",
            f"{where['compiler']}, commit {where['commit']}", about.get("date", "unknown"), busy])
    yield Table(["machine", "kernel", "cores", "built by", "date", "load"], rows,
                [0.26, 0.18, 0.07, 0.23, 0.14, 0.12])
    for machine in machines:
        notes = []
        if machine.about.get("quick"):
            notes.append("These are quick runs of few samples, for tests: their figures say nothing.")
        if machine.emulated:
            notes.append(f"This host is emulated ({machine.emulated}): it shows that all works "
                         "there, and its times are those of the emulator.")
        loads = [report["load"] for report in machine.reports.values() if "load" in report]
        if loads and max(loads) > machine.about.get("processors", 1) * 0.75:
            notes.append(
                f"The load was up to {max(loads):.1f} on {machine.about.get('processors')} cores: others "
                "used the machine during the measurements, which shows in p95 and p99 first, and in what "
                "needs two cores.")
        if notes:
            prefix = f"{machine.title}: " if len(machines) > 1 else ""
            yield Text([prefix + " ".join(notes)])


def claims(machines, reference):
    yield Text(["The claims of the paper's artifact in our words, each judged by a program against the "
                "authors' data and against what was measured here. Of the authors' machines the paper's "
                "own decides; the others are counted."])
    rows = []
    for claim, theirs, ours in judged(machines, reference):
        rows.append([claim.name, claim.text, (theirs.status, theirs.parts),
                     *((verdict.status, verdict.parts) for verdict in ours)])
    share = 0.66 / (len(machines) + 1)
    yield Table(["", "claim", "authors' data", *(machine.title for machine in machines)], rows,
                [0.08, 0.26, *[share] * (len(machines) + 1)], status=2,
                machines=tuple(machine.title for machine in machines))


def figures(machines, reference):
    yield Heading("Figures and tables of the paper")
    for figure in FIGURES:
        if figure.name == "sizes":
            yield Heading("Beyond the paper")
        yield Drawing(drawable(figure, machines))
        for machine, parts in sentences(figure, machines, reference):
            lead = [f"{machine.title}: "] if len(machines) > 1 or machine.emulated else []
            yield Text(lead + parts, machine.title)


def numbers(machines):
    """A table for each figure of what was measured here."""
    for figure in FIGURES:
        shown = drawable(figure, machines)
        if isinstance(shown, AbsentFigure):
            continue
        rows = []
        for label, ours, _ in shown.series():
            for machine in machines:
                summary = machine.get(ours) if ours else None
                if summary is None:
                    continue
                first = "" if summary.first is None else number(summary.first)
                name = f"{label} ({machine.title})" if len(machines) > 1 else label
                rows.append([name, ours, f"{summary.n:,}", number(summary.p50), number(summary.p5),
                             number(summary.p95), number(summary.p99), first])
        unit = "lines" if figure.name == "effort" else figure_unit(figure)
        yield Heading(figure.title, 3)
        yield Table(["what", "row", "n", f"median, {unit}", "p5", "p95", "p99", "first"], rows,
                    [0.27, 0.25, 0.07, 0.11, 0.075, 0.075, 0.075, 0.075])


def figure_unit(figure):
    quantity = getattr(figure, "quantity", "time, us")
    return quantity.rpartition(", ")[2]


def as_text(cell):
    """Returns a cell of a table as a text."""
    if isinstance(cell, tuple):
        return f"{cell[0]}: {plain(cell[1])}"
    return cell if isinstance(cell, str) else plain(cell)
