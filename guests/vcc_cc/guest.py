# The guest's half of a compilation: entries behind the user's text, compiled and linked to an image
# by virtine-cc's modules.
# Must not know the host's half.
# SPDX-License-Identifier: MIT

import pathlib
import re
import shutil

from virtine_cc.compile import CLANG_FLAGS, FIXED_FLAGS, Compiler
from virtine_cc.elf import Object
from virtine_cc.failure import Failure
from virtine_cc.image_file import image_file
from virtine_cc.lines import UnreadableLines
from virtine_cc.linking import link_user64
from virtine_cc.options import Options, make_parser
from virtine_cc.tools import run

from .command import ABOUT_LINK, ABOUT_RULES, ABOUT_TEXT
from .host import Layout

NOT_FOR_GUESTS = re.compile(
    r"-flto.*|-f(no-)?sanitize.*|-fprofile.*|-f(no-)?coverage.*|--coverage|-ftest-coverage|-pg?|-fplugin.*"
    r"|-f(no-)?pi[ce]|-f(no-)?PI[CE]|-fcf-protection.*|-mcmodel=.*|-fstack-protector.*|-f(no-)?fat-lto.*"
    r"|-finstrument.*|-W.*|-w|-pedantic.*|-pipe|-pthread|-c|-S|-B|-wrapper|-specs.*|-dump.*|-aux-info"
    r"|-fanalyzer|-f(no-)?whole-program|-ftrapv|-fsplit-stack|-Xassembler|-Wa,.*|-g.*|-target|--target.*"
    r"|-fno-semantic-interposition|-fdebug.*|-ffile-prefix.*|-fdiagnostics.*|-f(no-)?color.*|-fmessage.*"
    r"|-fvisibility.*|-static.*|-m64|-no-pie|-pie|-shared|-f(no-)?exceptions|-f(no-)?asynchronous.*"
    r"|-fno-plt|-rdynamic|-B.*|-mllvm|-Xclang|-f(no-)?common")


def spelled(kind, crossing):
    """Returns how the type of a parameter can be written at the end of the file."""
    text = kind.get_canonical().spelling
    if re.search(r"\((unnamed|anonymous)", text):
        text = kind.spelling
    if re.search(r"\((unnamed|anonymous)|typeof", text):
        raise crossing.CannotCross("its type has no name; give it one by typedef")
    return re.sub(r"\b(const|volatile|restrict)\b", "", text)


def entries(functions, crossing):
    """Returns the C text of the entries fN of marked functions."""
    out = ['\n# 1 "<virtine>"']
    for number, function in enumerate(functions):
        layout, given = Layout(function, crossing), []
        for parameter, at in zip(function.parameters, layout.offsets):
            if parameter.kind == "value":
                given.append(f"*({spelled(parameter.type, crossing)} *)(virtine_p + {at})")
            else:
                given.append(f"*(void **)(virtine_p + {at})")
        call = f"{function.name}({', '.join(given)})"
        if layout.result_size:
            call = f"*(__typeof__((0, {call})) *)virtine_p = {call}"
        out.append(f"void virtine_entry_f{number}(char *virtine_p) {{ {call}; }}")
    return "\n".join(out) + "\n"


class Guest:
    """Makes the image of one file."""

    def __init__(self, installation, directory, command):
        self.directory, self.command = directory, command
        words = ["program.c", "-o", "program.virtine", "--arguments", command.own.get("arguments", "16M")]
        for name in ("stack", "heap", "memory"):
            if name in command.own:
                words += [f"--{name}", command.own[name]]
        words += ["-g"] if self.debug() else []
        self.options = Options(make_parser("").read(words))
        self.compiler = Compiler(self.options, installation, directory, 0)
        self.count = 0

    def debug(self):
        found = [each.name for each in self.command.options
                 if each.name.startswith("-g") and not each.name.startswith("-grecord")
                 and not each.name.startswith("-gno")]
        return bool(found) and found[-1] != "-g0"

    def flags(self):
        words = self.command.kept(ABOUT_TEXT, ABOUT_RULES, ABOUT_LINK, NOT_FOR_GUESTS)
        return words + (["-gdwarf-4"] if self.debug() else [])

    def compile(self, name, text):
        """Returns the Object of a preprocessed text."""
        self.count += 1
        source = self.directory / f"guest_{self.count}.i"
        source.write_text(text, encoding="latin-1")
        out = source.with_suffix(".o")
        flags = self.flags()
        while True:
            done = run([self.compiler.toolchain.clang, *CLANG_FLAGS, *flags, "-w", "-fcommon", *FIXED_FLAGS,
                        "-x", "cpp-output", "-c", source, "-o", out])
            if done.returncode == 0:
                break
            # The user's compiler has options that clang has not; none changes what a program means.
            unknown = re.findall(r"(?:unknown argument|unsupported argument|unsupported option|unknown "
                                 r"target CPU)[^']*'([^']*)'", done.stderr)
            rest = [word for word in flags if word not in unknown]
            if len(rest) == len(flags):
                first = next((line for line in done.stderr.splitlines() if " error: " in line),
                             done.stderr.strip())
                raise Failure(f"{name} has marked functions and does not compile for a virtual machine: "
                              f"{first}")
            flags = rest
        return Object(name, out.read_bytes())

    def image(self, item, names, others, archives, check=None):
        """Returns the image file of an Object whose entries fN are the functions `names`, with what
        `others` and `archives` define; `check` is given the Reach and the Objects that are linked for
        `others`."""
        exports = {f"f{number}": "v()" for number in range(len(names))}
        elf = self.directory / "program.elf"
        objects = [self.cleaned(each) for each in (item, *others)]
        image = link_user64(self.compiler, objects, archives, exports, [], elf,
                            check and (lambda reach: check(reach, set(objects[1:]))))
        image.symbols = [each._replace(name=names[int(each.name[1:])])
                         if re.fullmatch(r"f\d+", each.name) and int(each.name[1:]) < len(names) else each
                         for each in image.symbols]
        return image_file(loaded_part(elf.read_bytes()), image, exports, self.options)

    def image_with(self, item, names, others, archives, check):
        """Returns the same with objects of the program's, whose lines can be in a form that is not
        understood: then without them."""
        try:
            return self.image(item, names, others, archives, check)
        except UnreadableLines:
            shutil.rmtree(self.directory / "linked")
            others = [Object(each.name, each.without(lambda section: section.name.startswith(".debug_"),
                                                     lambda name: False), rename=each.rename) for each in others]
            return self.image(item, names, others, archives, check)

    def cleaned(self, item):
        """Returns an object without constructors, which are the program's affair."""
        unwanted = re.compile(r"\.(preinit_array|init_array|fini_array|ctors|dtors)\b")
        path = self.directory / f"cleaned_{id(item)}.o"
        path.write_bytes(item.without(lambda section: unwanted.match(section.name),
                                       lambda name: False))
        return Object(item.name, path.read_bytes(), rename=item.rename)


def loaded_part(elf):
    """Returns an ELF file without what is not loaded: its sections, for tools and debuggers."""
    offset, size, count = (int.from_bytes(elf[at:at + length], "little")
                           for at, length in ((32, 8), (54, 2), (56, 2)))
    end = offset + size * count
    for number in range(count):
        header = elf[offset + number * size:offset + (number + 1) * size]
        if int.from_bytes(header[:4], "little") == 1:
            end = max(end, int.from_bytes(header[8:16], "little")
                      + int.from_bytes(header[32:40], "little"))
    out = bytearray(elf[:end])
    out[40:48] = bytes(8)                # no table of sections
    out[58:64] = bytes((64, 0)) + bytes(4)
    return bytes(out)


def of_files(paths):
    """Returns the Objects and the archives of files."""
    objects, archives = [], []
    for path in map(pathlib.Path, paths):
        if path.suffix == ".a":
            archives.append(path)
        else:
            objects.append(Object(path.name, path.read_bytes()))
    return objects, archives
