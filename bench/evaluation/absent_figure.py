# A figure that cannot be made here, and why.
# SPDX-License-Identifier: MIT

from dataclasses import dataclass, field

from evaluation import style


@dataclass
class AbsentFigure:
    name: str
    title: str
    why: str
    needs: list = field(default_factory=list)

    def series(self):
        return []

    def height(self, machines, reference):
        return 0.8

    def draw(self, figure, machines, reference):
        style.placeholder(figure, self.height(machines, reference), self.title, self.why)

    def say(self, _):
        return []
