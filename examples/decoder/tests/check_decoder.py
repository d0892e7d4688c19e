#!/usr/bin/env python3
# Runs decode-safely on good, damaged and hostile pictures, and compares with the same libraries run
# natively. Must not know how pictures are decoded.
# SPDX-License-Identifier: MIT
"""usage: check_decoder.py DECODE_SAFELY SAMPLES [MUTATIONS [FOLDER]]

With FOLDER the pictures in it are tried, too: a suite of good and broken ones.
"""

import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

SKIPPED = 77


def run(*command):
    return subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=120, check=False)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + \
        struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, pixels, depth=8, colours=2, more=b""):
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)) + more +
            chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def hostile():
    """Pictures that were made to do harm: name, file, what is said of it."""
    row = zlib.compress(b"\0" + bytes(30))
    yield "no rows", png(10, 10, zlib.compress(b"")), "too short|Not enough"
    yield "no zlib", png(10, 10, b"no zlib stream"), ""
    yield "huge", png(0x7fffffff, 0x7fffffff, row), ""
    yield "wide", png(0x7fffffff, 1, row), ""
    yield "tall", png(60, 1000000, row), "more pixels"
    yield "zero", png(0, 10, row), ""
    yield "palette is missing", png(10, 1, row, colours=3), ""
    yield "palette is short", png(4, 1, zlib.compress(b"\0\xff\xff\xff\xff"), colours=3,
                                  more=chunk(b"PLTE", b"\1\2\3")), None
    yield "text bomb", png(10, 1, row, more=chunk(b"zTXt", b"k\0\0" + zlib.compress(
        bytes(100 << 20), 9))), None
    yield "profile bomb", png(10, 1, row, more=chunk(b"iCCP", b"k\0\0" + zlib.compress(
        bytes(100 << 20), 9))), None
    yield "many chunks", png(10, 1, row, more=chunk(b"tEXt", b"k\0v") * 50000), None
    yield "only a start", b"\xff\xd8\xff", ""
    yield "no tables", b"\xff\xd8\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0\xd9", ""
    yield "endless fill", b"\xff\xd8" + b"\xff" * (1 << 20), ""
    yield "nothing", b"", "neither PNG nor JPEG"
    yield "noise", bytes(range(256)), "neither PNG nor JPEG"


class Checker:
    def __init__(self, program, samples, folder):
        self.program, self.samples, self.folder = program, samples, folder
        self.safe, self.native = folder / "safe.ppm", folder / "native.ppm"

    def decode(self, path, *options):
        self.safe.unlink(missing_ok=True)
        done = run(self.program, *options, path, self.safe)
        if done.returncode == SKIPPED:
            print(done.stderr.decode(), end="")
            sys.exit(SKIPPED)
        assert done.returncode in (0, 1, 3), (path, done)
        assert (done.returncode == 0) == self.safe.exists(), (path, done)
        return done

    def same_as_native(self, path):
        """Returns whether the file is a picture, after both have said the same of it."""
        done = self.decode(path)
        self.native.unlink(missing_ok=True)
        native = run(self.samples, "native", path, self.native)
        assert done.returncode == native.returncode, (path, done, native)
        if done.returncode == 0:
            assert self.safe.read_bytes() == self.native.read_bytes(), path
        return done.returncode == 0


def check_good(checker):
    run(checker.samples, "make", checker.folder)
    names = [path for path in sorted(checker.folder.iterdir())
             if path.suffix in (".png", ".jpg") and path.stem != "bomb"]
    assert len(names) == 7, names
    for path in names:
        assert checker.same_as_native(path), path
    return names


def check_limits(checker):
    bomb = checker.folder / "bomb.png"
    assert bomb.stat().st_size < 1 << 20, bomb.stat()
    done = checker.decode(bomb)
    assert done.returncode == 1 and b"more pixels than the limit" in done.stderr, done
    done = checker.decode(checker.folder / "rgb.png", "--max-pixels", 29999)
    assert done.returncode == 1 and b"more pixels than the limit" in done.stderr, done
    assert checker.decode(checker.folder / "rgb.png", "--max-pixels", 30000).returncode == 0
    done = checker.decode(bomb, "--max-pixels", 1 << 40, "--timeout", 1)
    assert done.returncode == 3 and b"timed_out" in done.stderr, done
    large = checker.folder / "large"
    large.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40 << 20))
    assert checker.decode(large).returncode == 1
    # A file that does not end.
    endless = checker.decode(pathlib.Path("/dev/zero"))
    assert endless.returncode == 1 and b"more than 256 MiB" in endless.stderr, endless


def check_hostile(checker):
    path = checker.folder / "hostile"
    for name, content, said in hostile():
        path.write_bytes(content)
        done = checker.decode(path)
        if said is None:
            continue
        assert done.returncode == 1, (name, done)
        assert any(word in done.stderr.decode() for word in said.split("|")), (name, done)


def check_truncated(checker, names):
    path = checker.folder / "part"
    for name in names:
        whole = name.read_bytes()
        for tenth in range(10):
            path.write_bytes(whole[:len(whole) * tenth // 10])
            assert checker.decode(path).returncode == 1, (name, tenth)


def check_mutated(checker, names, count):
    """A corpus of damaged files: guest and native library say the same of each."""
    path = checker.folder / "mutated"
    good = 0
    for seed in range(count):
        run(checker.samples, "mutate", seed, names[seed % len(names)], path)
        good += checker.same_as_native(path)
    print(f"{count} mutations, of which {good} are still pictures")
    assert good < count / 2


def check_suite(checker, suite):
    names = [path for path in sorted(suite.rglob("*")) if path.suffix in (".png", ".jpg")]
    assert names, f"there are no pictures in {suite}"
    good = sum(checker.same_as_native(path) for path in names)
    print(f"{len(names)} pictures in {suite}, of which {good} are whole")


def main(program, samples, mutations="70", suite=None):
    with tempfile.TemporaryDirectory() as folder:
        checker = Checker(program, samples, pathlib.Path(folder))
        names = check_good(checker)
        check_limits(checker)
        check_hostile(checker)
        check_truncated(checker, names)
        check_mutated(checker, names, int(mutations))
        if suite is not None:
            check_suite(checker, pathlib.Path(suite))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
