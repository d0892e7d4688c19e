# The figures and tables of the paper: their rows here and in the authors' data, and what to see.
# SPDX-License-Identifier: MIT

from evaluation.numbers import number
from evaluation.reference import published
from evaluation.rows_figure import Row, RowsFigure
from evaluation.sweep_figure import Curve, SweepFigure
from evaluation.wave_figure import Published, WaveFigure, Way

SIZES = [32 << i for i in range(20)]


def say_contexts(m):
    yield ("A pooled call, with everything that belongs to it, takes {{contexts.pooled}} us: "
           "{{contexts.pooled / contexts.run}} bare KVM_RUNs. Timed the paper's way, with the clock "
           "stopped before the machine is wiped, it takes {{contexts.pooled.unwiped}} us.")
    if m.one("contexts.pooled / contexts.thread") < 1:
        yield ("A thread takes {{contexts.thread / contexts.pooled}} times as long as that, "
               "a process {{contexts.process / contexts.pooled}} times.")
    else:
        yield ("A thread takes {{contexts.thread}} us, so less than the call; a process takes "
               "{{contexts.process / contexts.pooled}} times as long as the call.")
    yield ("Creating a VM as the paper timed it, without memory, entry and end, takes "
           "{{contexts.vm.create}} us; with them {{contexts.vm.run}} us. A virtine on a new machine "
           "takes {{contexts.new}} us.")
    if m.has("session.empty", "session.floor"):
        yield ("A call of a session, whose guest stays in its machine, takes {{session.empty}} us, "
               "{{session.empty / session.floor}} of a KVM_RUN.")
    yield ("The authors' pooled call with wiping takes {{min @*:fig8:wasp_create_cache / @*:fig8:wasp_vmrun}} "
           "to {{max @*:fig8:wasp_create_cache / @*:fig8:wasp_vmrun}} of their KVM_RUNs, which include "
           "reading and writing registers.")


CONTEXTS = RowsFigure(
    "fig8", "Figures 2 and 8. What it costs to run nothing in a context of its own",
    [
        Row("function call", "contexts.function"),
        Row("session: guest stays inside", "session.empty"),
        Row("bare KVM_RUN", "contexts.run"),
        Row("KVM_RUN with registers", "contexts.vmrun", "fig8:wasp_vmrun"),
        Row("pooled call, wiping not timed", "contexts.pooled.unwiped", "fig8:wasp_create_cache_async"),
        Row("pooled call, complete", "contexts.pooled", "fig8:wasp_create_cache"),
        Row("thread", "contexts.thread", "fig8:linux_thread"),
        Row("process (fork)", "contexts.process", "fig8:linux_process"),
        Row("process (posix_spawn)", "contexts.spawn"),
        Row("VM created, not entered", "contexts.vm.create", "fig8:wasp_create"),
        Row("VM created, entered, ended", "contexts.vm.run"),
        Row("virtine on a new machine", "contexts.new"),
        Row("SGX enclave: call", "", "fig8:enclave-ecall"),
        Row("SGX enclave: creation", "", "fig8:enclave-create"),
    ],
    ["contexts", "session"], "contexts.run", say_contexts)


def say_boot(m):
    yield ("From the first instruction in real mode to long mode it is {{boot.total}} cycles here "
           "(median; {{boot.total|min}} at least), each time on a new machine.")
    parts = ["boot.gdt32", "boot.protect", "boot.jump32", "boot.segments", "boot.paging", "boot.gdt64",
             "boot.jump64"]
    most = max(parts, key=m.one)
    name = {row.ours: row.label for row in BOOT.rows}[most]
    yield f"Most of it is \"{name}\": {{{{{most}}}}} cycles."
    if m.one("boot.first") > 1000 and not m.machine.emulated:
        yield ("Reading the time-stamp counter twice in a row, the first row, takes {{boot.first}} "
               "cycles: this KVM does not run real mode on the processor but interprets it.")
    yield ("The authors print minima of each step; the lines here are distributions. Their file for "
           "the Opteron is empty, and gold's is that of another machine.")


BOOT = RowsFigure(
    "table1", "Table 1. From real mode to long mode, by the guest's own clock",
    [
        Row("two reads of the clock", "boot.first", "table1:First_Instruction"),
        Row("load 32-bit GDT", "boot.gdt32", "table1:Load_32-bit_GDT"),
        Row("set CR0.PE", "boot.protect", "table1:Protected_Mode_Enable"),
        Row("jump to 32-bit code", "boot.jump32", "table1:Protected_Transition"),
        Row("load segments", "boot.segments"),
        Row("identity map, paging on", "boot.paging", "table1:Paging_identity_mapping"),
        Row("load 64-bit GDT", "boot.gdt64", "table1:Load_64-bit_GDT"),
        Row("jump to 64-bit code", "boot.jump64", "table1:Jump_to_64-bit"),
        Row("all of it", "boot.total"),
    ],
    ["boot"], "boot.exit", say_boot, quantity="time, cycles")


def say_modes(m):
    yield ("fib(20) takes {{modes.real16}} us in real mode, {{modes.protected32}} in protected mode, "
           "{{modes.long64}} in long mode at CPL 0, and {{modes.user64}} as an ordinary guest.")
    if m.one("modes.long64 / modes.user64") > 4 and not m.machine.emulated:
        yield ("This KVM does not run bare modes on the processor but interprets them, so the first "
               "three say nothing of the processor.")
    yield ("Of the authors' machines real mode is between {{min @*:fig3:fib16 / @*:fig3:fib64}} and "
           "{{max @*:fig3:fib16 / @*:fig3:fib64}} times as long as long mode.")


MODES = RowsFigure(
    "fig3", "Figure 3. fib(20) by mode of the processor",
    [
        Row("real mode, 16 bits", "modes.real16", "fig3:fib16"),
        Row("protected mode, 32 bits", "modes.protected32", "fig3:fib32"),
        Row("long mode, CPL 0", "modes.long64", "fig3:fib64"),
        Row("ordinary guest, CPL 3", "modes.user64"),
    ],
    ["modes"], "modes.exit", say_modes)


def say_echo(m):
    yield ("On a new machine, its creation included, the echo is sent after {{echo.user.cold.sent}} us "
           "by an ordinary guest, after {{echo.bare.cold.sent}} us by one in bare protected mode that "
           "boots from real mode, as the paper's does.")
    yield ("On a machine of a pool it is {{echo.user.sent}} and {{echo.bare.sent}} us: three exits and "
           "two system calls on a socket.")
    yield ("The authors' fresh machine has sent after {{min @*:fig4:after_send()}} to "
           "{{max @*:fig4:after_send()}} us, {{@gold:fig4:after_send()}} on the paper's.")


ECHO = RowsFigure(
    "fig4", "Figure 4. When an echo comes to its milestones",
    [
        Row("new, bare: guest runs", "echo.bare.cold.entry", "fig4:kmain()"),
        Row("new, bare: received", "echo.bare.cold.received", "fig4:after_recv()"),
        Row("new, bare: sent", "echo.bare.cold.sent", "fig4:after_send()"),
        Row("new, ordinary: guest runs", "echo.user.cold.entry"),
        Row("new, ordinary: received", "echo.user.cold.received"),
        Row("new, ordinary: sent", "echo.user.cold.sent"),
        Row("pooled, bare: sent", "echo.bare.sent"),
        Row("pooled, ordinary: sent", "echo.user.sent"),
    ],
    ["echo"], "echo.user.floor", say_echo)


def amortised(m, limit):
    """Returns the least n from which on a call takes at most `limit` times the native one."""
    good = None
    for n in range(30, -1, -1):
        if m.one(f"vcc.fib.{n} / vcc.fib.{n}.native") > limit:
            break
        good = n
    return good


def say_fib(m):
    yield ("A call adds {{vcc.fib.0 - vcc.fib.0.native}} us to fib(0) with vcc and "
           "{{vcc.fib.0.virtine_fn - vcc.fib.0.native}} us with virtine_fn: "
           "{{vcc.fib.0 / vcc.fib.0.exit}} and {{vcc.fib.0.virtine_fn / vcc.fib.0.exit}} KVM_RUNs. "
           "Without a snapshot it takes {{vcc.fib.0.no_snapshot / vcc.fib.0}} times as long.")
    n = amortised(m, 1.03)
    if n is None:
        yield "Up to fib(30) the call never comes within 3% of the native one."
    else:
        yield (f"From fib({n}) on, which natively takes {{{{vcc.fib.{n}.native}}}} us, the call takes at "
               f"most 1.03 times as long: the break-even of the paper. At fib(25) it takes "
               "{{vcc.fib.25 / vcc.fib.25.native}} times as long, on the paper's machine "
               "{{@gold:fig11:virtine+snapshot:25 / @gold:fig11:baseline:25}}.")
    yield ("The authors' calls with a snapshot add {{min @*:fig11:virtine+snapshot:0 - @*:fig11:baseline:0}} "
           "to {{max @*:fig11:virtine+snapshot:0 - @*:fig11:baseline:0}} us to fib(0).")


FIB = SweepFigure(
    "fig11", "Figure 11. fib(n) natively and in a virtine",
    [
        Curve("native", "vcc.fib.{}.native", "fig11:baseline:{}"),
        Curve("vcc, no snapshot", "vcc.fib.{}.no_snapshot", "fig11:virtine:{}"),
        Curve("vcc, snapshot", "vcc.fib.{}", "fig11:virtine+snapshot:{}"),
        Curve("virtine_fn, snapshot", "vcc.fib.{}.virtine_fn"),
    ],
    list(range(31)), ["vcc"], "vcc.fib.{}.exit", "n", say_fib, their_points=[0, 5, 10, 15, 20, 25, 30])


def say_sizes(m):
    yield ("A warmed call of an image of 16 MiB takes {{image.size.16777216.call}} us, of one of 32 bytes "
           "{{image.size.32.call}} us: {{image.size.16777216.call / image.size.32.call}} times as long. "
           "Copying 16 MiB, which restoring by copying would have to, takes "
           "{{image.size.16777216.copy}} us.")
    yield ("On a new machine it is {{image.size.32.new}} us for 32 bytes and "
           "{{image.size.16777216.new}} us for 16 MiB.")
    yield ("On the paper's machine 16 MiB take "
           "{{@gold:fig12:image_size:16777216 / @gold:fig12:image_size:32}} times as long as 32 bytes. "
           "The other machines' programs make a VM each time.")


IMAGE = SweepFigure(
    "fig12", "Figure 12. A call by the size of its image",
    [
        Curve("warmed call", "image.size.{}.call", "fig12:image_size:{}"),
        Curve("new machine", "image.size.{}.new"),
        Curve("memcpy of the image", "image.size.{}.copy"),
    ],
    SIZES, ["image"], "image.size.{}.exit", "size of the image", say_sizes, is_size=True)


def say_http(m):
    yield ("One client that waits for each reply gets it after {{http.alone.native}} us natively, "
           "{{http.alone.ours}} us from a virtine and {{http.alone.seven}} us from one with the seven "
           "exits of the paper's server.")
    yield ("Of 16 clients at one time a request takes {{http.native}}, {{http.ours}} and {{http.seven}} "
           "us: the throughput of the virtine is {{http.native / http.ours}} of the native one, with "
           "seven exits {{http.native / http.seven}}. A native request is as long as "
           "{{http.native / http.part.exit}} KVM_RUNs, so that much is the most that one exit leaves.")
    native, isolated = "fig13:http_baseline_thru", "fig13:http_virtine_snapshot_thru"
    yield (f"On the paper's machine it is {{{{@gold:{native} / @gold:{isolated}}}}} with a snapshot, on all of "
           f"the authors' machines {{{{min @*:{native} / @*:{isolated}}}}} to "
           f"{{{{max @*:{native} / @*:{isolated}}}}}; where it is 1, on two laptops, the code ran in no VM.")


HTTP = RowsFigure(
    "fig13", "Figure 13. An HTTP request for 1 KiB: latency and, inverted, throughput",
    [
        Row("latency: native", "http.alone.native", "fig13:http_baseline_lat"),
        Row("latency: one exit", "http.alone.ours", "fig13:http_virtine_snapshot_lat"),
        Row("latency: seven exits", "http.alone.seven", "fig13:http_virtine_lat"),
        Row("per request: native", "http.native", "fig13:http_baseline_thru"),
        Row("per request: one exit", "http.ours", "fig13:http_virtine_snapshot_thru"),
        Row("per request: seven exits", "http.seven", "fig13:http_virtine_thru"),
        Row("kept connection: native", "http.kept.native"),
        Row("kept connection: one exit", "http.kept.ours"),
        Row("64 KiB: native", "http.64K.native"),
        Row("64 KiB: one exit", "http.64K.ours"),
    ],
    ["http"], "http.part.exit", say_http)


def say_openssl(m):
    yield ("16 KiB take {{openssl.cbc16k.call / openssl.cbc16k.native}} times as long in calls as natively, "
           "in a session {{openssl.cbc16k.session / openssl.cbc16k.native}} times. 16 bytes, the least, "
           "take {{openssl.cbc.16.call / openssl.cbc.16.native}} and "
           "{{openssl.cbc.16.session / openssl.cbc.16.native}} times as long.")
    theirs = published()["openssl"]
    native, virtine = theirs["native_kB_per_s"], theirs["virtine_kB_per_s"]
    yield (f"The paper has {number(native / virtine)} times for 16 KiB on its machine ({native:,} and "
           f"{virtine:,} kB/s), in calls of {theirs['bytes_per_call']} bytes with wrong results; here all "
           "ciphertexts are compared with OpenSSL's own.")


BLOCKS = {16: ".16", 64: ".64", 256: ".256", 1024: ".1024", 8192: ".8192", 16384: "16k"}
OPENSSL = SweepFigure(
    "openssl", "Section 6.4. AES-128-CBC by OpenSSL's EVP interface, by the size of its blocks",
    [
        Curve("native", "openssl.cbc{}.native"),
        Curve("call", "openssl.cbc{}.call"),
        Curve("session", "openssl.cbc{}.session"),
    ],
    list(BLOCKS), ["openssl"], "openssl.cbc{}.exit", "bytes of one EVP_EncryptUpdate", say_openssl,
    is_size=True, our_point=BLOCKS.get)


def say_js(m):
    yield ("With the engine made before the snapshot and left to be wiped, an evaluation takes "
           "{{js.warm}} us: {{js.warm / js.native.rebuilt}} of a native one that makes and destroys its "
           "engine, {{js.warm / js.native.kept}} of one whose engine is kept, which is less isolated.")
    yield ("With the engine made in the call it is {{js.rebuild / js.native.rebuilt}} times the native one. "
           "The authors have {{min @*:fig14:virtine / @*:fig14:baseline}} to "
           "{{max @*:fig14:virtine / @*:fig14:baseline}} for that, and "
           "{{min @*:fig14:virtine_snapshot_noteardown / @*:fig14:baseline}} to "
           "{{max @*:fig14:virtine_snapshot_noteardown / @*:fig14:baseline}} for the former. Their native "
           "program was run without its script, which makes the baseline too short.")


JS = RowsFigure(
    "fig14", "Figure 14. Base64 by JavaScript (Duktape)",
    [
        Row("native, engine per run", "js.native.rebuilt", "fig14:baseline"),
        Row("virtine", "js.rebuild", "fig14:virtine"),
        Row("virtine, no teardown", "js.rebuild.left", "fig14:virtine_noteardown"),
        Row("snapshot", "js.destroyed", "fig14:virtine_snapshot"),
        Row("snapshot, no teardown", "js.warm", "fig14:virtine_snapshot_noteardown"),
        Row("native, engine kept", "js.native.kept"),
    ],
    ["js"], "js.exit", say_js)

THEIRS = published()["vespid"]


def say_serverless(m):
    yield ("Up to {{vespid.waves.rate|max}} requests in a second are due, in two waves. Vespid answers after "
           "{{vespid.waves.vespid}} us (p99 {{vespid.waves.vespid|p99}}), a pool of node processes after "
           "{{vespid.waves.pool}} us (p99 {{vespid.waves.pool|p99}}), and a node process that is started for each "
           "request after {{vespid.waves.process}} us (p99 {{vespid.waves.process|p99}}): "
           "{{vespid.waves.process / vespid.waves.vespid}} times as long as Vespid. The processes of the pool keep one "
           "request from the next by no boundary of security.")
    yield ("The first request finds nothing loaded: {{vespid.waves.vespid|first}} us by Vespid. One at a time, "
           "without a pause, a request takes {{vespid.base64}} us: {{vespid.base64 / vespid.nats}} times request and "
           "reply over NATS alone.")
    for way in ("vespid", "pool", "process"):
        if m.one(f"vespid.waves.{way}.failed") > 0:
            yield f"Not answered by {WAYS[way]}: {{{{vespid.waves.{way}.failed}}}} requests."
    yield (f"The authors published {number(THEIRS['Vespid']['p50_us'])} us (p99 {number(THEIRS['Vespid']['p99_us'])}) "
           f"for their Vespid and {number(THEIRS['OpenWhisk']['p50_us'])} us (p99 "
           f"{number(THEIRS['OpenWhisk']['p99_us'])}) for OpenWhisk. Their engines differ, and their loads may: only "
           "orders of magnitude can be compared.")


WAYS = {"vespid": "Vespid", "pool": "pool of processes", "process": "process per request"}
SERVERLESS = WaveFigure(
    "fig15", "Figure 15. A function in JavaScript under bursts of load",
    [Way(label, f"vespid.waves.{way}") for way, label in WAYS.items()],
    [Published(f"authors: {name}", f"published:vespid:{name}", THEIRS[name]["n"], THEIRS[name]["p50_us"],
               THEIRS[name]["p99_us"]) for name in ("Vespid", "OpenWhisk")],
    13, ["vespid"], say_serverless)

PAPER_FIGURES = [CONTEXTS, BOOT, MODES, ECHO, FIB, IMAGE, HTTP, OPENSSL, JS, SERVERLESS]
