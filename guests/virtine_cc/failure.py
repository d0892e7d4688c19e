# The one exception by which virtine-cc ends.
# Must not know what failed.
# SPDX-License-Identifier: MIT


class Failure(Exception):
    """Anything that keeps the image from being built; its text says what to do about it."""
