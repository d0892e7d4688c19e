# A figure of rows: for each thing that was measured the distribution of its samples, ours above the
# authors', in microseconds and in multiples of each machine's own KVM_RUN.
# SPDX-License-Identifier: MIT

from dataclasses import dataclass, field

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from evaluation import style
from evaluation.numbers import number
from evaluation.reference import NESTED, PAPER

MOST_DOTS = 60
OUR_LANE, THEIR_LANE, GAP = 0.235, 0.028, 0.09  # Inches.


@dataclass(frozen=True)
class Row:
    label: str
    ours: str = ""  # A row of the benchmarks.
    theirs: str = ""  # FIGURE:SERIES of the authors' data.


@dataclass
class RowsFigure:
    name: str
    title: str
    rows: list
    needs: list  # Experiments, the one without which there is no figure first.
    floor: str  # The row of a bare KVM_RUN.
    say: object = None  # Numbers -> texts.
    quantity: str = "time, us"
    factor: dict = field(default_factory=dict)  # Of units, to what the axis has.

    def series(self):
        """(label, row of ours, row of theirs) of all that is drawn."""
        return [(row.label, row.ours, row.theirs) for row in self.rows]

    def theirs(self, row, reference):
        """Returns [(name, series, its machine's KVM_RUN)] of the authors' machines that have the row."""
        found = []
        for name, machine in reference.items():
            rows = machine.rows if self.in_cycles() else machine.times
            if row.theirs in rows:
                found.append((name, rows[row.theirs], rows["fig8:wasp_vmrun"]))
        return found

    def heights(self, machines, reference):
        return [len(machines) * OUR_LANE * bool(row.ours) + 0.03 +
                len(self.theirs(row, reference)) * THEIR_LANE + GAP for row in self.rows]

    def height(self, machines, reference):
        return 0.66 + sum(self.heights(machines, reference)) + 0.44

    def draw(self, figure, machines, reference):
        height = self.height(machines, reference)
        is_ratio = self.floor != ""
        style.heading(figure, height, self.title, subtitle(self, machines))
        axes = figure.subplots(1, 2 if is_ratio else 1, sharey=True, squeeze=False, gridspec_kw={
            "left": 2.05 / style.WIDTH, "right": 1 - 0.12 / style.WIDTH, "wspace": 0.07,
            "top": 1 - 0.66 / height, "bottom": 0.42 / height})[0]
        heights = self.heights(machines, reference)
        y, centres = 0.0, []
        for row, tall in zip(self.rows, heights):
            centres.append(y + (tall - GAP) / 2)
            self.draw_row(axes, row, y, machines, reference)
            y += tall
            for axis in axes:
                axis.axhline(y - GAP / 2, color="#dddddd", linewidth=0.5)
        axes[0].set_ylim(y - GAP / 2, -GAP / 2)
        axes[0].set_yticks(centres, [row.label for row in self.rows])
        for axis, label in zip(axes, (self.quantity, "in KVM_RUNs of the same machine")):
            finish_axis(axis, label)
        if is_ratio:
            axes[1].axvline(1, color=style.INK, linewidth=0.7, linestyle=":")
        legend(figure, height, machines, any(row.theirs for row in self.rows))

    def draw_row(self, axes, row, top, machines, reference):
        y = top
        for index, machine in enumerate(machines):
            if not row.ours:
                break
            summary, floor = machine.get(row.ours), machine.get(self.floor)
            middle = y + OUR_LANE * 0.62
            if summary is None:
                axes[0].text(0.01, middle, "not measured here", size=6.5, style="italic", va="center",
                             color=style.OURS[index], transform=axes[0].get_yaxis_transform())
            else:
                draw_ours(axes[0], summary, 1, middle, style.OURS[index], number(summary.p50), True)
                if floor and self.floor and summary.unit == floor.unit:
                    draw_ours(axes[1], summary, 1 / floor.p50, middle, style.OURS[index],
                              number(summary.p50 / floor.p50), False)
            y += OUR_LANE
        y += 0.03
        for name, summary, floor in self.theirs(row, reference):
            draw_theirs(axes[0], summary, 1, y, name)
            if self.floor:
                draw_theirs(axes[1], summary, 1 / floor.p50, y, name)
            y += THEIR_LANE

    def in_cycles(self):
        return "cycles" in self.quantity


def subtitle(figure, machines):
    counts = [summary.n for machine in machines for _, ours, _ in figure.series()
              if ours and (summary := machine.get(ours))]
    if not counts:
        return ""
    return f"n = {style.span(counts)} of each row here. Bars: 25 to 75%; lines: 5 to 95%; number and tick: median; " \
           "dots: samples; x: the first, cold run"


def draw_ours(axis, summary, factor, y, colour, text, with_samples):
    if with_samples:
        step = max(1, len(summary.samples) // MOST_DOTS)
        dots = summary.samples[::step][:MOST_DOTS]
        axis.plot([value * factor for value in dots],
                  [y + 0.13 * ((i * 0.618) % 1 - 0.5) for i in range(len(dots))],
                  "o", ms=1.1, alpha=0.28, color=colour, mew=0, zorder=2)
        if summary.first is not None and summary.first > 0:
            axis.plot([summary.first], [y], "x", ms=3.5, color=colour, mew=0.8, zorder=4)
    axis.plot([summary.p5 * factor, summary.p95 * factor], [y, y], "-", color=colour, lw=1, zorder=3)
    axis.plot([summary.p25 * factor, summary.p75 * factor], [y, y], "-", color=colour, lw=3.6,
              solid_capstyle="butt", zorder=3)
    axis.plot([summary.p50 * factor], [y], "|", ms=6.5, mew=1.3, color=style.INK, zorder=4)
    axis.annotate(text, (summary.p50 * factor, y), (0, 4.2), textcoords="offset points", ha="center",
                  va="bottom", size=6.3, color=style.INK, zorder=5)


def draw_theirs(axis, summary, factor, y, name):
    colour = style.PAPERS if name == PAPER else style.THEIRS
    marker = {PAPER: "D", NESTED: "s"}.get(name, "o")
    axis.plot([summary.p5 * factor, summary.p95 * factor], [y, y], "-", color=colour, lw=0.6, zorder=2)
    axis.plot([summary.p50 * factor], [y], marker, ms=2.4 if name == PAPER else 1.9, color=colour,
              mew=0.4, mfc="white" if name == NESTED else colour, zorder=3)


def finish_axis(axis, label):
    axis.set_xscale("log")
    axis.set_xlabel(label, labelpad=2)
    axis.xaxis.set_major_locator(LogLocator(base=10, numticks=7))
    axis.xaxis.set_major_formatter(FuncFormatter(style.tick))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)


def legend(figure, height, machines, with_theirs):
    handles = [Line2D([], [], color=style.OURS[i], lw=3, label=machine.title)
               for i, machine in enumerate(machines)]
    if with_theirs:
        handles += [
            Line2D([], [], color=style.PAPERS, marker="D", ms=3, lw=0.6, label="the paper's machine"),
            Line2D([], [], color=style.THEIRS, marker="o", ms=2.5, lw=0.6, label="the authors' others"),
            Line2D([], [], color=style.THEIRS, marker="s", mfc="white", ms=2.5, lw=0.6, label="nested")]
    figure.legend(handles=handles, loc="upper left", ncol=4, handlelength=1.3, columnspacing=1.2,
                  bbox_to_anchor=(0.0, 1 - 0.40 / height), borderaxespad=0, borderpad=0.2)
