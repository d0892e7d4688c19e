# What prepare and run share: the cache, the tools and their packages, the initramfs format.
# It must not know how a host is booted or what runs there.
# SPDX-License-Identifier: MIT

import hashlib
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent

SKIPPED = 77  # what Meson shows as SKIP
TIMED_OUT = 124  # as timeout(1)
HOST_FAILED = 125

# (command or file, Debian package that holds it)
CACHE_TOOLS = [
    ("busybox", "busybox-static"),
    ("dpkg-deb", "dpkg"),
    ("ldd", "libc-bin"),
    ("lz4", "lz4"),
]
HOST_TOOLS = {
    "svm": [
        ("ldd", "libc-bin"),
        ("qemu-system-x86_64", "qemu-system-x86"),
    ],
    "vmx": [
        ("ldd", "libc-bin"),
        ("bochs-bin", "bochs"),
        ("/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so", "bochs-term"),
        ("/usr/share/bochs/BIOS-bochs-latest", "bochsbios"),
        ("/usr/share/bochs/VGABIOS-lgpl-latest", "vgabios"),
        ("/usr/lib/ISOLINUX/isolinux.bin", "isolinux"),
        ("/usr/lib/syslinux/modules/bios/ldlinux.c32", "syslinux-common"),
        ("xorriso", "xorriso"),
    ],
}


def complain(message):
    """Writes one line to stderr, headed by the script's name."""
    print(f"{pathlib.Path(sys.argv[0]).name}: {message}", file=sys.stderr, flush=True)


def skip(message):
    """Ends the script with the status that means "cannot be done on this machine"."""
    complain(message)
    sys.exit(SKIPPED)


def fail(message):
    """Ends the script with the status that means "the host, not the program, is at fault"."""
    complain(message)
    sys.exit(HOST_FAILED)


def require(tools):
    """Skips, naming every missing package, unless all tools are installed."""
    missing = {
        package
        for name, package in tools
        if not (os.path.exists(name) if name.startswith("/") else shutil.which(name))
    }
    if missing:
        packages = " ".join(sorted(missing))
        skip(f"not installed: {packages} (apt-get install --no-install-recommends {packages})")


def cache_directory():
    """Returns the directory that keeps what is worth keeping between runs."""
    given = os.environ.get("VIRTINE_HOSTS_CACHE")
    if given:
        return pathlib.Path(given).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base, "virtine-hosts").absolute()


def cache_entry():
    """Returns where vmlinux, vmlinuz and base.cpio are or will be.

    The name is a hash of the files that decide the contents, so a filled entry never changes and
    may be read without a lock.
    """
    recipe = hashlib.sha256()
    for name in ("common.py", "init", "prepare"):
        recipe.update((HERE / name).read_bytes())
    return cache_directory() / recipe.hexdigest()[:16]


def libraries(program):
    """Returns the absolute paths of all a dynamic program loads at start; none if it is static."""
    listing = subprocess.run(
        ["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    ).stdout.decode(errors="surrogateescape")
    missing = re.findall(r"^\s*(\S+) => not found$", listing, re.MULTILINE)
    if missing:
        fail(f"{program}: no such library: {' '.join(missing)}")
    return re.findall(r"^\s*(?:\S+ => )?(/.+) \(0x[0-9a-f]+\)$", listing, re.MULTILINE)


class Initramfs:
    """Writes an archive in the "newc" format (kernel: driver-api/early-userspace/buffer-format).

    Archives may be concatenated: an entry of a later one replaces that of an earlier one. Within
    one archive the first entry of a path stays.
    """

    def __init__(self, path):
        self._out = open(path, "wb")
        self._paths = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._entry("TRAILER!!!", 0, b"")
        self._out.close()

    def directory(self, path):
        path = path.strip("/")
        if path and path not in self._paths:
            self.directory(os.path.dirname(path))
            self._entry(path, stat.S_IFDIR | 0o755, b"")

    def file(self, path, data, mode=0o644):
        self._leaf(path, stat.S_IFREG | mode, data)

    def symlink(self, path, target):
        self._leaf(path, stat.S_IFLNK | 0o777, os.fsencode(target))

    def copy(self, source, path):
        """Adds a file or, recursively, a directory of this machine."""
        source = pathlib.Path(source)
        if source.is_dir():
            self.directory(path)
            for child in sorted(source.iterdir()):
                self.copy(child, f"{path}/{child.name}")
        else:
            self.file(path, source.read_bytes(), source.stat().st_mode & 0o777)

    def _leaf(self, path, mode, data):
        path = path.strip("/")
        if path not in self._paths:
            self.directory(os.path.dirname(path))
            self._entry(path, mode, data)

    def _entry(self, path, mode, data):
        self._paths.add(path)
        name = os.fsencode(path) + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device (two), rdevice (two), name size, check
        fields = (len(self._paths), mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        self._padded(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
        self._padded(data)

    def _padded(self, data):
        self._out.write(data + bytes(-len(data) % 4))
