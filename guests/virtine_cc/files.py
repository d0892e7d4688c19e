# Names of files, as users and tools take them, and rules for make.
# Must not know what is in the files.
# SPDX-License-Identifier: MIT

import os
import re
import stat

from .failure import Failure


def check_arguments(words):
    """Fails if a word of the command line could be taken for more than one by a reader of what we
    write: a name with the end of a line in it makes a rule for make of its own."""
    for word in words:
        if re.search(r"[\x00-\x1f\x7f]", word):
            raise Failure(f"{word!r} has control characters; no name or value can have any")


def check_source(path):
    """Fails if a source is not a file that can be read, and read again."""
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb"):
                return
        why = "Is a directory" if os.path.isdir(path) else (
            "it is not a file, which can be read several times; copy it to one")
    except OSError as error:
        why = error.strerror
    raise Failure(f"{path} cannot be read: {why}")


def check_unchanged(paths, since):
    """Fails if a file was changed after the time `since`, in nanoseconds. Asks for the time that no
    program can set."""
    for path in dict.fromkeys(paths):
        if not os.path.exists(path):  # Clang writes / for \ in names.
            raise Failure(f"virtine-cc and --depfile cannot name {os.fsdecode(path)!r}, which is not "
                          "there; if a file has a backslash in its name, rename it")
        if os.stat(path).st_ctime_ns > since:
            raise Failure(f"{path} was changed while it was read; run virtine-cc again")


def as_argument(path):
    """Returns a path as tools take it for one: not for an option, nor for a file of options."""
    path = str(path)
    return f"./{path}" if path.startswith(("-", "@")) else path


def quote(path, special):
    """Returns a path as it stands in a rule. What make or ninja cannot be told in one way that both
    understand, or would run as a command, is an error."""
    path = os.fsdecode(path)
    if re.search(rf"[\x00-\x1f\x7f;|{special}]|\\([ #:%\\]|$)|[ :]$|\(.*\)$", path):
        raise Failure(f"--depfile cannot name {path!r}: make would take characters of the name for "
                      "its own; rename the file")
    if re.match(r"[~= #:]", path):
        path = f"./{path}"
    return re.sub(r"([ #:])", r"\\\1", path.replace("$", "$$"))


def check_depfile(depfile, out):
    """Fails if images of one name in several folders would have one depfile. Meson's generators name
    it after the source alone; ninja then takes what one image depends on for another's, or finds
    nothing, and builds no image again."""
    folder, name = os.path.split(os.path.abspath(depfile))
    below, made = os.path.split(os.path.abspath(out))
    if name.split(".")[0] == made.split(".")[0] and below.startswith(os.path.join(folder, "")):
        raise Failure(f"--depfile {depfile} could be that of each {made} in the folders below; put it "
                      f"beside {out}: in Meson by a custom_target instead of preserve_path_from")


def depfile_text(out, dependencies):
    """Returns a rule for make and ninja, as bytes."""
    unique = dict.fromkeys(map(os.fsdecode, dependencies))
    words = [quote(out, "%=&"), *(quote(path, "") for path in unique)]
    return os.fsencode(f"{words[0]}: \\\n  " + " \\\n  ".join(words[1:]) + "\n")


def parse_dependencies(rule):
    """Returns the prerequisites of the one rule in bytes, as clang and nasm write it for the target
    `x`."""
    text = os.fsdecode(rule).replace("\\\n", " ").partition(":")[2]
    words = re.findall(r"(?:\\+[ #]|\$\$|\S)+", text)
    # Before a space, backslashes of the name stand twice.
    return [re.sub(r"(\\*)\\([ #])", lambda found: found[1][len(found[1]) // 2:] + found[2]
                   if found[2] == " " else found[0][:-2] + "#", word).replace("$$", "$")
            for word in words]


def parse_rust_dependencies(rule):
    """Returns what rustc read, for each of which its rules, as bytes, have an empty one."""
    return [line[:-1].replace("\\ ", " ") for line in os.fsdecode(rule).split("\n")
            if line.endswith(":") and not line.startswith("# env-dep:")]
