#!/usr/bin/python3
# A quick evaluation of this machine, as users run it. Skipped without KVM.
# SPDX-License-Identifier: MIT
"""usage: test_quick.py BUILD"""

import json
import pathlib
import sys
import tarfile
import tempfile

from samples import evaluation

from evaluation import figures

SKIPPED = 77


def main(build):
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory) / "evaluation"
        status, said = evaluation("run", build, "--quick", "--out", folder)
        if status == SKIPPED:
            print(said.strip())
            return SKIPPED
        assert status == 0, said
        with tarfile.open(folder / "evaluation.tar") as tar:
            names = set(tar.getnames())
        for figure in figures.FIGURES:
            for suffix in ("svg", "png", "csv"):
                assert f"evaluation/figures/{figure.name}.{suffix}" in names, figure.name
        for name in ("report.html", "report.pdf", "machine.json", "claims.json", "data/contexts.csv"):
            assert f"evaluation/{name}" in names, name
        assert "few samples" in (folder / "report.html").read_text()
        assert json.loads((folder / "machine.json").read_text())["doctor"]["works"]

        status, said = evaluation("run", build, "--quick", "--out", folder, "--figure", "fig8")
        assert status == 0 and "fig8.svg" in said, said
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
