# What the program vcc runs: with its own path, and what it was given.
# SPDX-License-Identifier: MIT

import os
import pathlib
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from vcc_cc.main import main  # noqa: E402

sys.exit(main(pathlib.Path(os.path.abspath(sys.argv[1])), sys.argv[2:]))
