# The report as a PDF, drawn page by page: blocks are placed from top to bottom on A4.
# SPDX-License-Identifier: MIT

import textwrap

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D

from evaluation import style
from evaluation.numbers import plain
from evaluation.report import Drawing, Heading, Table, Text, as_text

PAGE = (8.27, 11.69)
LEFT, TOP, BOTTOM = 0.535, 0.6, 0.65
SIZES = {1: 17, 2: 12.5, 3: 8.5}
TEXT_SIZE, CELL_SIZE = 8.8, 6.9
INK_OF = {"holds": "#00654a", "holds not": "#a34500", "holds on some": "#555555",
          "cannot be said here": "#555555"}


FONT = get_font(findfont(FontProperties(family="DejaVu Sans")))


def width_of(text, size):
    """Returns the width of a line in inches."""
    FONT.set_size(size, 72)
    FONT.set_text(text)
    return FONT.get_width_height()[0] / 64 / 72


def wrap(text, size, width):
    """Breaks a text into lines of at most so many inches."""
    average = width_of("the quick brown fox, 0123456789 ", size) / 32
    characters = max(4, int(width / average))
    lines = textwrap.wrap(text, characters) or [""]
    while characters > 4 and max(width_of(line, size) for line in lines) > width:
        characters -= 1
        lines = textwrap.wrap(text, characters)
    return lines


def leading(size):
    return size * 1.36 / 72


class Pages:
    """Pages that are filled from top to bottom; lengths are inches."""

    def __init__(self, pdf, machines, reference):
        self.pdf, self.machines, self.reference = pdf, machines, reference
        self.number, self.page, self.y = 0, None, 0.0

    def begin(self):
        self.end()
        self.number += 1
        self.page = Figure(figsize=PAGE)
        self.y = TOP
        self.put(LEFT + style.WIDTH, PAGE[1] - 0.4, str(self.number), 7.5, color="#777777", ha="right")

    def end(self):
        if self.page is not None:
            self.pdf.savefig(self.page)
        self.page = None

    def need(self, height):
        """Begins a page if this one has not so much left."""
        if self.page is None or self.y + height > PAGE[1] - BOTTOM:
            self.begin()

    def put(self, x, y, text, size, **how):
        self.page.text(x / PAGE[0], 1 - y / PAGE[1], text.replace("$", r"\$"), size=size, va="top",
                       **{"color": style.INK, **how})

    def rule(self, colour="#d8d8d8", width=0.5):
        self.page.add_artist(Line2D([LEFT / PAGE[0], (LEFT + style.WIDTH) / PAGE[0]],
                                    [1 - self.y / PAGE[1]] * 2, color=colour, lw=width))

    def heading(self, block, after):
        size = SIZES[block.level]
        lines = wrap(block.text, size * 1.1, style.WIDTH)
        # Not alone at the foot of a page.
        follows = self.drawing_height(after[0], after[1:]) if isinstance(after[0], Drawing) else 0.6
        self.need(min(len(lines) * leading(size) + 0.5 + follows, PAGE[1] - TOP - BOTTOM))
        self.y += 0.0 if self.y == TOP else 0.22 if block.level == 2 else 0.12
        for line in lines:
            self.put(LEFT, self.y, line, size, weight="bold")
            self.y += leading(size)
        self.y += 0.08

    def text(self, block):
        for line in wrap(plain(block.parts), TEXT_SIZE, style.WIDTH):
            self.need(leading(TEXT_SIZE))
            self.put(LEFT, self.y, line, TEXT_SIZE)
            self.y += leading(TEXT_SIZE)
        self.y += 0.07

    def drawing_height(self, block, after):
        """Of the figure, and of the texts right after it, which belong to it."""
        height = block.figure.height(self.machines, self.reference) + 0.15
        for each in after:
            if not isinstance(each, Text):
                break
            height += len(wrap(plain(each.parts), TEXT_SIZE, style.WIDTH)) * leading(TEXT_SIZE) + 0.07
        return min(height, PAGE[1] - TOP - BOTTOM)

    def drawing(self, block, after):
        height = block.figure.height(self.machines, self.reference)
        self.need(self.drawing_height(block, after))
        self.y += 0.12
        # A part of a page is placed by the ratios of a grid only.
        grid = self.page.add_gridspec(
            3, 3, wspace=0, hspace=0, width_ratios=[LEFT, style.WIDTH, PAGE[0] - LEFT - style.WIDTH],
            height_ratios=[self.y, height, PAGE[1] - self.y - height])
        part = self.page.add_subfigure(grid[1, 1])
        block.figure.draw(part, self.machines, self.reference)
        self.y += height + 0.06

    def table(self, block):
        widths = [share * style.WIDTH for share in block.widths]
        self.row(block.head, widths, weight="bold")
        for cells in block.rows:
            self.row(cells, widths, block.head)
        self.y += 0.1

    def row(self, cells, widths, head=None, weight="normal"):
        texts = [wrap(as_text(cell), CELL_SIZE * (1.06 if weight == "bold" else 1), width - 0.07)
                 for cell, width in zip(cells, widths)]
        height = max(len(lines) for lines in texts) * leading(CELL_SIZE) + 0.06
        before = self.number
        self.need(height)
        if head is not None and self.number != before:
            self.row(head, widths, weight="bold")
        x = LEFT
        for cell, lines, width in zip(cells, texts, widths):
            colour = INK_OF.get(cell[0], style.INK) if isinstance(cell, tuple) else style.INK
            for i, line in enumerate(lines):
                self.put(x, self.y + i * leading(CELL_SIZE), line, CELL_SIZE, weight=weight,
                         color=colour if i == 0 or isinstance(cell, tuple) else style.INK)
            x += width
        self.y += height - 0.02
        self.rule(*(("#888888", 0.8) if weight == "bold" else ()))
        self.y += 0.035


def write(path, blocks, machines, reference):
    with PdfPages(path, metadata={"Title": blocks[0].text, "CreationDate": None}) as pdf:
        pages = Pages(pdf, machines, reference)
        for i, block in enumerate(blocks):
            if isinstance(block, Heading):
                pages.heading(block, blocks[i + 1:])
            elif isinstance(block, Text):
                pages.text(block)
            elif isinstance(block, Drawing):
                pages.drawing(block, blocks[i + 1:])
            elif isinstance(block, Table):
                pages.table(block)
        pages.end()
