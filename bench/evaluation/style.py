# How figures look: sizes, fonts, and colours that colour-blind readers can tell apart (those of
# Okabe and Ito).
# SPDX-License-Identifier: MIT

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update({
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "svg.hashsalt": "virtine",  # The same figure gives the same file.
    "pdf.fonttype": 42,
})

OURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
CURVES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"]
MARKERS = ["o", "s", "^", "D", "v"]
DASHES = ["-", "--", ":", "-."]
THEIRS = "#a0a0a0"
PAPERS = "#404040"
INK = "#222222"
WIDTH = 7.2  # Inches: a page of A4 less its margins.


def tick(value, _):
    """Labels a tick of a logarithmic axis."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def span(counts):
    """Returns the least and the greatest of these numbers as a text."""
    least, most = min(counts), max(counts)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def heading(figure, height, title, subtitle):
    figure.text(0.06 / WIDTH, 1 - 0.06 / height, title, size=9.5, weight="bold", va="top", color=INK)
    figure.text(0.06 / WIDTH, 1 - 0.26 / height, subtitle, size=7, va="top", color="#555555")


def placeholder(figure, height, title, why):
    heading(figure, height, title, "")
    figure.text(0.5, 0.4, why, ha="center", va="center", size=9, color="#777777", style="italic")
