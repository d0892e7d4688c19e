"""Functions of image files, each call in a virtual machine of its own.

    import virtine
    plugin = virtine.load("plugin.virtine")
    plugin.square(3)                            # 9
    plugin.scale(array.array("d", [1, 2]), 2)   # a span that is written to: any writable buffer

What a call fails with is a virtine.Error, whose `name` is the code ("guest_fault"). Arguments are
ints, floats, bools, str (for texts), buffers (bytes, bytearray, array.array, numpy arrays: the
elements of a span as they lie in memory, without a copy; a buffer of other numbers than the span's
is a TypeError, and bytes are taken for any), lists and tuples (of the parts of a tuple,
or a span's elements) and None (an optional without a value). It needs the library libvirtine,
whose path VIRTINE_LIBRARY can name.
"""
# SPDX-License-Identifier: MIT

import ctypes
import ctypes.util
import itertools
import numbers
import os
import re
import threading

__all__ = ["Error", "Function", "Image", "Policy", "load"]

_NONE, _BOOL, _INT, _UINT, _DOUBLE, _TEXT, _BYTES, _BUFFER, _LIST = range(9)


class _Block(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class _As(ctypes.Union):
    _fields_ = [("boolean", ctypes.c_uint8), ("integer", ctypes.c_int64), ("natural", ctypes.c_uint64),
                ("floating", ctypes.c_double), ("block", _Block)]


class _Value(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_uint32), ("owned", ctypes.c_uint32), ("held", _As)]


class _Error(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("code", ctypes.c_int32), ("os_error", ctypes.c_int32),
                ("detail", ctypes.c_uint64), ("fault_instruction", ctypes.c_uint64),
                ("fault_address", ctypes.c_uint64), ("text", ctypes.c_char * 512)]


def _options(name, *members):
    return type(name, (ctypes.Structure,), {
        "_fields_": [("size", ctypes.c_size_t), *((member, ctypes.c_uint64) for member in members)]})


_LoadOptions = _options("_LoadOptions", "max_memory", "max_stack", "max_arguments", "max_symbols",
                        "initialiser_timeout")
_FunctionOptions = _options("_FunctionOptions", "max_machines", "warm")
_CallOptions = _options("_CallOptions", "timeout", "hypercalls", "stop_if")


class _Export(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("name", ctypes.c_char_p),
                ("signature", ctypes.c_char_p)]


_Handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Value), ctypes.c_size_t,
                            ctypes.POINTER(_Value))
_Output = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def _open_library():
    path = os.environ.get("VIRTINE_LIBRARY") or ctypes.util.find_library("virtine")
    if not path:
        raise ImportError("libvirtine is not installed; name its file by VIRTINE_LIBRARY")
    library = ctypes.CDLL(path)
    handle, error = ctypes.c_void_p, ctypes.POINTER(_Error)
    text, size, number = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64
    out = ctypes.POINTER(handle)
    types = {
        "code_name": ([ctypes.c_int], text),
        "value_clear": ([ctypes.POINTER(_Value)], None),
        "load": ([text, ctypes.POINTER(_LoadOptions), out, error], ctypes.c_int),
        "load_bytes": ([text, size, ctypes.POINTER(_LoadOptions), out, error], ctypes.c_int),
        "image_free": ([handle], None),
        "export_count": ([handle], size),
        "export_at": ([handle, size, ctypes.POINTER(_Export), error], ctypes.c_int),
        "signature_as_cpp": ([text, text, size], size),
        "policy_create": ([out, error], ctypes.c_int),
        "policy_free": ([handle], None),
        "policy_add_output": ([handle, _Output, handle, number, error], ctypes.c_int),
        "policy_add_directory": ([handle, text, text, number, error], ctypes.c_int),
        "policy_add_clock": ([handle, error], ctypes.c_int),
        "policy_add_entropy": ([handle, error], ctypes.c_int),
        "policy_add_environment": ([handle, ctypes.POINTER(text), size, error], ctypes.c_int),
        "policy_add_others_fail": ([handle, error], ctypes.c_int),
        "policy_add_hypercall": ([handle, ctypes.c_uint32, text, _Handler, handle, error],
                                 ctypes.c_int),
        "function_create": ([handle, text, handle, ctypes.POINTER(_FunctionOptions), out, error],
                            ctypes.c_int),
        "function_free": ([handle], None),
        "call": ([handle, ctypes.POINTER(_Value), size, ctypes.POINTER(_Value),
                  ctypes.POINTER(_CallOptions), error], ctypes.c_int),
    }
    for name, (arguments, result) in types.items():
        function = getattr(library, "virtine_" + name)
        function.argtypes, function.restype = arguments, result
    return library


_library = _open_library()


class Error(Exception):
    """A call, or what comes before one, has failed."""

    def __init__(self, told):
        super().__init__(told.text.decode(errors="replace"))
        self.code = told.code
        self.name = _library.virtine_code_name(told.code).decode()
        self.os_error = told.os_error
        self.detail = told.detail
        self.fault_instruction = told.fault_instruction
        self.fault_address = told.fault_address


def _do(name, *arguments):
    """Calls a function of the library that can fail."""
    error = _Error(size=ctypes.sizeof(_Error))
    if getattr(_library, "virtine_" + name)(*arguments, ctypes.byref(error)):
        raise Error(error)


def _make(name, *arguments):
    """Calls one that makes a handle."""
    made = ctypes.c_void_p()
    _do(name, *arguments, ctypes.byref(made))
    return made


def _bytes(text):
    """Returns a text as C has it: a zero byte in the middle would end it."""
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError("there is a zero byte in the text")
    return encoded


def _span_elements(signature):
    """Returns for each parameter its id's kind and size in bytes, if it is a span of numbers."""
    parameters, depth = [""], 0
    for each in signature[signature.index("(") + 1:-1]:
        depth += (each in "[<{") - (each in "]>}")
        if each == "," and depth == 0:
            parameters.append("")
        else:
            parameters[-1] += each
    found = [re.fullmatch(r"\[=?(?:([iuf])(\d+)|(b))\]", each) for each in parameters]
    return [each and ((each[1], int(each[2])) if each[1] else ("b", 1)) for each in found]


def _kind_of_format(given):
    """Returns what a buffer's elements are, as an id has it; nothing for bytes and structs."""
    if len(given) != 1 or given in "Bc":
        return None
    return "f" if given in "efd" else "b" if given == "?" else "i" if given in "bhilqn" else "u"


class _Lender:
    """Makes values of Python's objects, and keeps what they refer to."""

    def __init__(self):
        self.kept = []

    def fill(self, value, given, element=None):
        """`element`: what _span_elements() says of the parameter."""
        if given is None:
            value.kind = _NONE
        elif isinstance(given, bool):
            value.kind, value.held.boolean = _BOOL, given
        elif isinstance(given, numbers.Integral):
            number = int(given)
            if not -2**63 <= number < 2**64:
                raise OverflowError(f"{number} is not an integer of 64 bits")
            if number < 0:
                value.kind, value.held.integer = _INT, number
            else:
                value.kind, value.held.natural = _UINT, number
        elif isinstance(given, numbers.Real):
            value.kind, value.held.floating = _DOUBLE, float(given)
        elif isinstance(given, str):
            self.lend(value, _TEXT, given.encode())
        elif isinstance(given, (list, tuple)):
            items = (_Value * len(given))()
            for item, each in zip(items, given):
                self.fill(item, each)
            self.kept.append(items)
            value.kind = _LIST
            value.held.block = _Block(ctypes.addressof(items), len(given))
        else:
            self.lend_buffer(value, given, element)

    def lend(self, value, kind, content):
        """Lends a bytes object."""
        self.kept.append(content)
        value.kind = kind
        value.held.block = _Block(ctypes.cast(ctypes.c_char_p(content), ctypes.c_void_p),
                                  len(content))

    def lend_buffer(self, value, given, element):
        view = memoryview(given)
        kind = _kind_of_format(view.format)
        if kind and element and (kind, view.itemsize) != element:
            raise TypeError(f"the buffer has elements {kind}{view.itemsize}, and the function "
                            f"takes {element[0]}{element[1]}")
        if view.readonly:
            return self.lend(value, _BYTES, given if isinstance(given, bytes) else view.tobytes())
        if not view.c_contiguous:
            raise BufferError("the elements of a buffer have to lie one after the other")
        size = view.nbytes
        place = (ctypes.c_char * size).from_buffer(view.cast("B")) if size else None
        self.kept.append((view, place))
        value.kind = _BUFFER
        value.held.block = _Block(ctypes.addressof(place) if size else None, size)
        return None


def _taken(value):
    """Returns a value as an object of Python's."""
    held = value.held
    if value.kind == _NONE:
        return None
    if value.kind == _BOOL:
        return bool(held.boolean)
    if value.kind in (_INT, _UINT):
        return held.integer if value.kind == _INT else held.natural
    if value.kind == _DOUBLE:
        return held.floating
    if value.kind == _LIST:
        items = ctypes.cast(held.block.data, ctypes.POINTER(_Value))
        return [_taken(items[i]) for i in range(held.block.size)]
    content = ctypes.string_at(held.block.data, held.block.size) if held.block.size else b""
    return content.decode(errors="surrogateescape") if value.kind == _TEXT else content


class Policy:
    """What a guest may ask for; nothing, as it is made."""

    def __init__(self):
        self._handle = _make("policy_create")
        self._kept = []  # What the library calls back.

    def __del__(self):
        if hasattr(self, "_handle"):
            _library.virtine_policy_free(self._handle)

    def output(self, sink, most=64 << 10):
        """Gives what the guest prints, `most` bytes a call, to `sink(bytes)`."""
        def write(_context, at, size):
            sink(ctypes.string_at(at, size))
        self._kept.append(_Output(write))
        _do("policy_add_output", self._handle, self._kept[-1], None, most)
        return self

    def directory(self, host_path, guest_path, write_at_most=0):
        """Grants the files below a directory; to be written, too, if `write_at_most` is not 0."""
        _do("policy_add_directory", self._handle, _bytes(host_path), _bytes(guest_path),
            write_at_most)
        return self

    def clock(self):
        """Grants time, and sleeping."""
        _do("policy_add_clock", self._handle)
        return self

    def entropy(self):
        """Grants random bytes."""
        _do("policy_add_entropy", self._handle)
        return self

    def environment(self, **variables):
        """Grants an environment."""
        strings = [_bytes(f"{name}={value}") for name, value in variables.items()]
        _do("policy_add_environment", self._handle, (ctypes.c_char_p * len(strings))(*strings),
            len(strings))
        return self

    def others_fail(self):
        """Lets system calls that nothing grants fail with ENOSYS."""
        _do("policy_add_others_fail", self._handle)
        return self

    def hypercall(self, number, signature, handler):
        """Answers a hypercall by `handler(*arguments)`. A span that is to be filled comes as a
        bytearray. If it raises an exception the call ends."""
        def answer(_context, arguments, count, result):
            try:
                given, buffers = [], []
                for i in range(count):
                    given.append(_taken(arguments[i]))
                    if arguments[i].kind == _BUFFER:
                        given[-1] = bytearray(given[-1])
                        buffers.append((arguments[i].held.block, given[-1]))
                lender = _Lender()
                lender.fill(result[0], handler(*given))
                last.lender = lender  # It is copied before this thread's next answer.
                for block, filled in buffers:
                    if len(filled) != block.size:
                        return 1
                    ctypes.memmove(block.data, bytes(filled), block.size)
                return 0
            except BaseException:  # pylint: disable=broad-except
                return 1  # Whatever is raised has nowhere to go but the end of the call.
        last = threading.local()
        self._kept.append(_Handler(answer))
        _do("policy_add_hypercall", self._handle, number, _bytes(signature), self._kept[-1], None)
        return self


class Function:
    """A function of an image. Any number of threads may call it; they run side by side."""

    def __init__(self, image, name, policy, max_machines):
        options = _FunctionOptions(size=ctypes.sizeof(_FunctionOptions), max_machines=max_machines)
        self._policy = policy  # Keeps its handlers.
        self._handle = _make("function_create", image._handle, _bytes(name),
                             policy._handle if policy else None, ctypes.byref(options))
        self._elements = _span_elements(image._signature(name))

    def __del__(self):
        if hasattr(self, "_handle"):
            _library.virtine_function_free(self._handle)

    def __call__(self, *arguments, timeout=None, hypercalls=0):
        """Calls it. The timeout is in seconds, and 10 by default."""
        options = _CallOptions(size=ctypes.sizeof(_CallOptions), hypercalls=hypercalls)
        if timeout is not None:
            options.timeout = max(1, int(timeout * 1e9))
        values, lender, result = (_Value * len(arguments))(), _Lender(), _Value()
        elements = itertools.chain(self._elements, itertools.repeat(None))
        for value, each, element in zip(values, arguments, elements):
            lender.fill(value, each, element)
        _do("call", self._handle, values, len(arguments), ctypes.byref(result),
            ctypes.byref(options))
        try:
            return _taken(result)
        finally:
            _library.virtine_value_clear(ctypes.byref(result))


class Image:
    """An image file that was loaded. Its functions are its attributes."""

    def __init__(self, handle):
        self._handle = handle
        self._functions = {}

    def __del__(self):
        _library.virtine_image_free(self._handle)

    def _exports(self):
        for i in range(_library.virtine_export_count(self._handle)):
            found = _Export(size=ctypes.sizeof(_Export))
            _do("export_at", self._handle, i, ctypes.byref(found))
            yield found.name.decode(), found.signature

    def _signature(self, name):
        return dict(self._exports())[name].decode()

    def exports(self):
        """Returns the names of its functions, with their types as C++ has them."""
        out = {}
        for name, signature in self._exports():
            text = ctypes.create_string_buffer(4096)
            _library.virtine_signature_as_cpp(signature, text, len(text))
            out[name] = text.value.decode()
        return out

    def function(self, name, policy=None, max_machines=0):
        """Returns the function `name`, whose guest gets what `policy` grants."""
        return Function(self, name, policy, max_machines)

    def __dir__(self):
        return [*super().__dir__(), *self.exports()]

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._functions:
            try:
                self._functions[name] = self.function(name)
            except Error as why:
                raise AttributeError(str(why)) from why
        return self._functions[name]


def load(source, max_memory=0):
    """Loads an image file: its path, or what is in it as bytes."""
    options = _LoadOptions(size=ctypes.sizeof(_LoadOptions), max_memory=max_memory)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Image(_make("load_bytes", bytes(source), len(source), ctypes.byref(options)))
    return Image(_make("load", _bytes(source), ctypes.byref(options)))
