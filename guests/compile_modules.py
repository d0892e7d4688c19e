#!/usr/bin/python3
# Compiles the installed modules of virtine-cc and vcc, which would be compiled at each of their runs
# where their users cannot write. Must not know what they do.
# SPDX-License-Identifier: MIT
"""compile_modules.py DATADIR: below the prefix, as meson install has it."""

import compileall
import os
import pathlib
import sys

prefix = pathlib.Path(os.environ["MESON_INSTALL_DESTDIR_PREFIX"])
for name in ("virtine_cc", "vcc_cc"):
    folder = prefix / sys.argv[1] / "virtine" / name
    # Tracebacks name where the modules will be.
    final = pathlib.Path(os.environ["MESON_INSTALL_PREFIX"]) / sys.argv[1] / "virtine" / name
    if not compileall.compile_dir(folder, ddir=str(final), quiet=1):
        sys.exit(1)
