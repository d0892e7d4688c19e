# All figures, in the order of the report; their files and their tables.
# SPDX-License-Identifier: MIT

import csv

from matplotlib.figure import Figure

from evaluation import style
from evaluation.absent_figure import AbsentFigure
from evaluation.beyond_figures import BEYOND_FIGURES
from evaluation.numbers import Missing, Numbers
from evaluation.paper_figures import PAPER_FIGURES
from evaluation.summary import FIELDS

FIGURES = [*PAPER_FIGURES, *BEYOND_FIGURES]
BY_NAME = {figure.name: figure for figure in FIGURES}


def drawable(figure, machines):
    """Returns the figure, or one that says why it cannot be: where no machine has its data."""
    if not figure.needs:
        return figure
    main = figure.needs[0]
    if any(main in machine.reports for machine in machines):
        return figure
    return AbsentFigure(figure.name, figure.title, f"not measured here: {machines[0].missing[main]}")


def make(figure, machines, reference):
    """Returns the figure, drawn."""
    figure = drawable(figure, machines)
    canvas = Figure(figsize=(style.WIDTH, figure.height(machines, reference)))
    figure.draw(canvas, machines, reference)
    return canvas


def save(figure, machines, reference, folder):
    """Writes the figure as SVG and PNG and its table as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    canvas = make(figure, machines, reference)
    canvas.savefig(folder / f"{figure.name}.svg", metadata={"Date": None})
    canvas.savefig(folder / f"{figure.name}.png", dpi=200)
    with (folder / f"{figure.name}.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["machine", "key", "what", "unit", "n", *FIELDS, "first"])
        out.writerows(table(drawable(figure, machines), machines, reference))


def table(figure, machines, reference):
    """Yields a line for each series of the figure, ours and theirs, and its floor."""
    def line(machine, key, what, summary):
        first = "" if summary.first is None else summary.first
        return [machine, key, what, summary.unit, summary.n, *(getattr(summary, f) for f in FIELDS), first]

    series = figure.series()
    floors = [("KVM_RUN", floor) for floor in sorted(floor_rows(figure))]
    for machine in machines:
        drawn = {ours for _, ours, _ in series}
        for what, ours in [(label, ours) for label, ours, _ in series] + \
                [(label, row) for label, row in floors if row not in drawn]:
            summary = machine.get(ours) if ours else None
            if summary:
                yield line(machine.title, ours, what, summary)
    for each in getattr(figure, "published", ()):
        known = {"p50": each.p50, "p99": each.p99}
        yield ["published by the authors", each.key, each.label, "us", each.n, *(known.get(f, "") for f in FIELDS), ""]
    in_cycles = "cycles" in getattr(figure, "quantity", "")
    used = {theirs: label for label, _, theirs in series if theirs}
    for name, machine in reference.items():
        for theirs, label in used.items():
            summary = machine.rows.get(theirs) if in_cycles else machine.get(theirs)
            if summary:
                yield line(name, theirs, label, summary)
        if used and "fig8:wasp_vmrun" not in used:
            floor = machine.rows["fig8:wasp_vmrun"] if in_cycles else machine.floor
            yield line(name, "fig8:wasp_vmrun", "KVM_RUN", floor)


def floor_rows(figure):
    floor = getattr(figure, "floor", "")
    if "{}" in floor:
        return {floor.format(figure.our_point(point)) for point in figure.points}
    return {floor} if floor else set()


def sentences(figure, machines, reference):
    """Returns [(machine, parts)] of what to see in the figure; see Numbers.parts."""
    figure = drawable(figure, machines)
    said = []
    for machine in machines:
        if figure.needs and figure.needs[0] not in machine.reports:
            continue
        numbers = Numbers(machine, reference)
        parts = []
        try:
            for text in figure.say(numbers):
                parts += [*numbers.parts(text), " "]
        except Missing as row:
            parts.append(f"The row {row} is missing, so the rest is not said.")
        if parts:
            said.append((machine, parts))
    return said
