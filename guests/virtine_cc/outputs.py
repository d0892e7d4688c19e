# Where results go: files that are written whole or not at all, and what is no file.
# Must not know what is in them.
# SPDX-License-Identifier: MIT

import contextlib
import errno
import os
import stat
import tempfile

from .failure import Failure

REFUSED = {stat.S_ISDIR: "a directory", stat.S_ISBLK: "a disk", stat.S_ISSOCK: "a socket"}


def own_descriptor(path):
    """Returns the number of the descriptor that a name such as /dev/stdout leads to, or None."""
    folders = [os.path.realpath(f"/proc/{each}/fd") for each in ("self", "thread-self")]
    for _ in range(40):  # as many links as Linux follows
        folder, name = os.path.split(os.path.abspath(path))
        folder = os.path.realpath(folder)
        if folder in folders and name.isdecimal():
            return int(name)
        path = os.path.join(folder, name)
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None


class Output:
    """A place that the command line names for a result.

    A file is replaced in one step; symbolic links to it stay, and the file that they lead to is
    the one. What is no file is written to: a character device, a pipe, a descriptor of ours.
    """

    def __init__(self, path):
        self.path = path
        self.descriptor = own_descriptor(path)
        # First, so that Linux refuses to follow the links that it refuses to follow.
        mode = self.mode()
        for is_kind, what in REFUSED.items():
            if self.descriptor is None and mode is not None and is_kind(mode):
                raise Failure(f"{path} cannot be written: it is {what}; give the name of a file")
        self.is_file = self.descriptor is None and (mode is None or stat.S_ISREG(mode))
        self.target = os.path.realpath(path)
        if mode is not None and self.is_file and not os.path.exists(self.target):
            raise Failure(f"{path} cannot be written: the file was removed; give another name")

    @contextlib.contextmanager
    def writing(self):
        try:
            yield
        except OSError as why:
            raise Failure(f"{self.path} cannot be written: {why.strerror}") from why

    def mode(self):
        with self.writing():
            try:
                return os.stat(self.path).st_mode
            except FileNotFoundError:
                return None

    def is_same(self, path):
        return (self.is_file and os.path.exists(self.target) and os.path.exists(path)
                and os.path.samefile(self.target, path))

    def remove(self):
        """Removes the file, if it is one and there."""
        if self.is_file:
            with self.writing(), contextlib.suppress(FileNotFoundError):
                os.unlink(self.target)

    def write(self, content):
        with self.writing():
            if self.is_file:
                self.replace(content)
                return
            if self.descriptor is None:
                handle = os.open(self.path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
            else:
                handle = os.dup(self.descriptor)  # and so at the place where its owner is
            with open(handle, "wb") as file:
                file.write(content)

    def replace(self, content):
        # Not named after the file, whose name may be as long as names can be.
        handle, temporary = tempfile.mkstemp(prefix=".virtine-cc-",
                                             dir=os.path.dirname(self.target))
        try:
            with open(handle, "wb") as file:
                file.write(content)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            os.replace(temporary, self.target)
        except BaseException:
            os.unlink(temporary)
            raise


class Outputs:
    """The outputs of a run, of which none is an input or another output, or is there after a
    failure."""

    def __init__(self, inputs):
        self.inputs = inputs
        self.all = []

    def add(self, path):
        """Returns the Output at `path`, and removes what an earlier run left there."""
        made = Output(path)
        for each in self.inputs:
            if made.is_same(each):
                raise Failure(f"{path} is both read and written; give the output another name")
        for other in self.all:
            if made.is_file and other.is_file and made.target == other.target:
                raise Failure(f"{other.path} and {path} are one file; give each output a name of "
                              "its own")
        made.remove()
        self.all.append(made)
        return made

    def __enter__(self):
        return self

    def __exit__(self, kind, _why, _trace):
        for each in self.all if kind else ():
            each.remove()


def keep(directory, files, outputs):
    """Copies `files` to a directory, which is made if it is not there."""
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as why:
        why_not = "it is not a directory" if why.errno == errno.EEXIST else why.strerror
        raise Failure(f"--keep {directory} cannot be written: {why_not}") from why
    for file in files:
        outputs.add(os.path.join(directory, file.name)).write(file.read_bytes())
