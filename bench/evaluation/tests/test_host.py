#!/usr/bin/python3
# The evaluation in an emulated host, by the figure that takes the least time. Skipped without it.
# SPDX-License-Identifier: MIT
"""usage: test_host.py BUILD"""

import json
import pathlib
import sys
import tempfile

from samples import evaluation

SKIPPED = 77


def main(build):
    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory) / "evaluation"
        status, said = evaluation("run", build, "--host", "svm", "--out", folder, "--figure", "sizes")
        if status == SKIPPED:
            print(said.strip())
            return SKIPPED
        assert status == 0 and (folder / "figures" / "sizes.svg").exists(), said
        about = json.loads((folder / "machine.json").read_text())
        assert about["emulated"] and about["doctor"]["host"]["kvm_module"] == "kvm_amd", about
        assert json.loads((folder / "data" / "size.json").read_text())["machine"]["kvm"] == "kvm_amd"
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
