"""The Python module: what needs no KVM, and, where there is KVM, calls.

usage: test_virtine.py PLUGIN.virtine
"""
# SPDX-License-Identifier: MIT

import array
import pathlib
import sys
import threading

import virtine


def fails_with(name, text, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except virtine.Error as why:
        assert why.name == name and text in str(why), (why.name, str(why))
    else:
        raise AssertionError(f"no {name}")


def raises(kind, call, *arguments):
    try:
        call(*arguments)
    except kind:
        return
    raise AssertionError(f"no {kind}")


def test_without_kvm(plugin, path):
    assert plugin.exports()["square"] == "int(int)"
    assert "square" in dir(plugin)
    fails_with("os_error", "/nowhere", virtine.load, "/nowhere")
    fails_with("image_refused", "no ELF file", virtine.load, b"x" * 100)
    fails_with("image_refused", "max_memory", virtine.load, path, max_memory=4096)
    fails_with("image_refused", "no function cube", plugin.function, "cube")
    fails_with("image_refused", "hypercall 7", plugin.function, "asks")
    raises(AttributeError, lambda: plugin.cube)
    raises(AttributeError, lambda: plugin._hidden)
    raises(ValueError, virtine.load, "a\0b")
    fails_with("bad_argument", "takes 1 argument, and 0", plugin.square)
    fails_with("bad_argument", "argument 1 of square: nothing is not int", plugin.square, None)
    fails_with("bad_argument", "is not int", plugin.square, 2**31)
    fails_with("bad_argument", "is not int", plugin.square, 1.5)
    fails_with("bad_argument", "is not int", plugin.square, "1")
    fails_with("bad_argument", "is not int", plugin.square, True)
    raises(OverflowError, plugin.square, 2**64)
    raises(TypeError, plugin.square, object())
    fails_with("bad_argument", "VIRTINE_BUFFER", plugin.scale, b"12345678", 2)
    policy = virtine.Policy().clock()
    fails_with("bad_grant", "one thing", policy.clock)
    fails_with("bad_grant", "signature", policy.hypercall, 7, "what", lambda: None)


def numpy_arrays(plugin):
    """Arrays cross as spans without a copy; what a span cannot show is refused."""
    try:
        import numpy
    except ImportError:
        print("numpy arrays are not tested: there is no numpy")
        return
    numbers = numpy.array([1.0, 2.5])
    assert plugin.total(numbers) == 3.5
    plugin.scale(numbers, 2)
    assert numbers.tolist() == [2.0, 5.0]
    plugin.scale(numbers[1:], 2)
    assert numbers.tolist() == [2.0, 10.0]
    raises(BufferError, plugin.scale, numpy.zeros((4, 4))[:, 1], 2)
    assert plugin.total([numpy.float32(0.5), numpy.int8(2)]) == 2.5
    assert plugin.square(numpy.int64(3)) == 9
    numbers.setflags(write=False)
    fails_with("bad_argument", "writes to this span", plugin.scale, numbers, 2)
    for other in ("float32", "int64", "bool"):
        raises(TypeError, plugin.total, numpy.array([1, 0], other))


def test_calls(plugin):
    assert plugin.square(-7) == 49
    numbers = array.array("d", [1, 2.5])
    assert plugin.total(numbers) == 3.5
    assert plugin.total([1, 2]) == 3
    assert plugin.total(b"") == 0
    assert plugin.total(numbers.tobytes()) == 3.5
    raises(TypeError, plugin.total, array.array("f", [1, 2]))
    assert plugin.scale(numbers, 2) is None
    assert list(numbers) == [2, 5]
    text = bytearray(b"abc")
    assert plugin.shout(text) is True and text == b"ABC"
    assert plugin.length("h\u00e9") == 3
    numpy_arrays(plugin)
    assert plugin.greet("you") == b"hi, you"
    assert plugin.maybe(True) == 4 and plugin.maybe(False) is None
    assert plugin.both((1, 2.5)) == [1, 2.5]
    assert plugin.mirror(array.array("i", [3, 4]).tobytes()) == array.array("i", [4, 3]).tobytes()
    fails_with("guest_fault", "divide error", plugin.divide, 1, 0)
    fails_with("timed_out", "", plugin.spin, timeout=0.05)
    fails_with("system_call_denied", "writev", plugin.hello)

    printed = []
    policy = virtine.Policy().output(printed.append)
    hello = plugin.function("hello", policy)
    del policy
    hello()
    assert b"".join(printed) == b"hello\n"

    def answer(number, text, room):
        assert text == "question" and len(room) == 4
        if number < 0:
            raise ValueError
        room[:] = array.array("H", [20, 300]).tobytes()
        return 2 * number
    asks = plugin.function("asks", virtine.Policy().hypercall(7, "i4(i4,s,[=u2])", answer))
    assert asks(3) == 326
    fails_with("hypercall_rejected", "", asks, -1)

    failed = []

    def many():
        try:
            assert all(plugin.square(i) == i * i for i in range(20))
        except BaseException as why:  # pylint: disable=broad-except
            failed.append(why)
    threads = [threading.Thread(target=many) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed, failed


def main(path):
    plugin = virtine.load(pathlib.Path(path).read_bytes())
    test_without_kvm(virtine.load(path), path)
    try:
        plugin.square(1)
    except virtine.Error as why:
        if why.name != "no_kvm":
            raise
        print("good as far as there is no KVM:", why)
        return 77
    test_calls(plugin)
    print("good")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
