# Preprocessed C text: its tokens, where functions are defined in it, what stands in brackets.
# Must not know what the functions are for.
# SPDX-License-Identifier: MIT

import bisect
import re

TOKEN = re.compile(r"""
    (?P<marker>^[ \t]*\#[^\n]*)
  | (?P<string>(?:u8|[uUL])?"(?:\\.|[^"\\\n])*")
  | (?P<char>[uUL]?'(?:\\.|[^'\\\n])*')
  | (?P<name>[A-Za-z_$\x80-\U0010ffff][\w$]*)
  | (?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
  | (?P<comment>/\*.*?\*/|//[^\n]*)
  | (?P<mark><:|:>|<%|%>|->|\+\+|--|<<=|>>=|<<|>>|[-+*/%&|^<>=!]=|&&|\|\||[^\s\w])
""", re.VERBOSE | re.MULTILINE | re.DOTALL)
DIGRAPHS = {"<:": "[", ":>": "]", "<%": "{", "%>": "}"}
CLOSES = {"(": ")", "[": "]", "{": "}"}
LINE_MARKER = re.compile(r'^[ \t]*#(?: line)? *(\d+) *(?:"((?:\\.|[^"\\])*)")?(.*)$')


class Token:
    __slots__ = ("kind", "text", "start", "end")

    def __init__(self, kind, text, start, end):
        self.kind, self.text, self.start, self.end = kind, text, start, end


def tokens_of(text, start=0, end=None):
    """Returns the tokens of a text but for markers of lines and comments."""
    out = []
    for found in TOKEN.finditer(text, start, len(text) if end is None else end):
        if found.lastgroup not in ("marker", "comment"):
            word = found[0]
            out.append(Token(found.lastgroup, DIGRAPHS.get(word, word), found.start(), found.end()))
    return out


def closing(tokens, at):
    """Returns the index of what closes the bracket at an index."""
    stack = []
    for index in range(at, len(tokens)):
        word = tokens[index].text
        if tokens[index].kind != "mark":
            continue
        if word in CLOSES:
            stack.append(CLOSES[word])
        elif word in ")]}":
            if not stack or stack.pop() != word:
                return None
            if not stack:
                return index
    return None


class Definition:
    """Where a function is defined: offsets of its body, braces included, and its parameters."""

    def __init__(self, text, tokens, name, opened, closed, body, end):
        self.name = name
        self.start, self.end = tokens[body].start, tokens[end].end
        self.text = text
        self.parameters = tokens[opened + 1:closed]
        self.declarations = tokens[closed + 1:body]  # K&R's

    def brackets(self, parameter):
        """Returns the texts between the brackets behind the name of a parameter."""
        for tokens in (self.declarations, self.parameters):
            for at in range(len(tokens) - 1):
                if tokens[at].kind == "name" and tokens[at].text == parameter \
                        and tokens[at + 1].text == "[" and self.is_declared(tokens, at):
                    out, at = [], at + 1
                    while at < len(tokens) and tokens[at].text == "[":
                        end = closing(tokens, at)
                        out.append(self.text[tokens[at].end:tokens[end].start])
                        at = end + 1
                    return out
        return []

    @staticmethod
    def is_declared(tokens, at):
        """Returns whether the name at an index is a declarator: in no brackets, first of its part."""
        depth = 0
        for token in tokens[:at]:
            if token.kind == "mark":
                depth += (token.text in "([{") - (token.text in ")]}")
        return depth == 0


class Text:
    """A preprocessed text."""

    def __init__(self, content):
        self.content = content
        self.tokens = tokens_of(content)
        self.depth_zero = []  # indexes of tokens outside of all braces
        depth = 0
        for index, token in enumerate(self.tokens):
            if token.kind == "mark" and token.text == "}":
                depth -= 1
            if depth == 0:
                self.depth_zero.append(index)
            if token.kind == "mark" and token.text == "{":
                depth += 1

    def definitions(self, names):
        """Returns {name: Definition} of the functions defined."""
        found = {}
        for index in self.depth_zero:
            token = self.tokens[index]
            if token.kind == "name" and token.text in names and token.text not in found:
                made = self.definition(index)
                if made:
                    found[token.text] = made
        return found

    def definition(self, index):
        tokens = self.tokens
        at = index + 1
        while at < len(tokens) and tokens[at].text == ")":  # int (f)(int x)
            at += 1
        if at >= len(tokens) or tokens[at].text != "(":
            return None
        opened, closed = at, closing(tokens, at)
        if closed is None or at > index + 1 and tokens[index - 1].text != "(":
            return None
        at = closed + 1
        old_style = all(token.kind == "name" or token.text == ","
                        for token in tokens[opened + 1:closed])
        while at < len(tokens):
            word = tokens[at].text
            if word == "{":
                end = closing(tokens, at)
                return end and Definition(self.content, tokens, tokens[index].text, opened, closed,
                                          at, end)
            if word == "(" or word == "[":
                at = closing(tokens, at)
                if at is None:
                    return None
            elif word in ")]}=" or word in ",;" and (not old_style or at == closed + 1):
                return None
            at += 1
        return None


def kept_lines(text):
    """Returns as many ends of lines as a text has, and what its markers of lines say."""
    first, *rest = text.split("\n")
    return "".join("\n" + (line if LINE_MARKER.match(line) else "") for line in rest)


class Places:
    """Says which line of which file each place of a text comes from."""

    def __init__(self, content):
        self.starts, self.at = [0], [("", 1)]
        file, number, offset = "", 1, 0
        for line in content.split("\n"):
            found = LINE_MARKER.match(line)
            offset += len(line) + 1
            if found:
                number = int(found[1])
                file = found[2] if found[2] is not None else file
                self.starts.append(offset)
                self.at.append((file, number, offset))
        self.content = content

    def of(self, offset):
        index = bisect.bisect_right(self.starts, offset) - 1
        file, number = self.at[index][:2]
        return file, number + self.content.count("\n", self.starts[index], offset)
