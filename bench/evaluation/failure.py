# What ends the program with a message instead of a traceback.
# SPDX-License-Identifier: MIT


class Failure(Exception):
    """What is wrong and what to do, for the user."""


class Skipped(Exception):
    """Why nothing can be measured here."""
