# The command line of a C compiler, as far as vcc has to understand it.
# Must not know what is done with it.
# SPDX-License-Identifier: MIT

import os
import pathlib
import re
import shlex

from virtine_cc.failure import Failure

# Options whose value is the next word.
SEPARATE = set("""
    -o -D -U -I -isystem -iquote -idirafter -include -imacros -iprefix -iwithprefix
    -iwithprefixbefore -isysroot -MF -MT -MQ -L -l -x -Xlinker -Xpreprocessor -Xassembler -Xclang -T
    -u -z -e -target --target --sysroot -B -aux-info -G -A --param -wrapper -dumpbase -dumpbase-ext
    -dumpdir -specs -mllvm -framework
""".split())
# What is about macros and headers, and so done once a text is preprocessed.
ABOUT_TEXT = re.compile(r"-(D|U|I|isystem|iquote|idirafter|include|imacros|iprefix|iwithprefix"
                        r"|iwithprefixbefore|isysroot|Xpreprocessor|A)|-Wp,.*|-nostdinc|-undef|-P|-C|-CC")
ABOUT_RULES = re.compile(r"-(MF|MT|MQ)|-(M|MM|MD|MMD|MP|MG|MV)|-save-temps.*")
ABOUT_LINK = re.compile(r"-(l|L|Xlinker|T|u|z|e)|-Wl,.*|-(shared|static|static-pie|pie|no-pie|rdynamic|s"
                        r"|nostdlib|nodefaultlibs|nostartfiles|static-libgcc|shared-libgcc|fuse-ld=.*"
                        r"|symbolic)")
STOPS = {"-E", "-M", "-MM", "-fsyntax-only", "--version", "--help", "-v", "-###", "-dumpversion",
         "-dumpmachine", "-dumpspecs"}
OWN = re.compile(r"-fvirtine-(arguments|stack|heap|memory|timeout|sources)=(.*)")


def expand(words, depth=0):
    """Returns the words with those of files named by @FILE in their place."""
    out = []
    for word in words:
        if word.startswith("@") and os.path.isfile(word[1:]) and depth < 100:
            text = pathlib.Path(word[1:]).read_text(encoding="utf-8", errors="surrogateescape")
            out += expand(shlex.split(text), depth + 1)
        else:
            out.append(word)
    return out


class Option:
    """One option, or one input, with its value if that is a word of its own."""

    def __init__(self, name, words, is_input=False, language=None):
        self.name, self.words, self.is_input, self.language = name, words, is_input, language

    def value(self):
        return self.words[1] if len(self.words) > 1 else self.words[0][len(self.name):]


class Command:
    """A command line: its options and inputs in order, and vcc's own options."""

    def __init__(self, words):
        self.words = words  # as they were given
        self.options = []
        self.own = {}
        self.guest_sources = []
        language = None
        rest = iter(expand(words))
        for word in rest:
            own = OWN.fullmatch(word)
            if own and own[1] == "sources":
                self.guest_sources += own[2].split(",")
            elif own:
                self.own[own[1]] = own[2]
            elif word in SEPARATE:
                value = next(rest, None)
                self.options.append(Option(word, [word] + ([] if value is None else [value])))
                if word == "-x" and value:
                    language = None if value == "none" else value
            elif word == "-" or not word.startswith("-"):
                self.options.append(Option("", [word], True, language))
            else:
                name = next((name for name in ("-isystem", "-iquote", "-idirafter", "-include",
                                               "-imacros", "-MF", "-MT", "-MQ")
                             if word.startswith(name)), None)
                if name is None and re.match(r"-[oDUILlxB]", word):
                    name = word[:2]
                    if name == "-x":
                        language = None if word[2:] == "none" else word[2:]
                self.options.append(Option(name or word, [word]))
        if "m32" in self.own or self.has("-m32") or self.has("-mx32"):
            self.is_foreign = True
        else:
            self.is_foreign = False

    def has(self, name):
        return any(each.name == name for each in self.options)

    def value(self, name):
        """Returns the last value of an option, or None."""
        return next((each.value() for each in reversed(self.options) if each.name == name), None)

    def inputs(self):
        return [each for each in self.options if each.is_input]

    def sources(self):
        """Returns the inputs that are C."""
        return [each for each in self.inputs() if each.language == "c" or each.language is None
                and each.words[0].endswith(".c")]

    def stops(self):
        """Returns whether nothing is compiled or linked, only looked at."""
        return any(each.name in STOPS for each in self.options)

    def links(self):
        return not (self.stops() or self.has("-c") or self.has("-S"))

    def kept(self, *unwanted):
        """Returns the words of the options that none of the patterns match; no inputs, and not
        what is done with them."""
        out = []
        for each in self.options:
            if each.is_input or each.name in ("-c", "-S", "-o", "-x"):
                continue
            if not any(pattern.fullmatch(each.name) for pattern in unwanted):
                out += each.words
        return out

    def without_own(self):
        """Returns all words but vcc's own options."""
        return [word for word in self.words if not OWN.fullmatch(word)]


def parse_timeout(text):
    """Returns milliseconds; 0 stands for no limit."""
    found = re.fullmatch(r"(\d{1,9})(ms|s|m|)", text)
    if text == "none":
        return 0
    if not found or int(found[1]) == 0:
        raise Failure(f"timeout={text} is no time; write one such as 500ms, 60s or 5m, or none")
    return int(found[1]) * {"ms": 1, "s": 1000, "": 1000, "m": 60000}[found[2]]
