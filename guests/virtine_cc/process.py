# What a program does with its signals and its standard streams before all else.
# Must not know what the program is for.
# SPDX-License-Identifier: MIT

import os
import sys


def stop(number, _frame):
    # An exit unwinds, and so removes what is temporary; the default action would not.
    sys.exit(128 + number)


def open_standard_streams():
    """Opens those that are closed: a file that got the number of one would have in it what is
    said."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False, encoding="utf-8")
    sys.stderr = sys.stderr or open(2, "w", closefd=False, encoding="utf-8")
    # Names of files need not be text.
    sys.stdout.reconfigure(errors="backslashreplace")
