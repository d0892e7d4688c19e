# The steps from a command line to objects and programs.
# Must not know how any of them is done.
# SPDX-License-Identifier: MIT

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from virtine_cc.failure import Failure
from virtine_cc.installation import Installation
from virtine_cc.process import open_standard_streams, stop
from virtine_cc.tools import find_tool, printable

from .command import ABOUT_LINK, ABOUT_RULES, ABOUT_TEXT, Command, parse_timeout

MARKED = re.compile(r'annotate\s*\(\s*"virtine:')
CALL = b"virtine_c_call"
ABOUT_TYPES = re.compile(r"-(std|f(un)?signed-char|fshort-enums|fpack|fms|fgnu|m|ansi)")
SOURCE = re.compile(r"\.([cChmsSFi]|cc|cpp|cxx|c\+\+|ii|sx)$")  # As gcc has it: all else is for the linker.
QUIET = re.compile(r"-W.*|-pedantic.*|-w|-fanalyzer")


class Told(Exception):
    """What to say has been said; the status is its argument."""


class Vcc:
    def __init__(self, program, words, directory):
        self.installation = Installation(program)
        self.command = Command(words)
        self.directory = pathlib.Path(directory)
        # cc can be vcc itself, by a link.
        names = [name for name in ("cc", "gcc", "clang") if not is_same(name, program)]
        self.compiler = find_tool(names or ["gcc"], "gcc", "VCC_CC")
        if is_same(self.compiler, program):
            raise Failure(f"VCC_CC is '{self.compiler}', which is vcc itself; name the compiler beneath")
        here = program.parent
        self.headers = here / "c"
        if not (self.headers / "virtine.h").is_file():
            self.headers = here.parent / "share" / "virtine" / "c"
        self.count = 0
        self.is_clang = None
        self.texts = {}     # source: its preprocessed text, or None
        self.users = set()  # sources that include virtine.h

    # How the compiler beneath is run.

    def run(self, words, **more):
        return subprocess.run([self.compiler, *words], check=False, **more)

    def become(self, words):
        """Ends in the compiler beneath."""
        sys.stdout.flush()
        try:
            os.execvp(self.compiler, [self.compiler, *words])
        except OSError as why:
            raise Failure(f"{self.compiler} cannot be run: {why.strerror}") from why

    def with_virtine(self, how):
        return [f"-D__VCC__={how}", "-isystem", str(self.headers)]

    def asks_clang(self):
        """Returns whether the compiler beneath is clang."""
        if self.is_clang is None:
            name = os.path.basename(os.path.realpath(self.compiler))
            known = re.search(r"(gcc|clang)(-[\d.]+)?$", name)  # Mostly its name says it.
            if known:
                self.is_clang = known[1] == "clang"
        if self.is_clang is None:
            said = subprocess.run([self.compiler, "--version"], stdout=subprocess.PIPE, check=False).stdout
            self.is_clang = b"clang" in said
        return self.is_clang

    def preprocess(self, source, compiler, words):
        """Starts to preprocess; returns what returns the text, or None if that fails."""
        process = subprocess.Popen([compiler, *words, *self.with_virtine(1), "-E", "-x", "c", source],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

        def text():
            # As bytes, because offsets are those of libclang.
            content = process.communicate()[0].decode("latin-1")
            if f'"{self.headers}/virtine.h"' in content:
                self.users.add(source)
            return content if process.returncode == 0 else None
        return text

    def text_words(self):
        return [word for word in self.command.kept(ABOUT_LINK, ABOUT_RULES) if word != "-P"]

    # One source.

    def read(self, source):
        """Returns the text of a source, or None if the compiler refuses it."""
        if source not in self.texts:
            self.texts[source] = self.preprocess(source, self.compiler, self.text_words())()
        return self.texts[source]

    def is_marked(self, source):
        text = self.read(source)
        return text is not None and MARKED.search(text) is not None

    def uses_header(self, source):
        self.read(source)
        return source in self.users

    def clang_text(self, source):
        """Starts to make the text that clang compiles for the guest; returns what returns it."""
        if self.asks_clang():
            return lambda: self.read(source)
        from virtine_cc.toolchain import Toolchain
        keep = re.compile(r"-(D|U|I|isystem|iquote|idirafter|include|imacros|isysroot|std=.*|ansi|O.*|m.*"
                          r"|f(un)?signed-char|fshort-enums|fpack-struct.*|f(no-)?builtin.*|nostdinc|pthread"
                          r"|fopenmp|ffast-math|ffreestanding|fno-gnu.*|fgnu.*|fms.*)")
        words = [word for each in self.command.options
                 if not each.is_input and keep.fullmatch(each.name) for word in each.words]
        made = self.preprocess(source, Toolchain().clang, ["-w", *words])

        def text():
            content = made()
            if content is None:
                raise Failure(f"{source} has marked functions, and clang, which compiles them, does not "
                              "find its headers or macros as the compiler does")
            return content
        return text

    @contextlib.contextmanager
    def warnings(self, source, out):
        """Has the compiler say what it has to say of the source as it is written, meanwhile; ends with
        its status if that is an error."""
        command = self.command
        words = [word for word in command.kept(ABOUT_LINK, re.compile(r"-save-temps.*"))]
        if any(command.has(each) for each in ("-MD", "-MMD")):
            if not command.has("-MF"):
                words += ["-MF", self.rules_of(source, out)]
            if not (command.has("-MT") or command.has("-MQ")):
                words += ["-MQ", out if command.value("-o") or not command.links() else f"{stem_of(source)}.o"]
        process = subprocess.Popen([self.compiler, *words, *self.with_virtine(2), "-S", "-o", os.devnull,
                                    "-x", "c", source])
        try:
            yield
        finally:
            status = process.wait()
            if status:
                raise Told(status)

    def rules_of(self, source, out):
        """Returns the name that the compiler gives to a file of dependencies."""
        given = self.command.value("-o")
        if self.command.links() and given and not self.asks_clang():
            return f"{given.removesuffix('.exe')}-{stem_of(source)}.d"
        if given:
            return str(pathlib.Path(given).with_suffix(".d"))
        return f"{stem_of(source)}.d"

    def compile(self, source, out):
        """Makes the object, or assembly, of a source with marked functions."""
        if self.command.is_foreign:
            raise Failure(f"{source} has marked functions, and virtual machines run 64-bit code: leave out -m32")
        with self.warnings(source, out):
            text = self.clang_text(source)
            # Meanwhile: these load libclang.
            from virtine_cc.link import Undefined
            from . import halves
            from .guest import Guest, entries, of_files
            from .host import HostHalf
            from .marked import Unit
            from .text import Places, Text
            text = text()
            path = self.directory / f"{self.count}.i"
            self.count += 1
            path.write_text(text, encoding="latin-1")
            folder = self.directory / f"guest_{self.count}"
            folder.mkdir()
            guest = Guest(self.installation, folder, self.command)
            unit = Unit(path, text, ["-x", "cpp-output", "-w", "--target=x86_64-linux-gnu",
                                     *(word for word in guest.flags() if ABOUT_TYPES.match(word))])
            places = Places(text)
            functions = [] if unit.problems else unit.marked()
            parsed = Text(text)
            names = {each.name for each in functions}
            found = parsed.definitions(names)
            for each in functions:
                if each.name not in found:
                    unit.refuse(each.cursor, f"the definition of '{each.name}' is not understood; write "
                                f"{each.name}(parameters) {{ ... }}")
                else:
                    unit.cross(each, found[each.name], unit.declared[each.name])
            if functions:
                unit.check_variables(names)
        self.tell(unit, places)
        if not functions:
            raise NothingMarked()
        from . import crossing
        try:
            item = guest.compile(source, text + entries(functions, crossing))
        except crossing.CannotCross as why:
            raise Failure(f"{source}: a parameter cannot cross: {why}") from why
        others, archives = of_files(each for each in self.command.guest_sources
                                    if not each.endswith(".c"))
        others += self.other_objects(source, item, guest)
        facts = {"source": source, "names": [each.name for each in functions], "own": self.command.own,
                 "debug": guest.debug(), "private": unit.private(), "waiting": None,
                 "libc": halves.taken_from_libc([item, *others], archives)}
        # Machine code of other files cannot be told from what the linker makes it of.
        carries = not any(re.match("-flto", each.name) for each in self.command.options)
        try:
            image = guest.image(item, facts["names"], others, archives)
        except Undefined as why:
            if not carries:
                raise Failure(self.explained(source, str(why), facts["names"])) from why
            # Other files may have it, which the linker will see.
            facts["waiting"] = hashlib.sha256(text.encode("latin-1")).hexdigest()[:16]
            image = halves.WAITING + facts["waiting"]
        except Failure as why:
            raise Failure(f"{source}: {why}") from why
        host_text = self.read(source)
        host = Text(host_text) if host_text is not text else parsed
        definitions = host.definitions(names)
        half = HostHalf(functions, definitions, crossing, (self.headers / "tables.h").read_text(),
                        self.command.own)
        made = half.text(host_text, image, Places(host_text),
                         parse_timeout(self.command.own.get("timeout", "10s")))
        if carries:
            made += halves.c_text(halves.record(facts, item, facts["waiting"] is not None)) + "\n"
        if os.environ.get("VCC_KEEP"):
            pathlib.Path(os.environ["VCC_KEEP"]).write_text(made, encoding="latin-1")
        words = self.command.kept(ABOUT_TEXT, ABOUT_RULES, ABOUT_LINK, QUIET)
        words += [] if self.asks_clang() else ["-Wno-psabi"]
        kind = "-S" if self.command.has("-S") else "-c"
        # By way of standard input, whose name is always the same.
        status = self.run([*words, "-w", kind, "-o", out, "-x", "cpp-output", "-"],
                          input=made.encode("latin-1")).returncode
        if status:
            raise Told(status)

    def other_objects(self, source, item, guest):
        """Returns the guest's objects of the other sources, if what is marked may need them."""
        from virtine_cc.elf import SHN_UNDEF
        from .marked import Unit
        from .text import Places
        sources = [each.words[0] for each in self.command.sources() if each.words[0] != source]
        sources += [each for each in self.command.guest_sources if each.endswith(".c")]
        wanted = {symbol.name for symbol in item.symbols if symbol.section == SHN_UNDEF and symbol.name}
        found = []
        while sources and wanted:
            for other in sources:
                text = self.clang_text(other)() if self.read(other) is not None else None
                if text is None or not any(re.search(rf"\b{re.escape(name)}\s*\(", text) for name in wanted):
                    continue
                made = guest.compile(other, text)
                defined = {symbol.name for symbol in made.symbols
                           if symbol.section != SHN_UNDEF and symbol.binding != 0}
                if not defined & wanted:
                    continue
                path = guest.directory / f"other_{len(found)}.i"
                path.write_text(text, encoding="latin-1")
                unit = Unit(path, text, ["-x", "cpp-output", "-w"])
                unit.check_variables(defined & wanted)
                self.tell(unit, Places(text))
                found.append(made)
                wanted |= {symbol.name for symbol in made.symbols
                           if symbol.section == SHN_UNDEF and symbol.name}
                wanted -= {symbol.name for each in found for symbol in each.symbols
                           if symbol.section != SHN_UNDEF}
                sources = [each for each in sources if each != other]
                break
            else:
                break
        return found

    @staticmethod
    def explained(source, why, names):
        """Returns what to say of an image that lacks something, with the functions' own names."""
        # An entry calls its function, unless it has taken it in.
        why = re.sub(r"(?<=\(by )f\d+(?: \(at [^()]*\))? -> ", "", why)
        why = re.sub(r"(?<=\(by )f(\d+)(?= \(at |\))",
                     lambda each: names[int(each[1])] if int(each[1]) < len(names) else each[0], why)
        if "virtine_c_call (" in why:
            # -r puts what a guest needs and the program's calls into one section.
            return (f"{source}: {re.sub(r'; neither the sources of the image.*', '', why)}. An object that -r made "
                    "of several has code that is not for virtual machines beside what they need: compile its parts "
                    "with -ffunction-sections")
        if "used but not defined" in why:
            why = re.sub(r"; neither the sources of the image.*", "", why)
            return (f"{source}: {why}. A marked function takes with it what it calls: give the file that has "
                    "it to the same command, which compiles or links, or name it by -fvirtine-sources=FILE.c "
                    "(or .o, .a)")
        return f"{source}: {why}"

    def tell(self, unit, places):
        """Prints what is wrong with marked functions as the compiler would."""
        for kind, found in (("warning", unit.warnings), ("error", unit.problems)):
            if kind == "warning" and self.command.has("-w"):
                continue
            for offset, text in sorted(set(found)):
                file, line = places.of(offset)
                start = unit.text.rfind("\n", 0, offset) + 1
                print(printable(f"{file}:{line}:{offset - start + 1}: {kind}: virtine: {text}", lines=False),
                      file=sys.stderr)
        if unit.problems or unit.warnings and self.command.has("-Werror"):
            raise Told(1)

    # The command.

    def main(self):
        command = self.command
        sources = [each.words[0] for each in command.sources()]
        if command.stops():
            header = any(map(self.uses_header, sources if "-" not in sources else []))
            how = 2 if command.has("-fsyntax-only") else 1
            self.become([*(self.with_virtine(how) if header else []), *command.without_own()])
        for each in command.inputs():
            if each.words[0].endswith(".i") and mentions(each.words[0], b'annotate("virtine:'):
                raise Failure(f"{each.words[0]} is preprocessed and has marked functions; give vcc the source")
        if "-" in sources:
            sources = []
        marked = [source for source in sources if self.is_marked(source)]
        header = self.with_virtine(1) if any(map(self.uses_header, sources)) else []
        if not marked and not command.links():
            self.become([*header, *command.without_own()])
        made, given = {}, command.value("-o")
        if not command.links() and given and len(sources) > 1:
            self.become(command.without_own())  # It says what is wrong with that.
        for source in marked:
            out = given if given and not command.links() else (
                f"{stem_of(source)}.{'s' if command.has('-S') else 'o'}" if not command.links()
                else str(self.directory / f"{len(made)}_{stem_of(source)}.o"))
            try:
                self.compile(source, out)
            except NothingMarked:
                # Its marks are in headers, for callers. What is to say of it has been said.
                kind = "-S" if command.has("-S") else "-c"
                status = self.run([*self.with_virtine(1), *command.kept(ABOUT_RULES, ABOUT_LINK), "-w", kind,
                                   "-o", out, "-x", "c", source]).returncode
                if status:
                    return status
            made[source] = out
        if not command.links():
            rest = [source for source in sources if source not in made]
            words = self.command.kept()
            for source in rest:
                kind = "-S" if command.has("-S") else "-c"
                status = self.run([*self.with_virtine(1), *words, kind, *(["-o", given] if given else []),
                                   source]).returncode
                if status:
                    return status
            return 0
        words = []
        for each in command.options:
            if each.is_input and each.words[0] in made and each.words[0] in sources:
                if each.language == "c":
                    words += ["-x", "none", made[each.words[0]], "-x", "c"]
                else:
                    words.append(made[each.words[0]])
            else:
                words += each.words
        if made:
            words = [word for each in [Command(words)] for option in each.options
                     if not ABOUT_RULES.fullmatch(option.name) or len(made) < len(sources)
                     for word in option.words]
        else:
            words = command.without_own()
        return self.link(words, header, list(made.values()))

    def link(self, words, header, made):
        files = [*made, *self.linked_files()]
        if not made and not any(map(mentions_runtime, files)):
            self.become([*header, *words])
        if self.command.has("-r"):
            return self.run([*header, *words]).returncode
        images, lacking = self.complete([each for each in files if not re.search(r"\.so(\.[\d.]+)?$", each)])
        status = self.run([*header, *words, "-x", "none", *images, *self.runtime()]).returncode
        if status:
            for each in lacking:
                print(f"vcc: note: {printable(each, lines=False)}", file=sys.stderr)
        return status

    def linked_files(self):
        """Returns the objects and libraries that the command line names."""
        folders = [each.value() for each in self.command.options if each.name == "-L"]
        found = []
        for each in self.command.options:
            if each.is_input and not each.language and not SOURCE.search(each.words[0]):
                found.append(each.words[0])
            elif each.name == "-l":
                names = [each.value()[1:]] if each.value().startswith(":") else [
                    f"lib{each.value()}.{kind}" for kind in ("a", "so")]
                found += [f"{folder}/{name}" for folder in folders for name in names
                          if os.path.isfile(f"{folder}/{name}")]
        return found

    def complete(self, files):
        """Makes the images that objects wait for. Returns the objects that have them, and what could
        not be made of what is in archives, which the program may not use."""
        files = [each for each in files if os.path.isfile(each)]
        if not any(mentions(each, b".virtine_guest") for each in files):
            return [], []
        from virtine_cc.link import Undefined
        from .guest import Guest, of_files
        from .halves import Supply, assembly
        supply = Supply(files)
        for text in supply.taken_otherwise() if not self.command.has("-w") else ():
            print(f"vcc: warning: {printable(text, lines=False)}", file=sys.stderr)
        if not supply.waiting:
            return [], []
        images, lacking = {}, []
        for number, (half, is_of_archive) in enumerate(supply.waiting):
            facts = half.facts
            folder = self.directory / f"image_{number}"
            folder.mkdir()
            guest = Guest(self.installation, folder, Command(
                [f"-fvirtine-{name}={value}" for name, value in facts["own"].items()]
                + (["-g"] if facts["debug"] else [])))
            others, archives = of_files(each for each in self.command.guest_sources
                                        if not each.endswith(".c"))
            others += self.other_objects(facts["source"], half.item, guest)
            others += supply.of(half, others)
            try:
                image = guest.image_with(half.item, facts["names"], others, archives, supply.check_variables)
            except Undefined as why:
                text = self.explained(facts["source"], str(why), facts["names"])
                text += "".join(f"; {each}" for each in supply.unreadable)
                if not is_of_archive:
                    raise Failure(text) from why
                lacking.append(text)
                continue
            except Failure as why:
                raise Failure(f"{facts['source']}: {why}") from why
            images[facts["waiting"]] = folder / "image"
            images[facts["waiting"]].write_bytes(image)
        source = self.directory / "images.s"
        source.write_text(assembly(images))
        status = self.run(["-c", str(source), "-o", str(source.with_suffix(".o"))]).returncode
        if status:
            raise Told(status)
        return [str(source.with_suffix(".o"))], lacking

    def runtime(self):
        """Returns the words that link the runtime."""
        prefix = self.installation.program.parent.parent
        folders = [os.environ["VCC_RUNTIME"]] if os.environ.get("VCC_RUNTIME") else [
            str(prefix / "build" / "guests" / "c"), str(prefix / "lib" / "x86_64-linux-gnu"),
            str(prefix / "lib64"), str(prefix / "lib")]
        is_static = any(self.command.has(each) for each in ("-static", "-static-pie"))
        name = "libvirtine_c.a" if is_static else "libvirtine_c.so"
        folder = next((each for each in folders if os.path.isfile(f"{each}/{name}")), None)
        if folder is None:
            raise Failure(f"{name} was not found in {', '.join(folders)}; install virtine again, or name "
                          "its folder by VCC_RUNTIME")
        if is_static:
            return [f"{folder}/{name}", "-lstdc++", "-lm", "-pthread"]
        known = ("/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/local/lib")
        rpath = [] if folder in known else [f"-Wl,-rpath,{os.path.abspath(folder)}"]
        return [f"-L{folder}", *rpath, "-Wl,--push-state,--as-needed", "-lvirtine_c", "-Wl,--pop-state"]


class NothingMarked(Exception):
    """A source that declares marked functions and defines none."""


def is_same(name, program):
    """Returns whether a command is the file `program`."""
    path = shutil.which(name)
    return path is not None and os.path.samefile(path, program)


def stem_of(source):
    return pathlib.Path(source).stem


def mentions(path, name):
    """Returns whether an object or a library has a name; an archive of names of files may."""
    try:
        with open(path, "rb") as file:
            data = file.read()
            return name in data or data[:8] == b"!<thin>\n"
    except OSError:
        return False


def mentions_runtime(path):
    return mentions(path, CALL)


def main(program, arguments):
    """Runs vcc, which is the file `program`; returns its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    open_standard_streams()
    out = None
    try:
        with tempfile.TemporaryDirectory(prefix="vcc-") as directory:
            vcc = Vcc(program, arguments, directory)
            # Removed on failure, so that no older one is taken for this one's.
            out = vcc.command.value("-o") if not vcc.command.links() else None
            return vcc.main()
    except Told as status:
        return status.args[0]
    except Failure as why:
        print("vcc: error:", printable(str(why), lines=False), file=sys.stderr)
    except OSError as why:
        print(f"vcc: error: {why.filename or 'a file'} cannot be read or written: {why.strerror}",
              file=sys.stderr)
    return 1
