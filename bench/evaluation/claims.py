# The claims of the paper's artifact, judged by code: against what was measured here, and against the
# authors' own data. A claim whose data are missing is never taken to hold.
# SPDX-License-Identifier: MIT

from dataclasses import dataclass

from evaluation.numbers import Missing, Numbers, number
from evaluation.reference import PAPER, TITLES, published

HOLDS, HOLDS_NOT, UNKNOWN = "holds", "holds not", "cannot be said here"
HOLDS_ON_SOME = "holds on some"  # Of the authors' machines, where the paper's own has no data.


@dataclass
class Claim:
    name: str
    text: str
    figure: str
    ours: object  # Numbers -> (whether it holds or None, a text).
    test: object = None  # A test of the authors' machine: (expression, ..., predicate).
    is_of_times: bool = True
    published: object = None  # () -> (whether it holds, a text), where their data are not those of machines.


@dataclass
class Verdict:
    status: str
    parts: list  # Of the reason; see Numbers.parts.


class Unknowable(Exception):
    """Why this machine cannot say."""


def judge(claim, machine, reference):
    """Returns the verdict of one machine here."""
    numbers = Numbers(machine, reference)
    try:
        holds, why = claim.ours(numbers)
        if machine.emulated and claim.is_of_times:
            return Verdict(UNKNOWN, ["this host is emulated, and the times are those of the emulator: ",
                                     *numbers.parts(why)])
        return Verdict(HOLDS if holds else HOLDS_NOT, numbers.parts(why))
    except Unknowable as why:
        if machine.emulated:
            why = "this host is emulated, and the times are those of the emulator"
        return Verdict(UNKNOWN, numbers.parts(str(why)))
    except Missing as row:
        return Verdict(UNKNOWN, [f"{row} was not measured{reason(machine, str(row))}"])


def reason(machine, row):
    program = row.split(".")[0]
    why = machine.missing.get(program)
    return f" ({why})" if why else ""


def judge_theirs(claim, reference):
    """Returns the verdict of the authors' machines: on which of them it holds."""
    if claim.published:
        holds, why = claim.published()
        return Verdict(HOLDS if holds else HOLDS_NOT, [why])
    if claim.test is None:
        return Verdict(UNKNOWN, ["the authors published no figures of it"])
    expressions, predicate = claim.test
    good, bad = [], []
    for name, machine in reference.items():
        numbers = Numbers(machine, reference)
        try:
            values = [numbers.one(each.replace("@self", f"@{name}")) for each in expressions]
        except Missing:
            continue
        (good if predicate(*values) else bad).append(name)
    if not good and not bad:
        return Verdict(UNKNOWN, ["their data have no such series"])
    if PAPER in good + bad:
        status = HOLDS if PAPER in good else HOLDS_NOT
    else:
        status = HOLDS_ON_SOME if good and bad else HOLDS if good else HOLDS_NOT
    text = f"on {len(good)} of {len(good) + len(bad)} machines"
    text += "" if PAPER in good + bad else " (the paper's own is not among them)"
    if good and bad:
        fewer, word = (bad, "not on") if len(bad) <= len(good) else (good, "only on")
        text += f"; {word} " + ", ".join(TITLES.get(name, name) for name in fewer)
    return Verdict(status, [text])


def boot(m):
    if m.one("boot.first") > 1000:
        raise Unknowable("this KVM interprets real mode (two reads of the clock in a row take {{boot.first}} "
                         "cycles; all of the boot {{boot.total}}), so it says nothing of the processor")
    return m.one("boot.total") < 30000, "{{boot.total}} cycles, {{boot.total|min}} at least"


def modes(m):
    if m.one("modes.long64 / modes.user64") > 4:
        raise Unknowable("this KVM interprets bare modes ({{modes.long64}} us in long mode at CPL 0, "
                         "{{modes.user64}} us in an ordinary guest), so they say nothing of the processor")
    holds = m.one("modes.real16") < m.one("modes.long64") and \
        0.9 <= m.one("modes.protected32 / modes.long64") <= 1.1
    return holds, ("real mode takes {{modes.real16 / modes.long64}} times as long as long mode, protected "
                   "mode {{modes.protected32 / modes.long64}} times")


def echo(m):
    return m.one("echo.bare.cold.sent") < 1000, (
        "sent after {{echo.bare.cold.sent}} us in bare protected mode, {{echo.user.cold.sent}} us as an "
        "ordinary guest")


def pooled_as_timed(m):
    holds = m.one("contexts.pooled.unwiped / contexts.vmrun") <= 1.04 and \
        m.one("contexts.pooled.unwiped / contexts.thread") < 0.5
    return holds, ("{{contexts.pooled.unwiped / contexts.vmrun}} of a KVM_RUN with registers, and "
                   "{{contexts.pooled.unwiped / contexts.thread}} of a thread")


def pooled(m):
    holds = m.one("contexts.pooled / contexts.run") <= 1.04 and \
        m.one("contexts.pooled / contexts.thread") < 0.5
    return holds, ("{{contexts.pooled / contexts.run}} of a bare KVM_RUN, and "
                   "{{contexts.pooled / contexts.thread}} of a thread")


def snapshot(m):
    holds = m.one("vcc.fib.0.no_snapshot / vcc.fib.0") >= 2 and \
        m.one("vcc.fib.25 / vcc.fib.25.native") <= 1.05
    return holds, ("without a snapshot fib(0) takes {{vcc.fib.0.no_snapshot / vcc.fib.0}} times as long, and "
                   "fib(25) takes {{vcc.fib.25 / vcc.fib.25.native}} times the native time")


def size(m):
    grows = m.one("image.size.16777216.call / image.size.1048576.call") >= 4
    return grows, ("16 MiB take {{image.size.16777216.call / image.size.1048576.call}} times as long as 1 MiB"
                   + ("" if grows else ": a call does not pay for its image, which is better than claimed"))


def http(m):
    return m.one("http.native / http.ours") >= 0.8, (
        "{{http.native / http.ours}} of the native throughput with one exit, {{http.native / http.seven}} "
        "with the paper's seven")


def js(m):
    holds = m.one("js.rebuild / js.native.rebuilt") <= 1.5 and m.one("js.warm / js.native.rebuilt") < 1
    return holds, ("{{js.rebuild / js.native.rebuilt}} times the native time with all work in the call, "
                   "{{js.warm / js.native.rebuilt}} with snapshot and without teardown")


def serverless(m):
    holds = m.one("vespid.waves.vespid / vespid.waves.process") < 1 and \
        m.one("vespid.waves.vespid|p99 / vespid.waves.process|p99") < 1 and m.one("vespid.waves.vespid.failed") == 0
    return holds, ("{{vespid.waves.vespid}} us (p99 {{vespid.waves.vespid|p99}}) against {{vespid.waves.process}} us "
                   "(p99 {{vespid.waves.process|p99}}) with a process started for each; "
                   "{{vespid.waves.vespid.failed}} requests not answered")


def serverless_published():
    theirs = published()["vespid"]
    quantiles = [(theirs["Vespid"][field], theirs["OpenWhisk"][field]) for field in ("p50_us", "p99_us")]
    text = " and ".join(f"{number(ours)} against {number(others)} us" for ours, others in quantiles)
    return all(ours < others for ours, others in quantiles), (
        f"{text} (median, p99) of OpenWhisk, by what was published with Vespid; engines differ, and loads may")


def effort(m):
    holds = m.one("effort.fib.added") == 1 and all(
        m.one(f"effort.{name}.added / effort.{name}.native") <= 0.2 for name in ("http", "js"))
    return holds, ("{{effort.fib.added}} line for a function with the keyword; {{effort.http.added}} lines "
                   "for the HTTP server, {{effort.http.added / effort.http.native}} of the others; "
                   "{{effort.js.added}} for JavaScript, {{effort.js.added / effort.js.native}}")


BOOT_STEPS = ["table1:" + step for step in (
    "Load_32-bit_GDT", "Protected_Mode_Enable", "Protected_Transition", "Paging_identity_mapping",
    "Load_64-bit_GDT", "Jump_to_64-bit")]

CLAIMS = [
    Claim("C1", "A guest boots from real to long mode in less than 30,000 cycles.", "table1", boot,
          ([f"@self:{step}|cycles" for step in BOOT_STEPS], lambda *steps: sum(steps) < 30000)),
    Claim("C2", "Real mode is cheaper than long mode; protected mode costs as much as long mode.", "fig3",
          modes, (["@self:fig3:fib16 / @self:fig3:fib64", "@self:fig3:fib32 / @self:fig3:fib64"],
                  lambda real, protected: real < 1 and 0.9 <= protected <= 1.1)),
    Claim("C3", "An echo is sent within 1 ms, the creation of the VM included.", "fig4", echo,
          (["@self:fig4:after_send()"], lambda sent: sent < 1000)),
    Claim("C4", "A pooled call is within 4% of a vmrun, and far (here: by half) below a thread; as the "
          "paper timed it, without wiping.", "fig8", pooled_as_timed,
          (["@self:fig8:wasp_create_cache_async / @self:fig8:wasp_vmrun",
            "@self:fig8:wasp_create_cache_async / @self:fig8:linux_thread"],
           lambda run, thread: run <= 1.04 and thread < 0.5)),
    Claim("C4, complete", "The same with the wiping timed.", "fig8", pooled,
          (["@self:fig8:wasp_create_cache / @self:fig8:wasp_vmrun",
            "@self:fig8:wasp_create_cache / @self:fig8:linux_thread"],
           lambda run, thread: run <= 1.04 and thread < 0.5)),
    Claim("C5", "Snapshots make short calls at least twice as fast, and longer work makes up for a call: "
          "fib(25) takes at most 5% more than natively.", "fig11", snapshot,
          (["@self:fig11:virtine:0 / @self:fig11:virtine+snapshot:0",
            "@self:fig11:virtine+snapshot:25 / @self:fig11:baseline:25"],
           lambda gain, long: gain >= 2 and long <= 1.05)),
    Claim("C6", "Beyond 1 to 2 MiB a call takes longer the larger its image is (16 MiB at least 4 times "
          "1 MiB).", "fig12", size,
          (["@self:fig12:image_size:16777216 / @self:fig12:image_size:1048576"], lambda grows: grows >= 4)),
    Claim("C7", "An HTTP server loses less than 20% of its throughput.", "fig13", http,
          (["@self:fig13:http_baseline_thru / @self:fig13:http_virtine_snapshot_thru"],
           lambda kept: kept >= 0.8)),
    Claim("C8", "JavaScript takes less than 1.5 times the native time, and less than the native time with "
          "snapshot and without teardown.", "fig14", js,
          (["@self:fig14:virtine / @self:fig14:baseline",
            "@self:fig14:virtine_snapshot_noteardown / @self:fig14:baseline"],
           lambda plain, best: plain <= 1.5 and best < 1)),
    Claim("Vespid", "Under bursts of load a function in virtines answers sooner, at the median and at p99, than where "
          "each request gets a new container (here: a process).", "fig15", serverless,
          published=serverless_published),
    Claim("Effort", "The effort is minimal: one keyword for a function, and at most a fifth of an "
          "application's lines on top.", "effort", effort, is_of_times=False),
]


def judged(machines, reference):
    """Returns [(claim, verdict of theirs, [verdicts of ours])]."""
    return [(claim, judge_theirs(claim, reference), [judge(claim, m, reference) for m in machines])
            for claim in CLAIMS]
