#!/usr/bin/env python3
# Checks an installation from outside: by HTTP, with functions good and bad, and with programs that
# end while calls are under way. Must not judge how long anything took.
# SPDX-License-Identifier: MIT
"""usage: check_vespid.py FUNCTIONS.virtine LARGE.virtine"""

import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from installation import FalseWorker, Temporary, await_result, call, skip_unless_ready, until, vespid

FUNCTIONS, LARGE = (pathlib.Path(each).read_bytes() for each in sys.argv[1:3])
DURABLE_MAX, IMAGES_MAX = 1_000_000, 16 << 20


def put(gateway, name, export=None, **options):
    options["entry"] = export or name
    return vespid.deploy(gateway, name, "image", FUNCTIONS, options)


def put_large(gateway, name, export, **options):
    return vespid.deploy(gateway, name, "image", LARGE, {"entry": export, "memory": 256 << 20, **options})


def script(gateway, name, text, **options):
    return vespid.deploy(gateway, name, "script", text.encode(), options)


def refused(gateway, method, path, body=None, headers=None):
    """Returns status and problem of a request that has to be refused."""
    status, got, text = gateway.raw(method, path, body, headers)
    assert status >= 400 and got["Content-Type"] == "application/problem+json", (status, text)
    problem = json.loads(text)
    assert problem["status"] == status and problem["title"], problem
    if status in (429, 503):
        assert "Retry-After" in got, got
    return status, problem


def check_calls(home):
    owner = home.owner()
    made = put(owner, "square")
    assert made["signature"] == "i4(i4)" and made["revision"] > 0, made
    assert call(owner, "square", 7) == (200, 49)
    assert call(owner, "square", "x")[0] == 400
    assert call(owner, "square", 1, 2)[0] == 400
    assert refused(owner, "POST", "/call/square", b"[1")[0] == 400
    assert refused(owner, "POST", "/call/nothing", b"[]")[0] == 404
    put(owner, "doubled")
    assert call(owner, "doubled", [1, 2.5]) == (200, {"result": None, "outputs": [[2.0, 5.0]]})
    put(owner, "turn")
    assert owner.raw("POST", "/call/turn", b"\x00\xffab")[2] == b"ba\xff\x00"
    put(owner, "repeat", room=9)
    assert owner.raw("POST", "/call/repeat", b"3ab")[2] == b"3ab3ab3ab"
    assert refused(owner, "POST", "/call/repeat", b"4ab")[1]["code"] == "result_too_large"
    script(owner, "sum", "log('a line'); input.reduce(function(a, b) { return a + b; }, env.FROM | 0)",
           grants=["output"], environment={"FROM": "10"})
    assert call(owner, "sum", 1, 2, 3) == (200, 16)
    script(owner, "throws", "1;\nnull.x")
    problem = refused(owner, "POST", "/call/throws", b"null")[1]
    assert problem["code"] == "script_error" and problem["line"] == 2, problem
    assert refused(owner, "POST", "/call/throws", b"no JSON")[0] == 400
    names = [each["name"] for each in owner.ask("GET", "/functions")["functions"]]
    assert names == sorted(names) and {"square", "sum"} <= set(names), names
    put(owner, "print", grants=["output"])
    assert call(owner, "print", "what it prints") == (200, 0)
    for _ in range(100):
        logged = [each.get("output") for each in owner.ask("GET", "/functions/print/logs")]
        if logged == ["what it prints\n"]:
            break
        time.sleep(0.05)
    else:
        raise AssertionError(logged)
    owner.ask("DELETE", "/functions/print")
    until(lambda: call(owner, "print", "x")[0] == 404, "a function that was removed can be called")


def check_command(home):
    """The command from a source to its end, as docs/vespid.md begins."""
    # One installation has one port and one folder.
    for where, port, said in ((home.directory, 0, "whose programs run"),
                              (home.directory / "other", home.port, "cannot listen on 127.0.0.1")):
        try:
            other = vespid.Installation(where, port)
        except vespid.Failure as why:
            assert said in str(why), why
            continue
        try:
            other.up()
        except vespid.Failure as why:
            assert said in str(why), why
        else:
            raise AssertionError(f"two installations at {where}, {port}")
        finally:
            other.down()
    source = home.directory / "square.cpp"
    source.write_text("#include <virtine/guest.hpp>\nstatic int square(int n) { return n * n; }\n"
                      "VIRTINE_EXPORT(square);\n")

    def vespid_says(*words):
        done = subprocess.run([sys.executable, vespid.HERE / "vespid", words[0], "--dir", home.directory, *words[1:]],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        return done.returncode, done.stdout

    for words, status, said in (
            (("deploy", "mine", source), 0, "mine is deployed: revision"), (("call", "mine", "7"), 0, "49"),
            (("list",), 0, "mine"), (("show", "mine"), 0, '"signature": "i4(i4)"'), (("logs", "mine"), 0, ""),
            (("call", "mine", "x"), 1, "a text is not int"), (("call", "mine", "2", "--async"), 0, '"id"'),
            (("remove", "Mine"), 1, "a-z, 0-9"), (("deploy", "mine", source, "--env", "A"), 1, "NAME=VALUE"),
            (("deploy", "mine"), 2, "file"), (("remove", "mine"), 0, ""), (("show", "mine"), 1, "no such function")):
        found = vespid_says(*words)
        assert found[0] == status and said in found[1], (words, found)


def check_tenants(home):
    owner, caller, other = home.owner(), home.caller(), home.tenant("other", concurrency=1)
    put(owner, "square")
    put(owner, "crash")
    assert call(other, "square", 7)[0] == 404
    assert other.ask("GET", "/functions")["functions"] == []
    assert refused(other, "DELETE", "/functions/square")[0] == 404
    assert call(caller, "square", 7) == (200, 49)
    assert refused(caller, "DELETE", "/functions/square")[0] == 403
    assert refused(caller, "PUT", "/functions/square", b"x")[0] == 403
    assert refused(vespid.Gateway(home.url, "guessed"), "GET", "/functions")[0] == 401
    assert refused(vespid.Gateway(home.url, home.secrets["operator"]), "POST", "/call/square", b"[1]")[0] == 404
    # Where a function faults is its owner's affair.
    problem = refused(owner, "POST", "/call/crash", b"[1]")[1]
    assert problem["code"] == "guest_fault" and "crash" in problem["function"], problem
    problem = refused(caller, "POST", "/call/crash", b"[1]")[1]
    assert set(problem) == {"type", "title", "status", "code"}, problem
    # Values are the tenant's, too.
    assert refused_deployment(owner, "count", grants=[]) == "count keeps values; grant it kv"
    put(owner, "count", grants=["kv"])
    put(other, "count", grants=["kv"])
    assert [call(owner, "count", "a/b")[1] for _ in range(3)] == [1, 2, 3]
    assert call(other, "count", "a/b")[1] == 1
    for key in ("", "*", "a..b", ">", "a b", "x" * 300):
        assert call(owner, "count", key) == (200, -2), key
    script(owner, "kept", "put('k', input); get('k') + get('none')", grants=["kv"])
    assert owner.ask("POST", "/call/kept", b'"v"') == "vundefined"
    script(owner, "not_kept", "put('k', 'v')")
    assert refused(owner, "POST", "/call/not_kept", b"null")[1]["code"] == "hypercall_rejected"


def refused_deployment(gateway, name, **options):
    try:
        put(gateway, name, **options)
    except vespid.Failure as why:
        return str(why).split(": ")[-1]
    raise AssertionError(f"{name} was deployed")


def check_limits(home):
    owner = home.owner()
    assert refused(owner, "POST", "/call/square", b"x" * 150_000)[0] == 413
    # Of somebody unknown, no body is read.
    assert refused(vespid.Gateway(home.url, "guessed"), "PUT", "/functions/square", b"x" * 150_000)[0] == 401
    check_requests(home, owner)
    check_store_of_one(home)
    slow = home.tenant("slow", rate=1)
    assert 429 in [slow.raw("GET", "/functions")[0] for _ in range(8)]
    few = home.tenant("few", concurrency=1)
    put(few, "spin", timeout_ms=700)
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(call(few, "spin")[0])) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(statuses) == [429, 429, 504], statuses


def begin_request(home, token, headers, body):
    link = socket.create_connection(("127.0.0.1", home.port))
    link.sendall(b"POST /call/square HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token.encode() + b"\r\n" +
                 headers + b"\r\n\r\n" + body)
    return link


def check_requests(home, owner):
    # Whose end somebody in front of the gateway could see elsewhere.
    for headers in (b"Content-Length: 3\r\nContent-Length: 40", b"Content-Length: 3\r\nTransfer-Encoding: chunked",
                    b"Content-Length : 3", b"Transfer-Encoding: x, chunked", b"Transfer-Encoding: identity"):
        with begin_request(home, home.token(), headers, b"[2]GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as link:
            link.settimeout(20)
            got = b""
            try:
                while part := link.recv(65536):
                    got += part
            except ConnectionResetError:
                pass
            assert got.startswith(b"HTTP/1.1 400 ") and got.count(b"HTTP/1.1") == 1, (headers, got)
    assert refused(owner, "POST", "/call/squ%61re", b"[2]")[0] == 404
    for options in ('{"timeout_ms": 4294967297}', '{"concurrency": 0.5}', '{"memory": -1}', '{"room": true}',
                    '{"environment": {"A=B": "c"}}', '{"environment": {"A": "\\u0000"}}'):
        assert refused(owner, "PUT", "/functions/square", FUNCTIONS, {"Vespid-Options": options})[0] == 400, options
    for limits in (b'{"rate": 0}', b'{"concurrency": -1}', b'{"functions": 4294967296}'):
        assert refused(home.operator(), "PUT", "/tenants/odd", limits)[0] == 400, limits
    # One tenant's bodies fill their own share of the gateway.
    other = home.tenant("sender")
    put(other, "square")
    links = []

    def is_too_much():
        # Anew: on a machine with much else to do, those of before may have had their time.
        links.extend(begin_request(home, home.token(), b"Content-Length: 99999", b" " * 90_000) for _ in range(5))
        time.sleep(0.02)
        return owner.raw("POST", "/call/square", b"[2]" + b" " * 90_000)[0] == 429

    until(is_too_much, "bodies without end are taken")
    assert other.raw("POST", "/call/square", b"[2]" + b" " * 90_000)[0] == 200
    for each in links:
        each.close()
    until(lambda: owner.raw("POST", "/call/square", b"[2]" + b" " * 90_000)[0] == 200,
          "bodies that are gone still count", tries=200, pause=0.02)


def check_store_of_one(home):
    """A tenant whose durable calls have no room left takes none of another's."""
    hoarder = home.tenant("hoarder")
    put(hoarder, "spin", timeout_ms=200)
    statuses = {hoarder.raw("POST", "/async/spin", b"[]" + b" " * 90_000)[0] for _ in range(40)}
    assert statuses == {202, 503}, statuses
    accepted = home.owner().ask("POST", "/async/square", b"[3]")
    assert await_result(home.owner(), accepted["id"])[2] == b"9"
    hoarder.ask("DELETE", "/functions/spin")


def check_bad_functions(home):
    bad = home.tenant("bad")
    put(bad, "spin", timeout_ms=100)
    status, problem = refused(bad, "POST", "/call/spin", b"[]")
    assert status == 504 and problem["code"] == "timed_out", problem
    put(bad, "flood", timeout_ms=300, grants=["output"])
    assert refused(bad, "POST", "/call/flood", b"[]")[1]["code"] in ("timed_out", "hypercall_limit")
    assert all(len(each.get("output", "")) <= 16384 for each in bad.ask("GET", "/functions/flood/logs"))
    put(bad, "huge", room=1000)
    assert refused_deployment(bad, "huge", room=2 << 20).endswith("compile it with a larger --arguments")
    problem = refused(bad, "POST", "/call/huge", b"x")[1]
    assert problem["code"] == "result_too_large", problem
    put(bad, "crash")
    codes = [refused(bad, "POST", "/call/crash", b"[1]")[1]["code"] for _ in range(25)]
    assert codes == ["guest_fault"] * 20 + ["stopped"] * 5, codes
    put(bad, "crash")  # Deployed anew, it runs.
    assert call(bad, "crash", 0) == (200, 0)
    # Damaged on the way, before it was sent, and in the store.
    assert refused(bad, "PUT", "/functions/square", FUNCTIONS, {"Vespid-Digest": "0" * 64})[0] == 400
    for damaged in (FUNCTIONS[: len(FUNCTIONS) // 2], b"\x7fELF" + bytes(2000), b"x"):
        assert refused(bad, "PUT", "/functions/square", damaged)[0] == 422
    assert refused(bad, "PUT", "/functions/square", FUNCTIONS, {"Vespid-Options": "{"})[0] == 400
    assert refused(bad, "PUT", "/functions/square", FUNCTIONS,
                   {"Vespid-Options": '{"entry": "absent"}'})[0] == 422
    made = put(bad, "square")
    home.publish(f"$KV.vespid-images.bad.square.{made['parts']}.0", FUNCTIONS[:-1] + b"x")
    status, problem = refused(bad, "POST", "/call/square", b"[1]")
    assert status == 503 and problem["code"] == "image_damaged", problem
    put(bad, "square")
    assert call(bad, "square", 3) == (200, 9)


def check_update(home):
    """A call that is under way ends on the version that it began on."""
    owner = home.owner()
    put(owner, "slow", "slow_first", timeout_ms=20000)
    assert call(owner, "square", 1)[0] == 200
    answers = []
    caller = threading.Thread(target=lambda: answers.append(call(owner, "slow", 5)))
    caller.start()
    time.sleep(0.1)
    put(owner, "slow", "slow_second")
    until(lambda: call(owner, "slow", 5) == (200, -5), "the new version is not taken up")
    caller.join()
    assert answers == [(200, 5)], answers


def check_durable(home):
    owner = home.owner()
    put(owner, "count", grants=["kv"])
    first = owner.ask("POST", "/async/count", b'["once"]', {"Idempotency-Key": "one"})
    second = owner.ask("POST", "/async/count", b'["once"]', {"Idempotency-Key": "one"})
    assert first["id"] == second["id"] and second["repeated"] and not first["repeated"], (first, second)
    status, headers, text = await_result(owner, first["id"])
    assert (status, text) == (200, b"1") and headers["Vespid-Deliveries"] == "1", (status, headers, text)
    third = owner.ask("POST", "/async/count", b'["once"]', {"Idempotency-Key": "one"})
    assert third["repeated"] and await_result(owner, third["id"])[2] == b"1"
    # The same key and function of another tenant's are another call.
    namesake = home.tenant("namesake")
    put(namesake, "count", grants=["kv"])
    other = namesake.ask("POST", "/async/count", b'["once"]', {"Idempotency-Key": "one"})
    assert other["id"] != first["id"] and not other["repeated"], other
    put(owner, "crash")
    failed = owner.ask("POST", "/async/crash", b"[1]")
    assert await_result(owner, failed["id"])[0] == 502
    assert refused(owner, "GET", "/result/" + "0" * 32)[0] == 404
    found = refused(home.tenant("curious"), "GET", f"/result/{first['id']}")
    assert found[0] == 404, found


# What is no message of a worker's: of another type, with members of another type, and so deep that to copy it or to
# write it takes more stack than there is.
STRANGE = (b"", b"x", b"[]", b"null", b"7", b'"x"', b"[" * 50_000 + b"]" * 50_000, b'{"code": 7}',
           b'{"code": "guest_fault", "detail": [], "function": {}, "file": 1, "line": "x"}',
           b'{"code": "guest_fault", "detail": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
           b'{"deliveries": "x", "name": []}', b'{"deliveries": -1, "name": null}', b'{"detail": 7, "time": "x", "output": []}',
           b'{"output": ' + b"[" * 50_000 + b"]" * 50_000 + b"}")


def check_false_checks(home, owner):
    """A worker that was taken over does not decide what is deployed."""
    wanted = {"memory": 32 << 20, "timeout_ms": 700, "concurrency": 3, "grants": [], "environment": {"A": "b"}}
    more = {"memory": 1 << 50, "timeout_ms": 4_000_000_000, "concurrency": 4_000_000_000, "room": 1 << 40,
            "grants": ["kv", "clock"], "environment": {"A": "c"}, "digest": "0" * 64, "size": 1, "kind": "shell"}
    for kind, told in (("script", {"entry": "x"}), ("image", {"entry": "x", "signature": "v()", "calling": "bytes"})):
        with FalseWorker(home, "vespid.check.>", lambda text, told=told: (
                b"", json.dumps({**json.loads(text), **more, **told}).encode())):
            vespid.deploy(owner, "false", kind, b"1;", dict(wanted))
        made = owner.ask("GET", "/functions/false")
        assert {each: made[each] for each in wanted} == wanted and made["kind"] == kind, made
        assert (made["size"], made["room"], made["entry"]) == (2, 32 << 10, told["entry"] if kind == "image" else ""), made
    for told in ({"entry": ""}, {"entry": "a\nb"}, {"calling": "other"}, {"signature": "\n"}):
        with FalseWorker(home, "vespid.check.>", lambda _, told=told: (
                b"", json.dumps({"entry": "x", "signature": "v()", "calling": "json", **told}).encode())):
            assert refused(owner, "PUT", "/functions/false", b"2;")[0] == 502, told
    # Nor does what is in the store count, if it is no deployment.
    revision = owner.ask("GET", "/functions/false")["revision"]
    home.publish("$KV.vespid-records.function.strange.false", json.dumps({**made, **more}).encode())
    home.publish("$KV.vespid-records.function.strange.other", b"[]")
    put_script = {"Vespid-Options": '{"kind": "script"}'}
    with FalseWorker(home, "vespid.check.>", lambda text: (b"", text)):
        owner.raw("PUT", "/functions/last", b"1;", put_script)
    names = {each["name"]: each["revision"] for each in owner.ask("GET", "/functions")["functions"]}
    assert names["false"] == revision and "other" not in names and "last" in names, names


def check_loading_apart(_):
    """A worker shows itself while it waits for the store."""
    with Temporary({"worker": {"metrics_port": 0}}) as home:
        owner = home.owner()
        put(owner, "busy", "spin", timeout_ms=1500)
        put(owner, "loads", "square")
        # All slots that a tenant gets.
        callers = [threading.Thread(target=call, args=(owner, "busy")) for _ in range(3)]
        for each in callers:
            each.start()
        until(lambda: "vespid_worker_running 3" in worker_metrics(home), "three calls do not run")
        callers.append(threading.Thread(target=call, args=(owner, "loads", 2)))
        callers[-1].start()
        until(lambda: "vespid_worker_waiting 1" in worker_metrics(home), "the fourth call does not wait")
        log = home.directory / "worker.log"
        failed = log.read_text().count("call.failed")
        nats = home.programs["nats"][0]
        nats.send_signal(signal.SIGSTOP)
        try:
            # They end, and the fourth one loads its function, whose image does not come.
            until(lambda: 'vespid_calls_total{tenant="main",function="busy"} 3' in worker_metrics(home), "the calls do not end")
            for _ in range(3):
                worker_metrics(home)
                assert log.read_text().count("call.failed") == failed, "it showed nothing before the store was given up"
        finally:
            nats.send_signal(signal.SIGCONT)
        for each in callers:
            each.join()
        until(lambda: call(owner, "loads", 3) == (200, 9), "it does not go on", tries=200)


def memory_of(home):
    """Returns the MiB that the worker takes, without and with what of memory files is mapped."""
    status = pathlib.Path(f"/proc/{home.programs['worker'][0].pid}/status").read_text()
    found = {each: int(re.search(rf"{each}:\s+(\d+)", status)[1]) >> 10 for each in ("RssAnon", "VmRSS")}
    return found["RssAnon"], found["VmRSS"]


def check_memory(_):
    """What calls wrote or read is not kept without end, and what one tenant keeps costs others nothing."""
    kept_mib = 96
    with Temporary({"worker": {"kept_mib": kept_mib, "metrics_port": 0}}, slots=3) as home:
        owner, other = home.owner(), home.tenant("other")
        put(other, "square")
        assert call(other, "square", 2) == (200, 4)
        bound = kept_mib << 20

        def is_bounded():
            return int(re.search(r"vespid_worker_memory_bytes (\d+)\n", worker_metrics(home))[1]) <= bound

        # 200 MiB at once; 12 MiB of many machines, and put back as they were; pages that are there for a look.
        for export, arguments, count in (("fill", (200, 1), 2), ("fill", (12, 1), 10), ("fill", (12, 0), 10), ("look", (150,), 3)):
            for i in range(count):
                put_large(owner, f"{export}{i}", export, timeout_ms=20000)
            for _ in range(3):
                callers = [threading.Thread(target=call, args=(owner, f"{export}{i}", *arguments)) for i in range(count)]
                for each in callers:
                    each.start()
                for each in callers:
                    each.join()
            until(is_bounded, f"{export}{arguments}: the worker keeps {memory_of(home)} MiB", tries=200)
            assert memory_of(home)[0] <= kept_mib, memory_of(home)
            for i in range(count):
                assert call(owner, f"{export}{i}", *arguments)[0] == 200
        assert call(other, "square", 3) == (200, 9)
        until(is_bounded, f"the worker keeps {memory_of(home)} MiB", tries=200)
        assert 'vespid_cold_total{tenant="other",function="square"} 1\n' in worker_metrics(home), worker_metrics(home)


def check_strange_messages(home):
    """What a worker sends ends no gateway, whatever it is."""
    owner, gateway = home.tenant("strange"), home.programs["gateway"][0]
    put(owner, "square")
    for i, strange in enumerate(STRANGE):
        for j, record in enumerate((strange, strange + b"\nx")):
            path = f"/result/{i}-{j}"
            home.publish(f"$KV.vespid-results-strange.{i}-{j}", record)
            until(lambda path=path: owner.raw("GET", path)[0] != 404, "the store does not have what was published")
            status = owner.raw("GET", path)[0]
            assert status in (200, 502) or (status, record) == (202, b""), (status, record[:80])
        home.publish("vespid.log.strange.square", strange)
    logged = owner.ask("GET", "/functions/square/logs")
    assert len(logged) == len(STRANGE) and all(set(each) <= {"time", "output", "failure"} for each in logged), logged
    home.kill("worker", 15)
    for strange in STRANGE:
        for error in (b"guest_fault", b"busy", b"x"):
            # Without retries of what is busy, it would take a second for each.
            with FalseWorker(home, "vespid.call.>", lambda _, it=(error, strange): it):
                assert refused(owner, "POST", "/call/square", b"[1]")[0] in (502, 503), strange[:80]
        for error in (b"image_refused", b""):
            if not error and strange.startswith(b"{"):
                continue  # A script's check says nothing that counts.
            with FalseWorker(home, "vespid.check.>", lambda _, it=(error, strange): it):
                status = refused(owner, "PUT", "/functions/strange", b"1;", {"Vespid-Options": '{"kind": "script"}'})[0]
                assert status in (422, 502), (status, strange[:80])
    check_false_checks(home, owner)
    home.start_worker()
    assert gateway.poll() is None, "the gateway has ended"
    until(lambda: call(owner, "square", 3) == (200, 9), "the gateway does not go on", tries=200)


def check_durable_ends(home):
    """No durable call is run without end, and none holds up the others."""
    owner = home.owner()
    put(owner, "square")
    # More than a record may have, by its body and by what a script throws.
    put_large(owner, "big", "big", room=1100 << 10)
    script(owner, "shouts", "throw new Error(Array(200000).join('\\u0001'))", room=256 << 10)
    for name, code, times in (("big", "result_too_large", 17), ("shouts", "script_error", 2)):
        waiting = [owner.ask("POST", f"/async/{name}", b"null")["id"] for _ in range(times)]
        for each in waiting:
            status, headers, text = await_result(owner, each)
            assert (status, json.loads(text)["code"], headers["Vespid-Deliveries"]) == (502, code, "1"), (status, text)
        assert refused(owner, "POST", f"/call/{name}", b"null")[1]["code"] == code
    # No gateway's.
    home.publish("vespid.durable.main.square", b"[1]")
    assert await_result(owner, owner.ask("POST", "/async/square", b"[5]")["id"])[2] == b"25"
    # Workers ended while they ran it.
    put(owner, "fatal", "spin", timeout_ms=20000)
    identity = hashlib.sha256(b"main\nfatal\nkey").hexdigest()[:32]
    home.publish(f"$KV.vespid-results-main.{identity}.runs", b"20")
    assert owner.ask("POST", "/async/fatal", b"[]", {"Idempotency-Key": "key"})["id"] == identity
    until(lambda: 'vespid_cold_total{tenant="main",function="fatal"} 1' in worker_metrics(home), "it does not run")
    home.kill("worker")
    home.start_worker()
    status, headers, text = await_result(owner, identity)
    assert (status, json.loads(text)["code"]) == (502, "given_up") and int(headers["Vespid-Deliveries"]) > 1, text


def check_deployments_of_peers(home):
    """What is no deployment is refused, whoever sends it, and the worker goes on."""
    owner = home.owner()
    put(owner, "square")
    for wrong in (b"[", b'{"kind": 7}', b'{"environment": {"A": 1}}', b'{"grants": "kv"}', b'{"timeout_ms": 0}',
                  b'{"grants": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", *(each for each in STRANGE if each[:1] != b"{")):
        answer = home.request("vespid.check.main.square", wrong)
        assert b"Vespid-Error: bad_deployment" in answer, (wrong, answer)
    assert call(owner, "square", 3) == (200, 9)
    assert home.programs["worker"][0].poll() is None


def check_restarts(home):
    """Durable calls outlive each of the programs; what is called meanwhile is told so."""
    owner = home.owner()
    put(owner, "slow", "slow_first", timeout_ms=20000)
    put(owner, "square")
    waiting = [owner.ask("POST", "/async/slow", json.dumps([i]).encode())["id"] for i in range(2)]
    time.sleep(0.2)
    home.kill("worker")
    status, problem = refused(owner, "POST", "/call/square", b"[3]")
    assert status in (503, 504), problem  # Or NATS did not know yet that it has gone.
    home.kill("gateway")
    home.kill("nats")
    home.start_nats()
    home.start_gateway()
    home.start_worker()
    owner = home.owner()
    until(lambda: call(owner, "square", 3) == (200, 9), "it does not come back", tries=200)
    for i, each in enumerate(waiting):
        status, headers, text = await_result(owner, each)
        assert (status, text) == (200, str(i).encode()), (status, text)
        assert int(headers["Vespid-Deliveries"]) >= 1
    # A server that restarts under programs that go on.
    home.kill("nats", 15)
    home.start_nats()
    until(lambda: call(owner, "square", 4) == (200, 16), "it does not find the server again", tries=400)
    script(owner, "later", "input[0] + 1")
    until(lambda: call(owner, "later", 1) == (200, 2), "the worker does not learn what is deployed", tries=400)


def check_slow_clients(home):
    """Clients that send next to nothing, for long, are let go; others are served meanwhile."""
    owner = home.owner()
    slow = [socket.create_connection(("127.0.0.1", home.port)) for _ in range(20)]
    idle = socket.create_connection(("127.0.0.1", home.port))
    for each in (idle, *slow[:10]):  # A second request is one, too.
        each.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        while not each.recv(1000).endswith(b"ok\n"):
            pass
    gone = set()
    for _ in range(60):
        for each in slow:
            if each in gone:
                continue
            try:
                each.sendall(b"P")
                each.settimeout(0.001)
                if each.recv(100) == b"":
                    gone.add(each)
            except TimeoutError:
                pass
            except OSError:
                gone.add(each)
        assert call(owner, "square", 2) == (200, 4)
        if len(gone) == len(slow):
            break
        time.sleep(0.1)
    for each in slow:
        each.close()
    assert len(gone) == len(slow), f"{len(gone)} of {len(slow)} were let go"
    # One that has asked for nothing meanwhile.
    idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle.recv(1000).startswith(b"HTTP/1.1 200"), "a connection is let go between two requests"
    idle.close()
    # One that asks and does not wait for the answer.
    with socket.create_connection(("127.0.0.1", home.port)) as link:
        link.sendall(b"POST /call/square HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + home.token().encode() +
                     b"\r\nContent-Length: 3\r\n\r\n[2]")
    assert call(owner, "square", 2) == (200, 4)


def check_quotas(home):
    """A tenant fills its share of the store, and nobody else's."""
    owner, hoarder = home.owner(), home.tenant("hoarder")
    room = IMAGES_MAX // 4 // len(FUNCTIONS)
    for i in range(room):
        put(hoarder, f"copy{i}", "square")
    options = {"Vespid-Options": json.dumps({"kind": "image", "entry": "square"})}
    assert refused(hoarder, "PUT", "/functions/more", FUNCTIONS, options)[0] == 403
    put(hoarder, "copy0", "square")
    put(owner, "square")

    script(hoarder, "large", "Array(200000).join('x')", room=250_000)
    hoarded = [json.loads(hoarder.raw("POST", "/async/large", b"null")[2])["id"] for _ in range(DURABLE_MAX // 200_000 + 2)]
    for identity in hoarded[:2]:
        assert await_result(hoarder, identity)[0] == 200
    for i in range(3):
        _, _, text = owner.raw("POST", "/async/square", json.dumps([i]).encode())
        assert await_result(owner, json.loads(text)["id"])[2] == str(i * i).encode()


def together(*acts):
    """Does all at one time. Returns what each has returned, in order."""
    out = [None] * len(acts)

    def act(i):
        out[i] = acts[i]()

    threads = [threading.Thread(target=act, args=(i,)) for i in range(len(acts))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return out


def keys(home, bucket, prefix):
    """Returns the keys of a bucket that begin with this, those of values that are gone among them."""
    subject = f"$KV.{bucket}."
    answer = home.api(f"STREAM.INFO.KV_{bucket}", {"subjects_filter": subject + prefix + ">"})
    return sorted(each.removeprefix(subject) for each in answer["state"].get("subjects", {}))


def images_of(home, gateway, tenant):
    """Returns the keys that the tenant's images have, as the records say."""
    made = [gateway.ask("GET", f"/functions/{each['name']}") for each in gateway.ask("GET", "/functions")["functions"]]
    return sorted(f"{tenant}.{each['name']}.{each['parts']}.{part}"
                  for each in made for part in range(-(-each["size"] // (512 << 10))))


def check_deployments(_):
    """Deployments at one time leave what was deployed in the store, and nothing else."""
    with Temporary({"store": {"images_max": IMAGES_MAX}}) as home:
        check_deployments_of_many(home)


def check_deployments_of_many(home):
    many, url = home.tenant("many", functions=6), home.url
    options = {"Vespid-Options": '{"kind": "script"}'}

    def deploying(name, text, through=url):
        return lambda: vespid.Gateway(through, many.token).raw("PUT", f"/functions/{name}", text, options)[0]

    def removing(name, through=url):
        return lambda: vespid.Gateway(through, many.token).raw("DELETE", f"/functions/{name}")[0]

    def check_store(wanted):
        until(lambda: keys(home, "vespid-images", "many.") == images_of(home, many, "many"),
              "the store has other images than those that are deployed")
        assert len(keys(home, "vespid-images", "many.")) == wanted

    # Of one function, in turn: large ones of two parts each, then the same again and again.
    texts = [b"%d;" % i + b" " * 600_000 for i in range(8)]
    assert together(*(deploying("one", each) for each in texts)) == [201] * 8
    check_store(2)
    assert call(many, "one")[1] in range(8)
    for _ in range(5):
        statuses = together(*(act for _ in range(3) for act in (deploying("one", b"7;"), removing("one"))))
        assert set(statuses) <= {201, 204, 404}, statuses
    assert deploying("one", b"8;")() == 201 and call(many, "one") == (200, 8)
    check_store(1)
    # Of several: no more, and no larger together, than the tenant may have.
    statuses = together(*(deploying(f"f{i}", b"1;") for i in range(12)))
    assert sorted(statuses) == [201] * 5 + [403] * 7, statuses
    check_store(6)
    for each in many.ask("GET", "/functions")["functions"]:
        assert removing(each["name"])() == 204
    half = b"1;" + b" " * (IMAGES_MAX // 4 // 2)
    statuses = together(*(deploying(f"f{i}", half) for i in range(4)))
    assert sorted(statuses) == [201] + [403] * 3, statuses
    check_store(-(-len(half) // (512 << 10)))
    # Through two gateways the first that is done wins.
    other = home.start("other-gateway", [vespid.find_program("vespid-gateway"), "--config", str(home.config)],
                       "gateway.ready")
    through = (url, f"http://127.0.0.1:{other['port']}")
    for i in range(5):
        statuses = together(*(act for each in through for act in (deploying("f0", b"%d;" % i, each), removing("f0", each))))
        assert set(statuses) <= {201, 204, 404, 409}, statuses
    for name in [each["name"] for each in many.ask("GET", "/functions")["functions"]]:
        until(lambda name=name: removing(name)() == 204, "what other gateways deploy cannot be removed")
    assert deploying("f0", b"9;", through[1])() == 201
    until(lambda: call(many, "f0") == (200, 9), "what another gateway deployed cannot be called")
    check_store(1)
    home.kill("other-gateway")
    # What is gone leaves no mark for ever.
    assert removing("f0")() == 204
    check_store(0)
    until(lambda: not keys(home, "vespid-records", "function.many."), "marks of what is gone stay", tries=200)
    assert together(*(deploying("f1", b"%d;" % i) for i in range(2))) == [201] * 2


def check_swept(_):
    """What gateways that ended have left goes, and nothing else; functions of before images had names stay."""
    with Temporary({"store": {"unnamed_kept_seconds": 2}}) as home:
        owner = home.owner()
        put(owner, "square")
        script(owner, "long", "1;" + " " * 600_000)
        text = b"5;"
        old = {"kind": "script", "size": len(text), "digest": hashlib.sha256(text).hexdigest()}
        home.publish(f"$KV.vespid-images.main.old.{old['digest']}.0", text)
        home.publish("$KV.vespid-records.function.main.old", json.dumps(old).encode())
        named = keys(home, "vespid-images", "main.")
        for key in ("main.square.left.0", "main.square.left.1", "main.none.left.0", f"main.none.{old['digest']}.0"):
            home.publish(f"$KV.vespid-images.{key}", b"x")
        home.publish("$KV.vespid-records.function.main.none", b"")
        until(lambda: keys(home, "vespid-images", "main.") == named, "images that no record names stay", tries=200)
        until(lambda: "function.main.none" not in keys(home, "vespid-records", "function.main."), "a mark stays")
        time.sleep(3)
        assert keys(home, "vespid-images", "main.") == named
        until(lambda: call(owner, "old") == (200, 5), "a function of before cannot be called")
        assert call(owner, "square", 3) == (200, 9) and call(owner, "long") == (200, 1)
        script(owner, "old", "6;")
        assert f"main.old.{old['digest']}.0" not in keys(home, "vespid-images", "main.")


def check_many_at_once(home):
    """Calls that come together are all answered, on the connections that there are."""
    crowd = home.tenant("crowd", rate=1e9, concurrency=1000)
    put(crowd, "square", timeout_ms=20_000, concurrency=100)
    before = connections(home)
    body = home.directory / "body"
    body.write_bytes(b"[7]")
    out = subprocess.run(
        [vespid.find_program("vespid-load"), "--port", str(home.port), "--path", "/call/square", "--body", str(body),
         "--clients", "4", "--seconds", "2"],
        env={**os.environ, "VESPID_TOKEN": crowd.token}, stdout=subprocess.PIPE, check=True).stdout
    assert set(json.loads(out)["status"]) == {"200"}, out
    assert connections(home) == before, "connections were lost"


def connections(home):
    """Returns the connections to NATS. One that was made anew is another."""
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = "01"
    return {inode for _, _, to, state, _, _, _, _, _, inode, *_ in rows
            if state == established and int(to.split(":")[1], 16) == home.nats_port}


def worker_metrics(home):
    ready = [json.loads(line) for line in (home.directory / "worker.log").read_text().splitlines() if "metrics" in line]
    worker = vespid.Gateway(f"http://127.0.0.1:{ready[-1]['port']}", "")
    return worker.raw("GET", "/metrics")[2].decode()


def check_seen(home):
    status, headers, page = home.owner().raw("GET", "/")
    assert status == 200 and b"<html" in page and "Content-Security-Policy" in headers
    text = home.operator().raw("GET", "/metrics")[2].decode()
    assert 'vespid_requests_total{tenant="main",function="square",status="200"}' in text, text
    # A call that ends after its function was removed leaves no row.
    put(home.owner(), "gone", "spin", timeout_ms=2500)
    statuses = []
    caller = threading.Thread(target=lambda: statuses.append(call(home.owner(), "gone")[0]))
    caller.start()
    time.sleep(0.1)
    home.owner().ask("DELETE", "/functions/gone")
    assert not statuses, "the call has ended before its function was removed"
    caller.join()
    assert 'function="gone"' not in home.operator().raw("GET", "/metrics")[2].decode(), statuses
    text = worker_metrics(home)
    for wanted in ('vespid_calls_total{tenant="main",function="square"}', "vespid_guest_seconds_total{",
                   "vespid_cold_total{", "vespid_worker_running ", "virtine_pool_machines{"):
        assert wanted in text, (wanted, text)
    for line in (home.directory / "gateway.log").read_text().splitlines():
        assert {"event", "time"} <= set(json.loads(line)), line


def main():
    skip_unless_ready()
    # Nobody calls this one. Were the server's pings not answered nor its own sent, it would be connected anew after 15 s.
    with Temporary() as idle, \
         Temporary({"gateway": {"request_seconds": 2, "body_max": 100_000, "bodies_max": 400_000}, "worker": {"metrics_port": 0},
                    "store": {"redelivery_milliseconds": 3000, "durable_max": DURABLE_MAX, "images_max": IMAGES_MAX}}) as home:
        idle_since, idle_connections = time.monotonic(), connections(idle)
        for check in (check_calls, check_command, check_tenants, check_limits, check_bad_functions, check_update, check_durable,
                      check_durable_ends, check_deployments_of_peers, check_loading_apart, check_memory, check_slow_clients,
                      check_quotas, check_deployments, check_swept, check_many_at_once, check_seen, check_strange_messages, check_restarts):
            begun = time.monotonic()
            try:
                check(home)
            except BaseException:
                for name in ("gateway", "worker"):
                    print((home.directory / f"{name}.log").read_text()[-3000:], file=sys.stderr)
                raise
            print(f"{check.__name__}: ok ({time.monotonic() - begun:.1f} s)", flush=True)
        time.sleep(max(0, 18 - (time.monotonic() - idle_since)))
        assert connections(idle) == idle_connections, "idle connections were lost"
        print("idle: ok", flush=True)


main()
