# Numbers in texts: written as expressions over series, so that no figure in a sentence is typed and
# all can be checked against the tables.
# SPDX-License-Identifier: MIT
"""An expression is a term, or two terms with " / " or " - " between them. A term is the name of a
row, or @MACHINE:FIGURE:SERIES of the authors' data, and after a | a field other than the median, or
`cycles` for the median of theirs as it was published.
With @* for a machine, `min` or `max` before the expression says which of all of theirs."""

import re

from evaluation.failure import Failure
from evaluation.summary import FIELDS

QUOTED = re.compile(r"\{\{(.+?)\}\}")


def number(value):
    """Returns three digits of a value, and all digits of what is large."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}"


class Missing(Exception):
    """A row that is not there."""


class Numbers:
    """The series of one machine here and of all of the authors'."""

    def __init__(self, machine, reference):
        self.machine, self.reference = machine, reference

    def has(self, *rows):
        return all(self.machine.get(row) is not None for row in rows)

    def term(self, text):
        key, _, field = text.partition("|")
        field = field or "p50"
        if field not in (*FIELDS, "n", "first", "cycles"):
            raise Failure(f"{text}: there is no field {field}")
        if key.startswith("@"):
            machine, _, row = key[1:].partition(":")
            rows = self.reference[machine].rows if field == "cycles" else self.reference[machine].times
            found = rows.get(row)
            field = "p50" if field == "cycles" else field
        else:
            found = self.machine.get(key)
        if found is None:
            raise Missing(key)
        return getattr(found, field)

    def one(self, expression):
        words = expression.split(" ")
        value = self.term(words[0])
        for sign, word in zip(words[1::2], words[2::2]):
            value = value / self.term(word) if sign == "/" else value - self.term(word)
        return value

    def every(self, expression):
        """Returns {machine: value} of the authors' machines that have it."""
        values = {}
        for name in self.reference:
            try:
                values[name] = self.one(expression.replace("@*", f"@{name}"))
            except Missing:
                continue
        return values

    def value(self, expression):
        how, _, rest = expression.partition(" ")
        if how in ("min", "max"):
            values = self.every(rest).values()
            if not values:
                raise Missing(rest)
            return {"min": min, "max": max}[how](values)
        return self.one(expression)

    def parts(self, text):
        """Splits a text into words and (expression, number) of what it quotes."""
        pieces = QUOTED.split(text)
        return [(piece, number(self.value(piece))) if i % 2 else piece
                for i, piece in enumerate(pieces) if piece]


def plain(parts):
    return "".join(part if isinstance(part, str) else part[1] for part in parts)
