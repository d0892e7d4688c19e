# The one exception by which virtine-cc ends.
# Must not know what failed.
# SPDX-License-Identifier: MIT


class Failure(Exception):
    """Anything that keeps the image from being built; its texts, one or more of which each has a line,
    say what to do about it."""
