# The host's half of a compilation: the user's text with calls for the bodies of marked functions,
# and the tables behind it.
# Must not know how the image was made.
# SPDX-License-Identifier: MIT

import re

from virtine_cc.literals import literal

from .text import kept_lines, tokens_of

OPERATORS = set("+ - * / % ( ) << >> < > <= >= == != ? : & | ^ ~ && || !".split())


def c_text(text):
    return literal(text.encode("utf-8", "surrogateescape"))


def declarations(tables):
    """Returns the declarations of tables.h on one line."""
    text = re.sub(r"(?s)/\*.*?\*/", " ", tables)
    return " ".join(text.split())


class Layout:
    """Where the parts of a function's frame are."""

    def __init__(self, function, crossing):
        self.offsets, at = [], 0
        result = function.cursor.result_type
        plain = crossing.plain
        self.result_size = max(plain(result).get_size(), 0)
        if plain(result).kind.name == "VOID":
            self.result_size = 0
        at = self.result_size
        self.alignment = max(plain(result).get_align(), 1) if self.result_size else 1
        self.pads = []
        for parameter in function.parameters:
            if parameter.kind == "value":
                kind = plain(parameter.type)
                size, align = kind.get_size(), max(kind.get_align(), 1)
            else:
                size = align = 8
            at = (at + align - 1) // align * align
            self.offsets.append(at)
            if parameter.kind == "value":
                self.pads += crossing.pads_of(kind, at)
            at += size
            self.alignment = max(self.alignment, align)
        self.size = max((at + self.alignment - 1) // self.alignment * self.alignment, 8)
        self.values = crossing.values_of(result) if self.result_size else []


def widened(text, integers):
    """Returns the text of a size such that its arithmetic cannot overflow, if it is but arithmetic of
    parameters."""
    tokens = tokens_of(text)
    simple = all(token.kind == "number" or token.kind == "name" and token.text in integers
                 or token.text in OPERATORS for token in tokens)
    # No addresses, casts or sizes, whose meaning would be another.
    if not simple or any(token.text == "&" and (at == 0 or tokens[at - 1].text in OPERATORS - {")"})
                         for at, token in enumerate(tokens)):
        return text
    out, end = [], 0
    for token in tokens:
        out.append(text[end:token.start])
        out.append(f"((__int128){token.text})" if token.kind == "name" else token.text)
        end = token.end
    return "".join(out) + text[end:]


class HostHalf:
    def __init__(self, functions, definitions, crossing, tables, own):
        self.functions, self.definitions, self.crossing = functions, definitions, crossing
        self.own, self.tables = own, tables
        self.types, self.extra = {}, []

    def type_name(self, kind):
        """Returns the name of the table of a type, which the text gets."""
        crossing = self.crossing
        kind = crossing.plain(kind)
        if kind.kind.name == "VOID":
            facts = (1, 1, (), ())
        else:
            facts = (kind.get_size(), max(kind.get_align(), 1), tuple(crossing.pads_of(kind)),
                     tuple(crossing.values_of(kind)))
        return self.table(facts)

    def table(self, facts):
        if facts not in self.types:
            self.types[facts] = f"virtine_c_type_{len(self.types)}"
        return self.types[facts]

    def initialiser(self, facts, name):
        """Returns the initialiser of a virtine_c_type, and adds the lists that it names."""
        size, alignment, pads, values = facts
        parts = [f"{size}UL", f"{alignment}UL"]
        for kind, entries in (("pad", pads), ("value", values)):
            if entries:
                # -2^63 cannot be written as a constant.
                rows = ", ".join("{" + ", ".join(
                    f"(-{-number - 1}LL - 1)" if number < 0 else f"{number}" for number in row) + "}"
                    for row in entries)
                self.extra.append(f"static const struct virtine_c_{kind} {name}_{kind}s[] = {{{rows}}};")
                parts += [f"{name}_{kind}s", f"{len(entries)}UL"]
            else:
                parts += ["0", "0"]
        return "{" + ", ".join(parts) + "}"

    def body(self, number, function):
        """Returns what the body of a function becomes."""
        crossing, layout = self.crossing, Layout(function, self.crossing)
        integers = {each.name for each in function.parameters
                    if each.kind == "value" and crossing.plain(each.type).kind in crossing.INTEGERS}
        out = [f"unsigned char __virtine_f[{layout.size}] "
               f"__attribute__((aligned({max(layout.alignment, 16)})));",
               f"__builtin_memset(__virtine_f, 0, {layout.size});"]
        asserts, refs = [], []
        for parameter, at in zip(function.parameters, layout.offsets):
            name = parameter.name
            if parameter.kind == "value":
                out.append(f"{{ __typeof__((0, {name})) __virtine_v = {name}; "
                           f"__builtin_memcpy(__virtine_f + {at}, &__virtine_v, sizeof __virtine_v); }}")
                asserts += self.asserts(name, parameter.type)
                continue
            counts, length, kind = "0", 0, "&" + self.table((1, 1, (), ()))  # of a text
            if parameter.kind == "elements":
                kind = "&" + self.type_name(parameter.element)
                length = len(parameter.counts)
                if length:
                    counts = f"__virtine_n{len(refs)}"
                    values = ", ".join(
                        f"({{ __int128 __virtine_v = ({widened(text, integers)}); "
                        "__virtine_v < 0 ? -1LL : __virtine_v > 9223372036854775807LL ? "
                        "9223372036854775807LL : (long long)__virtine_v; })" for text in parameter.counts)
                    out.append(f"long long {counts}[] = {{{values}}};")
                if crossing.plain(parameter.element).kind.name != "VOID":
                    asserts += self.asserts("*" * max(length, 1) + name, parameter.element)
            rights = 3 if parameter.kind == "text" else 2 if parameter.is_output else 1
            refs.append(f"{{{c_text(name)}, (void *){name}, {kind}, {counts}, {length}, {at}, {rights}}}")
        if refs:
            out.append(f"struct virtine_c_ref __virtine_r[] = {{{', '.join(refs)}}};")
        out.append(f"virtine_c_call(&virtine_c_fn_{number}, __virtine_f, "
                   f"{'__virtine_r' if refs else '0'}, {len(refs)});")
        if layout.result_size:
            call = f"{function.name}({', '.join(each.name for each in function.parameters)})"
            asserts.append(f"sizeof({call}) == {layout.result_size}")
            out.append(f"{{ __typeof__((0, {call})) __virtine_v; __builtin_memcpy(&__virtine_v, "
                       f"__virtine_f, sizeof __virtine_v); return __virtine_v; }}")
        elif self.never_returns(function):
            out.append("__builtin_trap();")
        checks = [f'__extension__ _Static_assert({each}, "virtine: this type is laid out otherwise for '
                  'the virtual machine than for the program");' for each in asserts]
        return "{ __extension__ " + " ".join([out[0], *checks, *out[1:]]) + " }"

    @staticmethod
    def never_returns(function):
        return any(token.spelling in ("_Noreturn", "noreturn", "__noreturn__")
                   for token in function.cursor.get_tokens())

    def asserts(self, expression, kind):
        """Returns what must hold for the host's compiler to lay out a type as the guest's does."""
        yield f"sizeof({expression}) == {self.crossing.plain(kind).get_size()}"
        for name, offset in self.crossing.named_offsets(kind):
            yield f"__builtin_offsetof(__typeof__({expression}), {name}) == {offset}"

    def text(self, content, image, places, timeout):
        """Returns the user's text with calls for bodies, and the tables. `image` is an image file, or the
        name of what the linker gets for it."""
        before = [declarations(self.tables), "static struct virtine_c_image virtine_c_image_of_this;"]
        pieces, end = [], 0
        tables = []
        found = sorted(enumerate(self.functions), key=lambda each: self.definitions[each[1].name].start)
        for number, function in found:
            definition = self.definitions[function.name]
            pieces += [content[end:definition.start], self.body(number, function),
                       kept_lines(content[definition.start:definition.end])]
            end = definition.end
            before.append(f"static const struct virtine_c_function virtine_c_fn_{number};")
            file, line = places.of(definition.start)
            layout = Layout(function, self.crossing)
            frame = self.initialiser((layout.size, layout.alignment, tuple(layout.pads),
                                      tuple(layout.values)), f"virtine_c_frame_{number}")
            limit = timeout if function.timeout is None else function.timeout
            tables.append(
                f"static const struct virtine_c_function virtine_c_fn_{number} = "
                f'{{{c_text(function.name)}, "{file}", {line}, {number}, {function.grants}, 0, '
                f"{limit}ULL, &virtine_c_image_of_this, {frame}}};")
        pieces.append(content[end:])
        types = []
        for facts, name in self.types.items():
            before.append(f"static const struct virtine_c_type {name};")
            types.append(f"static const struct virtine_c_type {name} = {self.initialiser(facts, name)};")
        tables = [*self.extra, *types, *tables]
        if isinstance(image, str):
            name, size = image, 0
            before.append(f'extern const char {name}[] __attribute__((visibility("hidden")));')
        else:
            name, size = "virtine_c_bytes", len(image)
            tables += [f"static const char {name}[{size}] __attribute__((aligned(8))) =",
                       *(literal(image[at:at + 4096]) for at in range(0, size, 4096)), ";"]
        tables.append("static struct virtine_c_image virtine_c_image_of_this = "
                      f"{{virtine_c_version, {name}, {size}UL, 0}};")
        text = "".join(pieces)
        # Behind the first marker, which compilers take the name of the file from.
        first, rest = text.split("\n", 1)
        return (f"{first}\n__extension__ {' '.join(before)}\n{rest}\n# 1 \"<virtine>\"\n"
                + "\n".join(tables) + "\n")
