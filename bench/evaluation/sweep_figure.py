# A figure of curves: medians over an argument, with the middle 90% of the samples, ours stronger
# than the authors', in microseconds and in multiples of each machine's own KVM_RUN.
# SPDX-License-Identifier: MIT

from dataclasses import dataclass

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from evaluation import style
from evaluation.reference import PAPER


@dataclass(frozen=True)
class Curve:
    label: str
    ours: str = ""  # A row, with {} for the point.
    theirs: str = ""


@dataclass
class SweepFigure:
    name: str
    title: str
    curves: list
    points: list
    needs: list
    floor: str  # A row, with {} for the point where there is one for each.
    argument: str
    say: object = None
    is_size: bool = False  # The argument is bytes, and its axis logarithmic.
    their_points: list = None
    our_point: object = str  # How the rows' names have a point.

    def series(self):
        """(label, row of ours, row of theirs) of all that is drawn."""
        found = []
        for curve in self.curves:
            for point in self.points:
                theirs = curve.theirs.format(point) if point in (self.their_points or self.points) else ""
                found.append((f"{curve.label}, {self.label(point)}",
                              curve.ours and curve.ours.format(self.our_point(point)),
                              theirs if curve.theirs else ""))
        return found

    def label(self, point):
        return size_text(point) if self.is_size else str(point)

    def height(self, machines, reference):
        return 3.7

    def draw(self, figure, machines, reference):
        height = self.height(machines, reference)
        counts = [s.n for m in machines for _, ours, _ in self.series() if ours and (s := m.get(ours))]
        n = f"n = {style.span(counts)} of each point here. " if counts else ""
        style.heading(figure, height, self.title, n + "Lines: medians; bands: 5 to 95% of the samples")
        axes = figure.subplots(1, 2, gridspec_kw={
            "left": 0.6 / style.WIDTH, "right": 1 - 0.12 / style.WIDTH, "wspace": 0.22,
            "top": 1 - 0.88 / height, "bottom": 0.42 / height})
        for name, machine in reference.items():
            self.draw_theirs(axes, name, machine)
        for index, machine in enumerate(machines):
            self.draw_ours(axes, index, machine)
        for axis, label in zip(axes, ("time, us", "in KVM_RUNs of the same machine")):
            self.finish(axis, label)
        axes[1].axhline(1, color=style.INK, lw=0.7, ls=":")
        self.legend(figure, height, machines)

    def draw_ours(self, axes, index, machine):
        for number, curve in enumerate(self.curves):
            found = [(point, machine.get(curve.ours.format(self.our_point(point))),
                      machine.get(self.floor.format(self.our_point(point)))) for point in self.points]
            found = [(point, summary, floor) for point, summary, floor in found if summary]
            if not found or not curve.ours:
                continue
            x = [point for point, _, _ in found]
            colour = style.CURVES[number]
            how = {"color": colour, "marker": style.MARKERS[number], "ls": style.DASHES[index % 4],
                   "ms": 2.6, "lw": 1.3, "zorder": 4}
            axes[0].plot(x, [s.p50 for _, s, _ in found], **how)
            axes[0].fill_between(x, [s.p5 for _, s, _ in found], [s.p95 for _, s, _ in found],
                                 color=colour, alpha=0.18, lw=0, zorder=3)
            if all(floor for _, _, floor in found):
                axes[1].plot(x, [s.p50 / floor.p50 for _, s, floor in found], **how)

    def draw_theirs(self, axes, name, machine):
        for number, curve in enumerate(self.curves):
            if not curve.theirs:
                continue
            found = [(point, machine.get(curve.theirs.format(point)))
                     for point in self.their_points or self.points]
            found = [(point, summary) for point, summary in found if summary]
            how = {"color": style.CURVES[number], "alpha": 0.75 if name == PAPER else 0.22,
                   "lw": 1.0 if name == PAPER else 0.7, "ls": (0, (4, 1.5)) if name == PAPER else "-",
                   "zorder": 2}
            x = [point for point, _ in found]
            axes[0].plot(x, [s.p50 for _, s in found], **how)
            axes[1].plot(x, [s.p50 / machine.floor.p50 for _, s in found], **how)

    def finish(self, axis, label):
        axis.set_yscale("log")
        axis.set_ylabel(label, labelpad=2)
        axis.set_xlabel(self.argument, labelpad=2)
        axis.yaxis.set_major_locator(LogLocator(base=10, numticks=9))
        axis.yaxis.set_major_formatter(FuncFormatter(style.tick))
        axis.yaxis.set_minor_formatter(NullFormatter())
        if self.is_size:
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_locator(LogLocator(base=16, numticks=9))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size_text(value)))
            axis.xaxis.set_minor_formatter(NullFormatter())

    def legend(self, figure, height, machines):
        handles = [Line2D([], [], color=style.CURVES[i], marker=style.MARKERS[i], ms=3.5, lw=1.3,
                          label=curve.label) for i, curve in enumerate(self.curves)]
        figure.legend(handles=handles, loc="upper left", ncol=5, handlelength=1.8, columnspacing=1.2,
                      bbox_to_anchor=(0.0, 1 - 0.40 / height), borderaxespad=0, borderpad=0.2)
        others = [Line2D([], [], color=style.INK, ls=style.DASHES[i % 4], lw=1.3, label=machine.title)
                  for i, machine in enumerate(machines)]
        if any(curve.theirs for curve in self.curves):
            others += [Line2D([], [], color=style.INK, alpha=0.75, lw=1, ls=(0, (4, 1.5)),
                              label="the paper's machine"),
                       Line2D([], [], color=style.INK, alpha=0.3, lw=0.7, label="the authors' others")]
        figure.legend(handles=others, loc="upper left", ncol=4, handlelength=2.2, columnspacing=1.2,
                      bbox_to_anchor=(0.0, 1 - 0.58 / height), borderaxespad=0, borderpad=0.2)


def size_text(value):
    value = int(round(value))
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size:
            return f"{value // size} {unit}"
    return f"{value} B"
