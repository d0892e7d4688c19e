# What of a C type crosses: which of its bits are values, which values it can have, what cannot.
# Must not know parameters.
# SPDX-License-Identifier: MIT

from clang.cindex import CursorKind, TypeKind

INTEGERS = {TypeKind.CHAR_U, TypeKind.UCHAR, TypeKind.CHAR16, TypeKind.CHAR32, TypeKind.USHORT,
            TypeKind.UINT, TypeKind.ULONG, TypeKind.ULONGLONG, TypeKind.UINT128, TypeKind.CHAR_S,
            TypeKind.SCHAR, TypeKind.WCHAR, TypeKind.SHORT, TypeKind.INT, TypeKind.LONG,
            TypeKind.LONGLONG, TypeKind.INT128, TypeKind.BOOL, TypeKind.ENUM}
CHARACTERS = {TypeKind.CHAR_U, TypeKind.CHAR_S}
NUMBERS = INTEGERS | {TypeKind.FLOAT, TypeKind.DOUBLE, TypeKind.LONGDOUBLE, TypeKind.HALF,
                      TypeKind.FLOAT128, TypeKind.COMPLEX, TypeKind.VECTOR}
ARRAYS = {TypeKind.CONSTANTARRAY, TypeKind.VARIABLEARRAY, TypeKind.INCOMPLETEARRAY}
MOST_PADS = 4096
MOST_SIZE = 16 << 20
MOST_VALUE = 64 << 10  # of which the stack has more than one copy


class CannotCross(Exception):
    """Says why a type cannot cross."""


def plain(kind):
    return kind.get_canonical()


def fields_of(kind):
    return list(plain(kind).get_fields())


def check(kind, path=""):
    """Raises CannotCross if a type holds what means nothing in another memory."""
    kind = plain(kind)
    inside = f"its member '{path}' is " if path else "it is "
    if kind.kind in (TypeKind.POINTER, TypeKind.BLOCKPOINTER):
        pointee = plain(kind.get_pointee())
        what = "a function's address" if pointee.kind in (
            TypeKind.FUNCTIONPROTO, TypeKind.FUNCTIONNOPROTO) else "a pointer"
        raise CannotCross(f"{inside}{what}, which means nothing in the memory of a virtual machine")
    if kind.kind == TypeKind.CONSTANTARRAY:
        check(kind.element_type, f"{path}[]")
    elif kind.kind == TypeKind.RECORD:
        if kind.get_size() < 0:
            raise CannotCross(f"{inside}of a type that is not known here, such as FILE")
        if kind.get_size() > MOST_SIZE:
            raise CannotCross(f"{inside}larger than {MOST_SIZE >> 20} MiB")
        for field in fields_of(kind):
            name = field.spelling or "(unnamed)"
            check(field.type, f"{path}.{name}" if path else name)
    elif kind.kind in (TypeKind.INCOMPLETEARRAY, TypeKind.VARIABLEARRAY):
        raise CannotCross(f"{inside}an array whose size is not a part of its type")
    elif kind.kind not in NUMBERS:
        raise CannotCross(f"{inside}of the type '{kind.spelling}'")


def check_value(kind):
    """Raises CannotCross if a type cannot cross by value."""
    check(kind)
    if plain(kind).get_size() > MOST_VALUE:
        raise CannotCross(f"it is larger than {MOST_VALUE >> 10} KiB, for which stacks have no room; use a pointer")


def value_bits(kind):
    """Returns a byte for each byte of a type, with the bits set that are values."""
    kind = plain(kind)
    size = kind.get_size()
    if kind.kind == TypeKind.RECORD:
        bits = bytearray(size)
        for field in fields_of(kind):
            at = offset_of(kind, field)
            if field.is_bitfield():
                for bit in range(at, at + field.get_bitfield_width()):
                    bits[bit // 8] |= 1 << bit % 8
            else:
                for number, byte in enumerate(value_bits(field.type), at // 8):
                    bits[number] |= byte
        return bits
    if kind.kind == TypeKind.CONSTANTARRAY:
        return value_bits(kind.element_type) * kind.element_count
    if kind.kind == TypeKind.LONGDOUBLE:
        return bytearray(b"\xff" * 10 + bytes(size - 10))
    if kind.kind == TypeKind.COMPLEX and size == 32:
        return bytearray((b"\xff" * 10 + bytes(6)) * 2)
    return bytearray(b"\xff" * size)


def offset_of(kind, field):
    """Returns where a field is, in bits."""
    return field.get_field_offsetof()


def pads_of(kind, base=0):
    """Returns (offset, size, bits that are values) of the bytes of a type that have padding."""
    out = []
    bits = value_bits(kind)
    at = 0
    while at < len(bits):
        if bits[at] == 0xff:
            # Quickly over what has none.
            rest = bytes(bits[at:]).lstrip(b"\xff")
            at = len(bits) - len(rest)
            continue
        end = at
        while end < len(bits) and bits[end] == bits[at]:
            end += 1
        out.append((base + at, end - at, bits[at]))
        at = end
    if len(out) > MOST_PADS:
        raise CannotCross(f"it has padding at more than {MOST_PADS} places; order its members by size")
    return out


def enum_range(kind):
    """Returns the least and the largest value that an enum of C++ with these enumerators has."""
    values = [child.enum_value for child in kind.get_declaration().get_children()
              if child.kind == CursorKind.ENUM_CONSTANT_DECL]
    if not values:
        return None
    bits = max(value.bit_length() if value >= 0 else (-value - 1).bit_length() for value in values)
    least, most = (-(1 << bits), (1 << bits) - 1) if min(values) < 0 else (0, (1 << max(bits, 1)) - 1)
    return (least, most) if -(1 << 63) <= least and most < 1 << 63 else None


def values_of(kind, base=0):
    """Returns (offset, size, least, most) of the bools and enums of a type, but for those of
    bit-fields, which are made of what fits, and of unions, which may hold another member."""
    kind = plain(kind)
    if kind.kind == TypeKind.BOOL:
        return [(base, 1, 0, 1)]
    if kind.kind == TypeKind.ENUM:
        known = enum_range(kind)
        return [(base, kind.get_size(), *known)] if known else []
    out = []
    if kind.kind == TypeKind.CONSTANTARRAY:
        each = values_of(kind.element_type)
        size = plain(kind.element_type).get_size()
        if len(each) * kind.element_count > MOST_PADS:
            raise CannotCross(f"it has more than {MOST_PADS} members that are bools or enums")
        out = [(base + number * size + at, *rest) for number in range(kind.element_count if each else 0)
               for at, *rest in each]
    elif kind.kind == TypeKind.RECORD and kind.get_declaration().kind != CursorKind.UNION_DECL:
        for field in fields_of(kind):
            if not field.is_bitfield():
                out += values_of(field.type, base + offset_of(kind, field) // 8)
    return out


def named_offsets(kind, path=""):
    """Returns (path, offset) of the members that have names and addresses."""
    kind, out = plain(kind), []
    if kind.kind == TypeKind.RECORD:
        for field in fields_of(kind):
            if field.spelling and not field.is_bitfield():
                out.append((field.spelling, offset_of(kind, field) // 8))
    return out
