# python3 bench/evaluation: the program; main.py has its options.
# SPDX-License-Identifier: MIT

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from evaluation.main import main  # noqa: E402

sys.exit(main())
