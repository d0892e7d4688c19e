# The distribution of a series: what figures draw and texts quote. By the definitions of
# bench/harness.hpp, so that both name the same median.
# SPDX-License-Identifier: MIT

import math

QUANTILES = {"p5": 0.05, "p25": 0.25, "p75": 0.75, "p95": 0.95, "p99": 0.99}
FIELDS = ("min", "p5", "p25", "p50", "p75", "p95", "p99", "max", "mean")


class Summary:
    """n, the quantiles, and the unit; `first` and `samples` only of what was measured here."""

    def __init__(self, unit, n, values, first=None, samples=()):
        self.unit = unit
        self.n = n
        self.first = first
        self.samples = samples
        for field in FIELDS:
            setattr(self, field, values[field])

    def scaled(self, factor, unit):
        first = None if self.first is None else self.first * factor
        return Summary(unit, self.n, {f: getattr(self, f) * factor for f in FIELDS}, first,
                       [value * factor for value in self.samples])


def summarise(unit, samples, first=None):
    ordered = sorted(samples)
    n = len(ordered)
    values = {field: ordered[max(1, math.ceil(q * n)) - 1] for field, q in QUANTILES.items()}
    values |= {
        "min": ordered[0],
        "p50": (ordered[(n - 1) // 2] + ordered[n // 2]) / 2,
        "max": ordered[-1],
        "mean": math.fsum(ordered) / n,
    }
    return Summary(unit, n, values, first, list(samples))
