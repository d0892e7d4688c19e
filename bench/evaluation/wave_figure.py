# The figure of a load that swells and ebbs: latencies by the second in which requests were due,
# and their distributions, beside what was published of others.
# SPDX-License-Identifier: MIT

from dataclasses import dataclass

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from evaluation import style
from evaluation.numbers import number
from evaluation.rows_figure import OUR_LANE, draw_ours, finish_axis

RATE = "vespid.waves.rate"


@dataclass(frozen=True)
class Way:
    label: str
    row: str  # Of all requests; with .0, .1, ... of those of a second.


@dataclass(frozen=True)
class Published:
    """Of other measurements, of which only these quantiles are known."""

    label: str
    key: str
    n: int
    p50: float
    p99: float


@dataclass
class WaveFigure:
    name: str
    title: str
    ways: list
    published: list
    seconds: int  # At most, that the load lasts.
    needs: list
    say: object
    floor: str = ""

    def series(self):
        """(label, row of ours, row of theirs) of all that is drawn."""
        whole = [(way.label, way.row, "") for way in self.ways]
        return whole + [(f"{way.label}, second {second}", f"{way.row}.{second}", "")
                        for way in self.ways for second in range(self.seconds)]

    def height(self, machines, reference):
        return 1.2 + max(2.2, (OUR_LANE * len(machines) + 0.1) * len(self.ways) + 0.3 * len(self.published))

    def draw(self, figure, machines, reference):
        height = self.height(machines, reference)
        counts = [s.n for machine in machines for way in self.ways if (s := machine.get(way.row))]
        order = ", in the order of the machines" if len(machines) > 1 else ""
        style.heading(
            figure, height, self.title, f"n = {style.span(counts)} of each way. Left: medians and 5 to 95%, by the "
            f"second when requests were due; right: all{order}")
        by_second, all_requests = figure.subplots(1, 2, gridspec_kw={
            "left": 0.6 / style.WIDTH, "right": 1 - 0.12 / style.WIDTH, "wspace": 0.62,
            "top": 1 - 0.66 / height, "bottom": 0.42 / height})
        self.draw_rate(by_second, next(machine.get(RATE) for machine in machines if machine.get(RATE)))
        for index, machine in enumerate(machines):
            self.draw_seconds(by_second, index, machine)
        self.draw_all(all_requests, machines)
        finish_axis(all_requests, "latency, us")
        self.legend(figure, height, machines)

    def draw_rate(self, axis, rate):
        """The load itself, in grey behind the rest."""
        behind = axis.twinx()
        axis.set_zorder(behind.get_zorder() + 1)
        axis.patch.set_visible(False)
        behind.bar([second + 0.5 for second in range(rate.n)], rate.samples, width=1, color="#ededed")
        behind.set_ylim(0, 1.6 * rate.max)
        behind.set_ylabel("requests per second (grey)", labelpad=2, color="#777777")
        behind.grid(visible=False)
        behind.tick_params(colors="#777777")
        axis.set_xlim(0, rate.n)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_yscale("log")
        axis.set_xlabel("seconds since the load began", labelpad=2)
        axis.set_ylabel("latency, us", labelpad=2)
        axis.yaxis.set_major_locator(LogLocator(base=10, numticks=9))
        axis.yaxis.set_major_formatter(FuncFormatter(style.tick))
        axis.yaxis.set_minor_formatter(NullFormatter())

    def draw_seconds(self, axis, index, machine):
        for place, way in enumerate(self.ways):
            found = [(second + 0.5, summary) for second in range(self.seconds)
                     if (summary := machine.get(f"{way.row}.{second}"))]
            x = [second for second, _ in found]
            colour = style.CURVES[place]
            axis.plot(x, [s.p50 for _, s in found], color=colour, marker=style.MARKERS[place],
                      ls=style.DASHES[index % 4], ms=2.6, lw=1.3, zorder=4)
            axis.fill_between(x, [s.p5 for _, s in found], [s.p95 for _, s in found], color=colour, alpha=0.18, lw=0)

    def draw_all(self, axis, machines):
        y, places, labels = 0.0, [], []
        for place, way in enumerate(self.ways):
            places.append(y + OUR_LANE * len(machines) / 2)
            labels.append(way.label)
            for machine in machines:
                if summary := machine.get(way.row):
                    draw_ours(axis, summary, 1, y + OUR_LANE / 2, style.CURVES[place], number(summary.p50), True)
                y += OUR_LANE
            y += 0.1
        for each in self.published:
            places.append(y + OUR_LANE / 2)
            labels.append(each.label)
            axis.plot([each.p50, each.p99], [y + OUR_LANE / 2] * 2, "-", color=style.THEIRS, lw=1, zorder=3)
            axis.plot([each.p50], [y + OUR_LANE / 2], "|", ms=6.5, mew=1.3, color=style.PAPERS, zorder=4)
            axis.annotate(number(each.p50), (each.p50, y + OUR_LANE / 2), (0, 4.2), textcoords="offset points",
                          ha="center", va="bottom", size=6.3, color=style.PAPERS)
            y += OUR_LANE + 0.05
        axis.set_ylim(y, -0.08)
        axis.set_yticks(places, labels)

    def legend(self, figure, height, machines):
        handles = [Line2D([], [], color=style.INK, ls=style.DASHES[i % 4], lw=1.3, label=machine.title)
                   for i, machine in enumerate(machines) if machine.get(RATE)]
        handles.append(Line2D([], [], color=style.THEIRS, lw=1, label="published by the authors: median to p99"))
        figure.legend(handles=handles, loc="upper left", ncol=4, handlelength=2.2, columnspacing=1.2,
                      bbox_to_anchor=(0.0, 1 - 0.40 / height), borderaxespad=0, borderpad=0.2)
