# Bytes as C++ string literals.
# Must not know what they stand for.
# SPDX-License-Identifier: MIT

# Octal escapes always have three digits, so that what follows cannot be taken for a part of them.
PLAIN = set(range(0x20, 0x7f)) - set(map(ord, '"\\?'))
ESCAPES = [chr(byte) if byte in PLAIN else f"\\{byte:03o}" for byte in range(256)]


def literal(data):
    return '"' + "".join(map(ESCAPES.__getitem__, data)) + '"'
