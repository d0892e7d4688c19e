# The marked functions of a preprocessed text, with what crosses of their parameters and what their
# bodies must not do; by libclang.
# Must not know how a call is made.
# SPDX-License-Identifier: MIT

import re

from virtine_cc.failure import Failure

from .command import parse_timeout
from .text import tokens_of


def import_clang():
    # Not at the top, so that a missing package is reported as every other failure is.
    try:
        from clang import cindex
    except ImportError as why:
        raise Failure("marked functions need libclang and its Python package, which were not found; "
                      "install them (Debian: apt install python3-clang-14)") from why
    return cindex


GRANTS = {"output": 1, "clock": 2, "entropy": 4, "permissive": 8}
COUNTED = re.compile(r"n|len|length|size|count|num|cnt|sz|n_?bytes|bytes|"
                     r"\w*(_len|_?length|_?size|_?count|_n|Len|_sz)|n_\w+|num_?\w+", re.ASCII)
WIDE = re.compile(r"[-+*/%()?:<>]|<<|>>|<=|>=|==|!=|&&|\|\|")


class Problem(Exception):
    """What is wrong with a place of the text: (offset or None, text)."""


class Parameter:
    """A parameter of a marked function and how it crosses.

    `kind` is "value", "elements" or "text". Of elements, `counts` are the texts of their sizes in
    each dimension (none: one object) and `element` is their type."""

    def __init__(self, cursor):
        self.cursor, self.name, self.type = cursor, cursor.spelling, cursor.type
        self.kind, self.counts, self.element, self.is_output = "value", [], None, False
        self.marks = []  # what virtine_size and virtine_string say of it


class Function:
    def __init__(self, cursor, config):
        self.cursor, self.name, self.config = cursor, cursor.spelling, config
        self.parameters = []
        self.grants, self.timeout = 0, None


def annotations(cursor, cindex):
    return [child.spelling for child in cursor.get_children()
            if child.kind == cindex.CursorKind.ANNOTATE_ATTR]


class Unit:
    """A text as libclang understands it."""

    def __init__(self, path, text, arguments):
        self.cindex = cindex = import_clang()
        from . import crossing
        self.crossing = crossing
        try:
            index = cindex.Index.create()
        except cindex.LibclangError as why:
            raise Failure("libclang, of which the Python package clang is, was not found (Debian: apt "
                          f"install python3-clang-14): {str(why).splitlines()[0]}") from why
        self.text = text
        self.unit = index.parse(str(path), arguments)
        self.problems = []   # (cursor, text)
        self.warnings = []
        wrong = [each for each in self.unit.diagnostics if each.severity >= each.Error]
        if wrong:
            self.refuse(wrong[0], "this file has marked functions, and clang, which compiles them, "
                        f"does not take it: {wrong[0].spelling}")
        self.bodies, self.declared = {}, {}
        for cursor in self.unit.cursor.get_children():
            if cursor.kind == cindex.CursorKind.FUNCTION_DECL:
                self.declared.setdefault(cursor.spelling, []).append(cursor)
                if cursor.is_definition():
                    self.bodies[cursor.spelling] = cursor

    def refuse(self, at, text):
        location = at.location
        self.problems.append((location.offset, text))

    def warn(self, at, text):
        self.warnings.append((at.location.offset, text))

    def marked(self):
        """Returns the Functions that are marked and defined here."""
        found = []
        for name, declarations in self.declared.items():
            marks = [(each, text) for each in declarations
                     for text in annotations(each, self.cindex) if text.startswith("virtine:")]
            if not marks:
                continue
            configs = {text[8:].strip() for _, text in marks} - {""}
            if len(configs) > 1:
                self.refuse(marks[-1][0], f"'{name}' is declared with different configurations, "
                            f"{' and '.join(sorted(configs))}; write one")
            if name == "main":
                self.refuse(marks[0][0], "main() cannot be marked: a program begins outside of virtual "
                            "machines; mark a function that it calls")
            elif name in self.bodies:
                found.append(self.function(self.bodies[name], declarations,
                                           configs.pop() if configs else ""))
        # What is declared within functions, or is no function.
        for cursor in self.unit.cursor.get_children():
            if cursor.kind != self.cindex.CursorKind.FUNCTION_DECL and any(
                    text.startswith("virtine:") for text in annotations(cursor, self.cindex)):
                self.refuse(cursor, f"'{cursor.spelling}' is marked and is no function; virtine marks "
                            "functions, and virtine_private variables")
        return found

    def function(self, cursor, declarations, config):
        function = Function(cursor, config)
        try:
            self.configure(function)
        except Failure as why:
            self.refuse(cursor, str(why))
        kinds = self.cindex.TypeKind
        if cursor.type.kind == kinds.FUNCTIONPROTO and cursor.type.is_function_variadic():
            self.refuse(cursor, f"'{cursor.spelling}' takes a variable number of arguments, whose types "
                        "nobody knows; give it an array")
        result = self.crossing.plain(cursor.result_type)
        if result.kind != kinds.VOID:
            try:
                self.crossing.check_value(result)
                self.crossing.pads_of(result)
                self.crossing.values_of(result)
            except self.crossing.CannotCross as why:
                self.refuse(cursor, f"the result of '{cursor.spelling}' cannot cross: {why}; return a "
                            "value, or write the result to an array that the caller gives")
        for argument in cursor.get_arguments():
            function.parameters.append(self.parameter(argument, function))
        return function

    def configure(self, function):
        for word in filter(None, (part.strip() for part in function.config.split(","))):
            name, _, value = (part.strip() for part in word.partition("="))
            if name in GRANTS and not value:
                function.grants |= GRANTS[name]
            elif name == "timeout":
                function.timeout = parse_timeout(value)
            else:
                raise Failure(f"virtine_config({word}) is unknown; there are output, clock, entropy "
                              "and timeout=60s")

    def parameter(self, cursor, function):
        parameter = Parameter(cursor)
        if not cursor.spelling:
            self.refuse(cursor, f"a parameter of '{function.name}' has no name; give it one")
        elif cursor.spelling == function.name:
            self.refuse(cursor, f"the parameter '{cursor.spelling}' has the name of its function; "
                        "rename it")
        return parameter

    def cross(self, function, definition, declarations):
        """Finds out how the parameters of a function cross, by the text of its definition."""
        names = [each.name for each in function.parameters]
        for number, parameter in enumerate(function.parameters):
            others = []
            parameter.marks = []
            for each in declarations:
                arguments = list(each.get_arguments())
                if number < len(arguments):
                    others.append(arguments[number])
                    # A header's say for the definition, if they mean the same parameters there.
                    if [other.spelling for other in arguments] == names:
                        parameter.marks += annotations(arguments[number], self.cindex)
            try:
                self.cross_one(parameter, definition, others)
            except self.crossing.CannotCross as why:
                self.refuse(parameter.cursor, f"'{parameter.name}' cannot cross: {why}")
                parameter.kind = None

    def cross_one(self, parameter, definition, others):
        cannot, kinds, plain = self.crossing.CannotCross, self.cindex.TypeKind, self.crossing.plain
        marks = parameter.marks
        size = next((text[13:] for text in marks if text.startswith("virtine_size:")), None)
        is_string = "virtine_string" in marks
        kind = parameter.type
        brackets = definition.brackets(parameter.name)
        is_array = kind.kind in self.crossing.ARRAYS or plain(kind).kind in self.crossing.ARRAYS
        if not is_array and plain(kind).kind != kinds.POINTER:
            if size is not None or is_string:
                raise cannot("virtine_size and virtine_string are for pointers")
            self.crossing.check_value(kind)
            self.crossing.pads_of(kind)
            return
        element = plain(kind)
        element = element.element_type if element.kind in self.crossing.ARRAYS else element.get_pointee()
        if plain(element).kind in (kinds.FUNCTIONPROTO, kinds.FUNCTIONNOPROTO):
            raise cannot("it is a function's address, which means nothing in the memory of a virtual "
                         "machine; have the marked function return what is to be done, and do it "
                         "outside")
        counts = [re.sub(r"^(\s*(static|const|restrict|volatile|_Atomic|__restrict(__)?|__const)\b)+",
                         "", text).strip() for text in brackets]
        if size is not None:
            counts = [size] + counts[1:] if counts else [size]
        # What brackets do not say, a typedef does.
        inner = element
        for _ in counts[1:]:
            inner = plain(inner)
            inner = inner.element_type if inner.kind in self.crossing.ARRAYS else inner
        if not counts and is_array:
            own = kind if kind.kind in self.crossing.ARRAYS else plain(kind)
            if own.kind != kinds.CONSTANTARRAY:
                raise cannot(f"the size of the array is not understood; write {parameter.name}[n]")
            counts = [str(own.element_count)]
        while plain(inner).kind == kinds.CONSTANTARRAY:
            counts.append(str(plain(inner).element_count)) if counts else counts.extend(
                ["1", str(plain(inner).element_count)])
            inner = plain(inner).element_type
        if plain(inner).kind in self.crossing.ARRAYS:
            raise cannot(f"the size of the array is not understood; write {parameter.name}[n][m]")
        for text in counts:
            if text in ("", "*"):
                raise cannot(f"its size is not said; write {parameter.name}[n], or "
                             "virtine_size(n) behind the name if n comes later")
            if re.search(rf"\bsizeof\s*(\(\s*{parameter.name}\s*\)|{parameter.name}\b(?!\s*(\[|->|\()))", text):
                raise cannot(f"its size, {text}, has that of the pointer in it")
            if re.search(r"\+\+|--|(?<![=!<>])=(?!=)", text):
                raise cannot(f"its size, {text}, changes something; write one that does not")
        is_const = inner.is_const_qualified() or plain(inner).is_const_qualified()
        inner = plain(inner)
        if is_string or (not counts and inner.kind in self.crossing.CHARACTERS and is_const):
            if is_string and (counts or inner.kind not in self.crossing.CHARACTERS or not is_const):
                raise cannot("virtine_string is for const char * without a size")
            self.check_text(parameter, is_string)
            parameter.kind = "text"
            return
        if inner.kind == kinds.VOID:
            if size is None:
                raise cannot("void * says neither how much it points to nor what; write "
                             "virtine_size(bytes) behind its name, or give it a type")
        elif inner.kind in self.crossing.CHARACTERS and not counts:
            raise cannot(f"char * does not say how much it points to; write {parameter.name}[n], "
                         "virtine_size(n) behind its name, or const char * for a text that is only "
                         "read")
        elif inner.kind == kinds.POINTER:
            raise cannot("it points to pointers, which mean nothing in the memory of a virtual machine; "
                         "give one array of all the data, and offsets into it")
        else:
            self.crossing.check(inner)
            self.crossing.pads_of(inner)
            self.crossing.values_of(inner)
        if inner.kind != kinds.VOID and inner.get_align() > 4096:
            raise cannot("it is aligned to more than 4096 bytes")
        parameter.kind, parameter.counts, parameter.element = "elements", counts, inner
        parameter.is_output = not is_const
        self.compare(parameter, others, bool(brackets) or size is not None or is_array)
        if not counts:
            Pointer(self, parameter).check()

    def compare(self, parameter, others, is_sized):
        """A size that another declaration gives and this one does not is one that callers see."""
        for other in others:
            sized = other.type.kind in (self.cindex.TypeKind.VARIABLEARRAY,
                                        self.cindex.TypeKind.CONSTANTARRAY) or any(
                text.startswith("virtine_size:") for text in annotations(other, self.cindex))
            if sized and not is_sized and not parameter.counts:
                raise self.crossing.CannotCross("another declaration gives it a size, and the definition "
                                             "does not; write the size in both")

    def check_text(self, parameter, is_string):
        """A const char * with a length behind it is mostly no text with a zero byte at its end."""
        if is_string:
            return
        arguments = list(parameter.cursor.semantic_parent.get_arguments())
        at = next((i for i, each in enumerate(arguments) if each == parameter.cursor), None)
        for each in arguments if at is not None else ():
            if self.crossing.plain(each.type).kind in self.crossing.INTEGERS and COUNTED.fullmatch(
                    each.spelling) and not any(re.search(rf"\b{each.spelling}\b", self.text_of(other))
                                               for other in arguments if other != each):
                raise self.crossing.CannotCross(
                    f"it can be a text that ends with a zero byte, or as long as '{each.spelling}' says; "
                    f"write virtine_string or virtine_size({each.spelling}) behind its name")

    def text_of(self, cursor):
        return self.text[cursor.extent.start.offset:cursor.extent.end.offset].strip()

    def operator_of(self, parent, children):
        """Returns the operator between the two parts of an expression."""
        between = self.text[children[0].extent.end.offset:children[1].extent.start.offset]
        found = re.search(r"[-+*/%&|^<>=!]+", re.sub(r"^[\s)]*|[\s(]*$", "", between))
        return found[0] if found else ""

    # What bodies use.

    def reachable(self, names):
        """Yields the cursors within functions `names` and all that these can call here."""
        seen, pending = set(), [self.bodies[name] for name in names if name in self.bodies]
        kinds = self.cindex.CursorKind
        while pending:
            owner = pending.pop()
            key = owner.get_usr() + str(owner.location.offset)
            if key in seen:
                continue
            seen.add(key)
            for cursor in owner.walk_preorder():
                yield owner, cursor
                if cursor.kind == kinds.DECL_REF_EXPR and cursor.referenced is not None:
                    other = cursor.referenced
                    if other.kind == kinds.FUNCTION_DECL and other.spelling in self.bodies:
                        pending.append(self.bodies[other.spelling])
                    elif other.kind == kinds.VAR_DECL:
                        # Tables of functions.
                        definition = other.get_definition() or other
                        if definition.semantic_parent.kind == kinds.TRANSLATION_UNIT:
                            pending.append(definition)

    def private(self):
        """Returns the names of the variables of which each call has its own."""
        return sorted({each.spelling for each in self.unit.cursor.get_children()
                       if each.kind == self.cindex.CursorKind.VAR_DECL
                       and "virtine_private" in annotations(each, self.cindex)})

    def is_systems(self, location):
        return bool(self.cindex.conf.lib.clang_Location_isInSystemHeader(location))

    def check_variables(self, names):
        """Refuses variables that outlive calls, which host and guest would each have one of."""
        kinds = self.cindex.CursorKind
        told = set()
        for owner, cursor in self.reachable(names):
            other = None
            if cursor.kind == kinds.DECL_REF_EXPR and cursor.referenced is not None:
                other = cursor.referenced
            elif cursor.kind == kinds.VAR_DECL:
                other = cursor
            if other is None or other.kind != kinds.VAR_DECL or other.location.offset in told:
                continue
            is_global = other.semantic_parent.kind == kinds.TRANSLATION_UNIT
            storage = self.cindex.StorageClass
            if not is_global and other.storage_class != storage.STATIC:
                continue
            kind = other.type
            while kind.kind in self.crossing.ARRAYS:
                kind = kind.element_type
            if kind.is_const_qualified() or self.crossing.plain(kind).is_const_qualified():
                continue
            if self.is_systems(other.location) or any(
                    "virtine_private" in annotations(each, self.cindex)
                    for each in (other, other.canonical, other.get_definition() or other)):
                continue
            told.add(other.location.offset)
            self.refuse(cursor, f"'{other.spelling}' is a variable that outlives calls: the program and "
                        "each call have one of their own, with the value that it is declared with. "
                        "Make it const, give it as an argument, or mark it virtine_private if each call "
                        "is to have its own")


class Pointer:
    """What a body does with a parameter that points to one object: nothing that needs more. Nor with a
    pointer to a member of it, which is one object, too."""

    def __init__(self, unit, parameter):
        self.unit, self.parameter = unit, parameter
        self.kinds = unit.cindex.CursorKind
        self.size = self.size_of(parameter.element)
        self.member = None  # the one that is pointed to
        self.seen = set()

    def size_of(self, kind):
        return max(self.unit.crossing.plain(kind).get_size(), 1)

    def check(self):
        function = self.parameter.cursor.semantic_parent
        self.follow(function, self.parameter.cursor)

    def follow(self, function, variable):
        """Looks at what a function does with a variable that points there."""
        key = (function.get_usr(), variable.location.offset, self.member, self.size)
        if key in self.seen:
            return
        self.seen.add(key)
        parents = {}
        for cursor in function.walk_preorder():
            for child in cursor.get_children():
                parents[child.hash] = cursor
        for cursor in function.walk_preorder():
            if cursor.kind == self.kinds.DECL_REF_EXPR and cursor.referenced == variable:
                self.use(function, cursor, parents)

    def complain(self, at, how):
        parameter = self.parameter
        if self.member:
            self.unit.refuse(at, f"'{parameter.name}' points to one object, this pointer to no more of it than the "
                             f"member '{self.member}', and this {how}; make the member an array, or say how many "
                             f"objects there are: {parameter.name}[n] in the parameter list")
            return
        self.unit.refuse(at, f"'{parameter.name}' points to one object, and this {how}; say how many "
                         f"there are: {parameter.name}[n] in the parameter list, or virtine_size(n) "
                         "behind its name if n comes later")

    def suspect(self, at, text):
        # That a member's address is handed on is too common to be told.
        if not self.member:
            self.unit.warn(at, f"'{self.parameter.name}' points to one object{text}")

    def address(self, function, element, cursor, parents):
        """Follows the pointer that &v[0], &*v, &v->member and v->array are."""
        whole = self.size, self.member
        parent = parents.get(element.hash)
        while parent is not None and parent.kind in (self.kinds.PAREN_EXPR, self.kinds.MEMBER_REF_EXPR):
            if parent.kind == self.kinds.MEMBER_REF_EXPR:
                self.size, self.member = self.size_of(parent.type), parent.spelling
            parent = parents.get(parent.hash)
        if parent is not None and parent.kind == self.kinds.UNARY_OPERATOR \
                and self.unit.text_of(parent).startswith("&"):
            self.use(function, cursor, parents, parent)
        self.size, self.member = whole

    def use(self, function, cursor, parents, pointer=None):
        """Looks at what is done with a reference to the parameter, or with a pointer made of it."""
        kinds = self.kinds
        child = pointer or cursor
        parent = parents.get(child.hash)
        while parent is not None and parent.kind in (kinds.UNEXPOSED_EXPR, kinds.PAREN_EXPR,
                                                     kinds.CSTYLE_CAST_EXPR, kinds.CONDITIONAL_OPERATOR):
            if parent.kind == kinds.CONDITIONAL_OPERATOR and next(parent.get_children()) == child:
                return
            child, parent = parent, parents.get(parent.hash)
        if parent is None:
            return
        children = list(parent.get_children())
        words = [token.text for token in tokens_of(
            self.unit.text, parent.extent.start.offset, parent.extent.end.offset)] \
            if parent.kind in (kinds.UNARY_OPERATOR, kinds.BINARY_OPERATOR) else []
        if parent.kind == kinds.ARRAY_SUBSCRIPT_EXPR and children and children[0] == child:
            index = self.unit.text_of(children[1])
            number = re.fullmatch(r"(\d+)[uUlL]*", index)
            if not number or (int(number[1]) + 1) * self.size_of(parent.type) > self.size:
                self.complain(cursor, f"is element [{index}]")
            else:
                self.address(function, parent, cursor, parents)
        elif parent.kind == kinds.ARRAY_SUBSCRIPT_EXPR and len(children) > 1 and children[1] == child:
            self.complain(cursor, f"is element [{self.unit.text_of(children[0])}]")
        elif parent.kind == kinds.MEMBER_REF_EXPR:
            self.address(function, child, cursor, parents)
        elif parent.kind == kinds.UNARY_OPERATOR:
            if words[0] in ("++", "--") or words[-1] in ("++", "--"):
                self.complain(cursor, "moves it")
            elif words[0] == "&":
                self.complain(cursor, "takes its own address")
            else:
                self.address(function, parent, cursor, parents)
        elif parent.kind == kinds.COMPOUND_ASSIGNMENT_OPERATOR:
            self.complain(cursor, "moves it")
        elif parent.kind == kinds.BINARY_OPERATOR:
            operator = self.unit.operator_of(parent, children)
            if operator in ("+", "-"):
                self.complain(cursor, "computes with it")
            elif operator == "=" and children[1] == child:
                self.assigned(function, children[0])
        elif parent.kind == kinds.VAR_DECL:
            self.follow(function, parent)
        elif parent.kind == kinds.CALL_EXPR:
            self.passed(parent, child, cursor)
        elif parent.kind in (kinds.INIT_LIST_EXPR, kinds.RETURN_STMT):
            self.suspect(cursor, " here; where this pointer goes, more of it would not be what the caller has")

    def assigned(self, function, target):
        while target.kind in (self.kinds.UNEXPOSED_EXPR, self.kinds.PAREN_EXPR):
            target = next(target.get_children())
        if target.kind == self.kinds.DECL_REF_EXPR and target.referenced is not None:
            self.follow(function, target.referenced)
        else:
            self.suspect(target, " here; where this pointer goes, more of it would not be what the caller has")

    def passed(self, call, child, cursor):
        arguments = list(call.get_arguments())
        number = next((i for i, each in enumerate(arguments) if each == child), None)
        if number is None:
            number = next((i for i, each in enumerate(arguments)
                           if each.extent == child.extent), None)
        callee = self.unit.bodies.get(call.spelling)
        if callee is not None and number is not None:
            theirs = list(callee.get_arguments())
            if number < len(theirs):
                self.follow(callee, theirs[number])
                return
        sized = [self.unit.text_of(each) for each in arguments]
        if any(re.search(r"\bsizeof\b", text) for text in sized):
            return
        self.suspect(cursor, f", which is all that {call.spelling or 'this function'}() gets; if it uses more, say "
                     f"how many there are: {self.parameter.name}[n]")
