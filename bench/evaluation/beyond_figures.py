# What the paper has no figure of, and what it leaves to others.
# SPDX-License-Identifier: MIT

from evaluation.rows_figure import Row, RowsFigure
from evaluation.sweep_figure import Curve, SweepFigure


def say_size(m):
    yield ("The smallest image has {{size.square}} KiB, the HTTP handler's {{size.http}}. What is counted "
           "is what each machine is loaded with.")
    if m.has("size.js"):
        yield "The JavaScript engine's has {{size.js}} KiB; the paper's has 578."


SIZE = RowsFigure(
    "sizes", "Sizes of images",
    [Row(label, row) for label, row in (
        ("an empty function", "size.empty"), ("square", "size.square"), ("math", "size.math"),
        ("text", "size.text"), ("primes", "size.primes"), ("echo, bare", "size.echo.bare"),
        ("echo, ordinary", "size.echo.user"), ("zlib's inflate", "size.inflate"), ("HTTP", "size.http"),
        ("JavaScript", "size.js"), ("paper: smallest (text)", "size.paper.smallest"),
        ("paper: JavaScript (text)", "size.paper.js"))],
    ["size"], "", say_size, quantity="size, KiB")


def say_effort(_):
    yield ("fib is isolated by vcc with {{effort.fib.added}} changed line, its keyword. The HTTP server has "
           "{{effort.http.added}} lines that only isolation needs, beside {{effort.http.native}} that it has "
           "anyway; JavaScript {{effort.js.added}} beside {{effort.js.native}}. Counted are lines of code in "
           "this tree, without comments and empty lines. The authors published no counts.")


EFFORT = RowsFigure(
    "effort", "Effort: lines that isolation adds, beside those that are there without it",
    [
        Row("fib by vcc: changed", "effort.fib.added"),
        Row("HTTP server: added", "effort.http.added"),
        Row("HTTP server: others", "effort.http.native"),
        Row("JavaScript: added", "effort.js.added"),
        Row("JavaScript: others", "effort.js.native"),
    ],
    ["effort"], "", say_effort, quantity="lines of code")


def say_pages(_):
    yield ("A call that writes one page takes {{reset.pages.1}} us, 64 pages {{reset.pages.64}} us, 1,024 "
           "pages {{reset.pages.1024}} us, so {{reset.pages.1024 / reset.pages.1024.floor}} of a KVM_RUN and "
           "a memcpy of as many pages: the library restores what was written and not the image.")


PAGES = SweepFigure(
    "pages", "Beyond the paper: a call by the pages that it writes",
    [Curve("call", "reset.pages.{}"), Curve("KVM_RUN and memcpy of as many pages", "reset.pages.{}.floor")],
    [1, 4, 16, 64, 256, 1024], ["reset", "call"], "call.floor", "pages of 4 KiB written", say_pages)


def say_hypercalls(_):
    yield ("Each hypercall is one exit. A call without any takes {{call.hypercalls.0}} us, one with 32 takes "
           "{{call.hypercalls.32}} us: {{call.hypercalls.32 / call.hypercalls.floor}} KVM_RUNs for 33 exits.")


HYPERCALLS = SweepFigure(
    "hypercalls", "Beyond the paper: a call by the number of its hypercalls",
    [Curve("call", "call.hypercalls.{}")],
    [0, 1, 2, 4, 8, 16, 32], ["call"], "call.hypercalls.floor", "hypercalls", say_hypercalls)


def say_arguments(_):
    yield ("Up to 16 KiB arguments cost next to nothing: {{call.span.16K}} us, and none {{call.span.0}} us. "
           "1 MiB, copied in and zeroed afterwards, takes {{call.span.1M}} us.")


NAMES = {64: "64", 1 << 10: "1K", 16 << 10: "16K", 64 << 10: "64K", 256 << 10: "256K", 1 << 20: "1M"}
ARGUMENTS = SweepFigure(
    "arguments", "Beyond the paper: a call by the size of its arguments",
    [Curve("size only", "call.span.{}"), Curve("sum of all bytes", "call.span.sum.{}")],
    list(NAMES), ["call"], "call.span.{}.floor", "bytes of a span argument", say_arguments, is_size=True,
    our_point=NAMES.get)


def say_threads(m):
    yield ("Two threads make {{threads.1 / threads.2}} times the calls of one; bare KVM_RUNs of two threads "
           "are {{threads.kvm.1 / threads.kvm.2}} times those of one, which is what this machine allows.")


THREADS = RowsFigure(
    "threads", "Beyond the paper: calls of two threads, time per call",
    [
        Row("calls, one thread", "threads.1"),
        Row("calls, two threads", "threads.2"),
        Row("KVM_RUN, one thread", "threads.kvm.1"),
        Row("KVM_RUN, two threads", "threads.kvm.2"),
    ],
    ["threads"], "threads.kvm.1", say_threads)


def say_batches(_):
    yield ("A call of its own takes {{each}} us. Of a batch of 1,000 calls in one machine, which are not "
           "isolated from each other, each takes {{together.1000}} us, natively {{batch.native.1000}}.")


BATCHES = RowsFigure(
    "batches", "Beyond the paper: many calls at one time, time per call",
    [
        Row("a machine's state for each", "each"), Row("together, batch of 1", "together.1"),
        Row("batch of 10", "together.10"), Row("batch of 100", "together.100"),
        Row("batch of 1,000", "together.1000"), Row("batch of 10,000", "together.10000"),
        Row("natively, 1,000", "batch.native.1000"),
    ],
    ["batch"], "batch.floor", say_batches)


def say_libraries(_):
    yield ("zlib of the distribution inflates 64 KiB in {{library.inflate.64K}} us in a virtine: "
           "{{library.inflate.64K / library.inflate.64K.native}} times the native time. For 1 KiB it is "
           "{{library.inflate.1K / library.inflate.1K.native}} times, for 1 MiB "
           "{{library.inflate.1M / library.inflate.1M.native}}.")


LIBRARIES = RowsFigure(
    "libraries", "Beyond the paper: zlib in a virtine",
    [Row(f"{label}: {how}", f"library.{name}{suffix}")
     for label, name in (("inflate 1 KiB", "inflate.1K"), ("inflate 64 KiB", "inflate.64K"),
                         ("inflate 1 MiB", "inflate.1M"), ("crc32 64 KiB", "crc32.64K"))
     for how, suffix in (("native", ".native"), ("virtine", ""))],
    ["library", "call"], "call.floor", say_libraries)


def say_density(_):
    yield ("An idle machine takes {{density.idle}} KiB of memory, all of the kernel's included; a bare VM "
           "with a vCPU {{density.bare}} KiB. Others' memory counts too, so a busy machine gives wrong "
           "figures here first.")


DENSITY = RowsFigure(
    "density", "Beyond the paper: memory of an idle machine",
    [Row("bare KVM VM", "density.bare"), Row("idle virtine", "density.idle")],
    ["density"], "", say_density, quantity="memory, KiB")


def say_cold(_):
    yield ("The first call of a program takes {{call.cold.alone}} us, one on another new machine of an "
           "image that is in use {{call.cold}} us; the same system calls alone, a VM created, entered and "
           "ended, take {{call.cold.floor}} us. A fault ends a machine, and the next call needs a new one: "
           "{{call.fault}} us.")


COLD = RowsFigure(
    "cold", "Beyond the paper: cold starts",
    [
        Row("VM created, entered, ended", "call.cold.floor"),
        Row("virtine on a new machine", "call.cold"),
        Row("first virtine of its image", "call.cold.alone"),
        Row("call that ends in a fault", "call.fault"),
        Row("initialiser runs", "image.init.run"),
        Row("snapshot from a file", "image.init.loaded"),
        Row("snapshot of a sibling", "image.init.held"),
    ],
    ["call", "image"], "call.floor", say_cold)


def say_beside(m):
    if m.has("beside.fib.0.wasm2c"):
        yield ("On a new instance for each call, which is the isolation that a virtine gives, WebAssembly by "
               "wasm2c takes {{beside.fib.0.wasm2c.new}} us for fib(0) and a virtine "
               "{{beside.fib.0.virtine}}; on an instance that is kept it takes {{beside.fib.0.wasm2c}} us. "
               "For fib(20) they take {{beside.fib.20.wasm2c.new}} and {{beside.fib.20.virtine}} us, natively "
               "{{beside.fib.20.native}}.")
    if m.has("node.fib.0.new"):
        yield ("V8 takes {{node.fib.0.new}} us in a new context, which is no security boundary, and "
               "{{node.process}} us in a new process.")


BESIDE = RowsFigure(
    "beside", "Side by side: the same function in what else isolates",
    [
        Row("fib(0): native", "beside.fib.0.native"),
        Row("fib(0): wasm2c, kept", "beside.fib.0.wasm2c"),
        Row("fib(0): wasm2c, new", "beside.fib.0.wasm2c.new"),
        Row("fib(0): virtine", "beside.fib.0.virtine"),
        Row("fib(0): V8, kept", "node.fib.0.kept"),
        Row("fib(0): V8, new context", "node.fib.0.new"),
        Row("fib(20): native", "beside.fib.20.native"),
        Row("fib(20): wasm2c, kept", "beside.fib.20.wasm2c"),
        Row("fib(20): wasm2c, new", "beside.fib.20.wasm2c.new"),
        Row("fib(20): virtine", "beside.fib.20.virtine"),
        Row("fib(20): V8, kept", "node.fib.20.kept"),
        Row("fib(20): V8, new context", "node.fib.20.new"),
        Row("thread", "contexts.thread"),
        Row("process (fork)", "contexts.process"),
        Row("process (posix_spawn)", "contexts.spawn"),
        Row("process (node)", "node.process"),
    ],
    ["beside", "node", "contexts"], "contexts.run", say_beside)

BEYOND_FIGURES = [SIZE, EFFORT, PAGES, HYPERCALLS, ARGUMENTS, THREADS, BATCHES, LIBRARIES,
                  DENSITY, COLD, BESIDE]
