# What the tests share: the recorded evaluation, copies of it, and the evaluation as a program.
# SPDX-License-Identifier: MIT

import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
RECORDED = HERE / "recorded"
PROGRAM = HERE.parent
sys.path.insert(0, str(PROGRAM.parent))


def copy_to(folder):
    """Returns a copy of the recorded evaluation, to be damaged."""
    return pathlib.Path(shutil.copytree(RECORDED, pathlib.Path(folder) / "copy"))


def evaluation(*arguments):
    """Runs the program. Returns its status and all that it said."""
    done = subprocess.run([sys.executable, PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stdout + done.stderr
