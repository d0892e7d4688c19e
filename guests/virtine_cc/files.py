# Files that are written whole or not at all, and rules for make.
# Must not know what is in them.
# SPDX-License-Identifier: MIT

import os
import pathlib
import re
import shutil
import tempfile

from .failure import Failure


def remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def write_atomically(path, content):
    """Writes a file that others see whole or not at all."""
    path = pathlib.Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(handle, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException as why:
        if temporary:
            remove(temporary)
        if isinstance(why, OSError):
            raise Failure(f"{path} cannot be written: {why.strerror}") from why
        raise


def depfile_text(out, dependencies):
    def quote(path):
        return re.sub(r"([ #\\])", r"\\\1", str(path).replace("$", "$$"))

    unique = dict.fromkeys(str(path) for path in dependencies)
    return f"{quote(out)}: \\\n  " + " \\\n  ".join(map(quote, unique)) + "\n"


def parse_dependencies(text):
    """Returns the prerequisites of the one rule in `text`, as clang and nasm write it."""
    text = text.replace("\\\n", " ").partition(": ")[2]
    words = re.findall(r"(?:\\[ #\\]|\$\$|[^\s])+", text)
    return [re.sub(r"\\([ #])", r"\1", word).replace("$$", "$") for word in words]


def keep(directory, files):
    try:
        os.makedirs(directory, exist_ok=True)
        for file in files:
            shutil.copy(file, directory)
    except OSError as why:
        raise Failure(f"--keep {directory} cannot be written: {why.strerror}") from why
