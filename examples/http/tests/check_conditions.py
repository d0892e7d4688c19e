#!/usr/bin/python3
# Asks a server of this folder on conditions and for ranges, and compares all that it says with what
# model.py does. Must not know how the server decides.
# SPDX-License-Identifier: MIT
"""usage: check_conditions.py PROGRAM"""

import itertools
import os
import random
import re
import sys
import time

import model
from serving import replies, serving

TEXT = bytes(range(256)) * 4
FILES = {"text.txt": TEXT, "empty": b"", "one": b"x"}
PAST = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
SEED = 9110


def get(target, fields, method="GET"):
    lines = [f"{method} /{target} HTTP/1.1", "Host: a",
             *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def ask_all(server, asked):
    """Asks many things on one connection after the other. Yields each with its reply."""
    for begin in range(0, len(asked), 200):
        some = asked[begin:begin + 200]
        heads = {i for i, (_, _, method) in enumerate(some) if method == "HEAD"}
        got = replies(server.ask(b"".join(get(*each) for each in some)), heads)
        assert len(got) == len(some), "not every request has a reply"
        yield from zip(some, got)


def parts_of(reply):
    """Takes a reply of several parts apart (RFC 2046): what each says, and its bytes."""
    boundary = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]{1,70})",
                            reply.fields["content-type"])[1].encode()
    before, *parts, after = (b"\r\n" + reply.body).split(b"\r\n--" + boundary)
    assert before in (b"", b"\r\n") and after == b"--\r\n", (before, after)
    found = []
    for part in parts:
        head, _, content = part.partition(b"\r\n\r\n")
        kind, at = re.fullmatch(rb"\r\nContent-Type: ([^\r]+)\r\nContent-Range: bytes ([^\r]+)",
                                head).groups()
        begin, end, size = re.fullmatch(r"(\d+)-(\d+)/(\d+)", at.decode()).groups()
        assert len(content) == int(end) - int(begin) + 1
        found.append((int(begin), int(end) + 1, int(size), kind.decode(), content))
    return found


def check_reply(server, asked, reply):
    name, fields, method = asked
    what = f"{method} {name} {fields}: {reply.status} {reply.fields}"
    content = FILES[name]
    now = model.parse_date(reply.fields["date"], 0)
    file = model.File(os.stat(server.directory / name), now)
    status, parts = model.expect(method, fields, file)
    assert reply.status == status, f"{what}; not {status}"
    said = reply.fields
    kind = "text/plain; charset=utf-8" if name == "text.txt" else "application/octet-stream"
    if "last-modified" in said:
        assert said["last-modified"] == model.write_date(file.modified), what
    if status in (200, 206):
        # The reply to If-Range has only what the client does not have (15.3.7).
        is_short = status == 206 and any(each == "If-Range" for each, _ in fields)
        assert said.get("etag") == file.tag, what
        assert ("accept-ranges" in said) == (not is_short), what
        assert ("last-modified" in said) == (file.settled and not is_short), what
        assert said.get("accept-ranges", "bytes") == "bytes", what
    if status in (200, 206) and len(parts) == 1:
        sent = content[slice(*parts[0])]
        assert reply.body == (sent if method == "GET" else b""), what
        assert int(said["content-length"]) == len(sent), what
        assert said.get("content-type") == (None if is_short else kind), what
        begin, end = parts[0]
        wanted = f"bytes {begin}-{end - 1}/{len(content)}" if status == 206 else None
        assert said.get("content-range") == wanted, what
    elif status == 206:
        assert "content-range" not in said, what
        assert parts_of(reply) == [(begin, end, len(content), kind, content[begin:end])
                                   for begin, end in parts], what
    elif status == 304:
        assert reply.body == b"" and said.get("etag") == file.tag, what
        assert set(said) <= {"date", "etag", "connection"}, what
    elif status == 416:
        assert said["content-range"] == f"bytes */{len(content)}" and reply.body == b"", what
    else:
        assert reply.body == (b"412 Precondition Failed\n" if method == "GET" else b""), what


def check_all(server, asked):
    for each, reply in ask_all(server, asked):
        check_reply(server, each, reply)


def dates(around):
    """Dates in all forms, and what is none."""
    forms = (model.write_date, model.write_rfc850, model.write_asctime)
    near = [form(around + by) for form in forms for by in (-1, 0, 1)]
    this = time.gmtime().tm_year
    years = [f"Sunday, 06-Nov-{year % 100:02} 08:49:37 GMT" for year in range(this, this + 100)]
    # Around the very limit of 50 years, by more than the time that passes here.
    limit = time.gmtime(time.time() + 86400)
    months = [f"Sunday, {limit.tm_mday:02}-{month}-{(this + 50) % 100:02} 00:00:00 GMT"
              for month in model.MONTHS]
    odd = ["Sun, 29 Feb 2000 00:00:00 GMT", "Sun, 29 Feb 1900 00:00:00 GMT",
           "Sun, 29 Feb 2023 00:00:00 GMT", "Sun, 31 Apr 1994 00:00:00 GMT",
           "Sun, 00 Nov 1994 00:00:00 GMT", "Sun, 32 Jan 1994 00:00:00 GMT",
           "Sat, 31 Dec 2016 23:59:60 GMT", "Sat, 31 Dec 2016 22:59:60 GMT",
           "Sat, 31 Dec 2016 23:59:61 GMT", "Sun, 06 Nov 2094 24:00:00 GMT",
           "Sun, 06 Nov 2094 08:60:00 GMT", "Sat, 01 Jan 0000 00:00:00 GMT",
           "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT",
           "Wed, 31 Dec 1969 23:59:59 GMT", "Mon, 06 Nov 2094 08:49:37 GMT",
           "sun, 06 Nov 2094 08:49:37 GMT", "Sun, 06 nov 2094 08:49:37 GMT",
           "Sun, 06 Nov 2094 08:49:37 gmt", "Sun, 06 Nov 2094 08:49:37 UTC",
           "Sun, 06 Nov 2094 08:49:37 +0000", "Sun, 06 Nov 2094 08:49:37",
           "Sun, 6 Nov 2094 08:49:37 GMT",
           "Sun, 06  Nov 2094 08:49:37 GMT", "Sun,06 Nov 2094 08:49:37 GMT",
           "Sun, 06 Nov 94 08:49:37 GMT",
           "Sun, 06 Nov 20940 08:49:37 GMT", "Sun, 06 Nov 2094 8:49:37 GMT",
           "Sun, 06 Nov 2094 08:49:37 GMT x",
           "Sun, 06 Nov 2094 08:49:37 GMT, Sun, 06 Nov 2094 08:49:37 GMT",
           "Sun, +6 Nov 2094 08:49:37 GMT", "Sun, 06 Nov -094 08:49:37 GMT",
           "Son, 06 Nov 2094 08:49:37 GMT",
           "Sunday, 06-Nov-2094 08:49:37 GMT", "Sun, 06-Nov-94 08:49:37 GMT",
           "Sunday 06-Nov-94 08:49:37 GMT",
           "Sunday, 6-Nov-94 08:49:37 GMT", "Sunday, 29-Feb-74 08:49:37 GMT",
           "Sunday, 30-Feb-94 08:49:37 GMT",
           "Sunday, 06-Nov-94 08:49:37 GMT ", "Sun Nov  6 08:49:37 2094",
           "Sun Nov 06 08:49:37 2094",
           "Sun Nov 6 08:49:37 2094", "Sun Nov  0 08:49:37 2094", "Sun Nov 16 08:49:37 2094",
           "Sun Nov  6 08:49:37 2094 GMT", "Sun Nov  6 08:49:37 94", "Sun Nov 31 08:49:37 2094",
           "Sun", "Sun,", "Sun ", "Sunday", "Sunday,", "", "0", "*", "yesterday", '"x"']
    return near + years + months + odd


def check_dates(server):
    """Every date in every field that has one, beside the date of a file: of 1994, and of 2026."""
    fields = [[("If-Modified-Since", date)] for date in dates(PAST)]
    fields += [[("If-Unmodified-Since", date)] for date in dates(PAST)]
    fields += [[("If-Range", date), ("Range", "bytes=1-2")] for date in dates(PAST)]
    check_all(server, [("text.txt", each, method) for each in fields for method in ("GET", "HEAD")])


def tags(own):
    weak = f"W/{own}"
    return [["*"], [own], [weak], ['"x"'], [f'"x", {own}'], [f'"x,", {weak} , "y"'], [f'"x",{own}'],
            [f',, ,{own},,'], [""], [","], ['"x"', own], [weak, '"x"'], ["", own], ["*", own],
            ["*", "*"], [f"*, {own}"], [f"{own}, *"], ["**"], [own[:-1]], [own[1:]],
            [own.strip('"')],
            [f"{own}{own}"], [f"{own} {own}"], [f"{own};x"], [f"w/{own}"], [f"W/ {own}"], ["W/"],
            [f"W/W/{own}"], [f"'{own}'"], [own.upper()], ['""'], ['"'], [f'x, {own}'],
            [f'{own}, x'],
            [f'"a b", {own}'], [f'"\xe4", {own}'], [f'"a\tb", {own}'], [f'"\\", {own}'],
            [", ".join(f'"{i}"' for i in range(400)) + f", {own}"], ["*, "], [" , *"]]


def check_tags(server):
    for name in FILES:
        file = model.File(os.stat(server.directory / name), time.time())
        asked = [[(field, line) for line in lines] for lines in tags(file.tag)
                 for field in ("If-Match", "If-None-Match", "if-none-MATCH")]
        asked += [[("If-Range", line) for line in lines] + [("Range", "bytes=0-0")]
                  for lines in tags(file.tag)]
        check_all(server, [(name, each, method) for each in asked for method in ("GET", "HEAD")])


RANGES = ["0-0", "5-9", "1000-", "-3", "-99999", "0-99999999999999999999999", "1023-", "1024-",
          "99999999999999999999999-", "-0", "-00", "00-00", "007-0000009", "0-", "-1",
          "18446744073709551615-18446744073709551616", "18446744073709551616-18446744073709551615",
          "18446744073709551616-", "-18446744073709551616",
          "9223372036854775807-9223372036854775808",
          "99999999999999999999999-99999999999999999999998", "2-1", "", "-", "a-b", "1", "--1",
          "1-2x",
          "1-2-3", " 1-2", "1 -2", "1- 2", "1-2 ", "+1-2", "0x1-2", "1-2;", "1-2,4-5", "1-2, 4-5",
          "1-2 ,\t4-5", ",1-2", "1-2,", ",,1-2,,4-5,,", ",", "0-1,500-501", "0-1,82-83",
          "0-1,83-84",
          "500-600,0-10", "500-600,580-700,400-510", "0-,-5", "-5,0-", "0-0,-1", "2000-,0-1",
          "2000-,-0", "2000-3000,4000-", "0-1,2-1", "0-1,x", "1-2,1-2,1-2",
          ",".join(["0-1"] * 16), ",".join(["0-1"] * 17), ",".join("0-" for _ in range(1000)),
          ",".join(f"{i}-{i}" for i in range(0, 900, 100)),
          ",".join(f"{i}-{i}" for i in range(0, 800, 100)),
          ",".join(f"{i}-{i + 9}" for i in range(900, 100, -100)),
          "900-901,0-1,500-501,450-451,5-5",
          ",".join(f"{i}-{i}" for i in [*range(0, 800, 100), *range(10, 800, 100)]),
          "0-0,400-400,100-300",
          "-1,0-0", "0-0,2000-,-1", ",".join(f"{i}-{i}" for i in range(0, 32, 2)),
          ",".join(f"{i}-{i}" for i in range(30, -2, -2))]


def check_ranges(server):
    values = [f"{unit}={each}" for unit in ("bytes", "Bytes", "lines", "byte", "")
              for each in RANGES]
    values += ["bytes", "bytes 0-1", "bytes:0-1", "bytes =0-1", "0-1", "bytes=0-1, bytes=2-3"]
    asked = [[("Range", value)] for value in values]
    numbers = random.Random(SEED)
    for _ in range(1000):
        ranges = [numbers.choice([f"{a}-{a + numbers.randrange(60)}", f"{a}-", f"-{a % 50}"])
                  for a in (numbers.randrange(1100) for _ in range(numbers.randrange(1, 12)))]
        asked.append([("Range", "bytes=" + ",".join(ranges))])
    asked += [[("Range", "bytes=0-1"), ("Range", "bytes=0-1")],
              [("Range", "bytes=0-1")] * 3, [("Range", "bytes=0-1"), ("Range", "")]]
    check_all(server, [(name, each, method) for name in FILES for each in asked
                       for method in ("GET", "HEAD")])


def check_large(server):
    """Ranges that are sent in several turns."""
    size = 5_000_000
    FILES["large"] = random.Random(SEED).randbytes(size)
    (server.directory / "large").write_bytes(FILES["large"])
    check_all(server, [("large", [("Range", f"bytes={each}")], "GET") for each in (
        "1000000-1499999", "-4000000", f"{size - 1}-", f"{size}-", "0-999999,1000000-1999999",
        "3000000-4999999,0-2999900", "-1,0-0", ",".join(f"{i}-{i + 500_000}" for i in range(
            0, size, 700_000)))])


def check_combinations(server):
    """A product of all fields: every pair of values, and a sample of the whole."""
    name = "text.txt"
    file = model.File(os.stat(server.directory / name), time.time())
    own, same = file.tag, file.modified
    lists = [None, "*", own, f"W/{own}", '"x"', f'"x", {own}', "x", ""]
    times = [None, model.write_date(same), model.write_rfc850(same - 1),
             model.write_asctime(same + 1),
             model.write_date(same - 86400), "x"]
    axes = {"If-Match": lists, "If-Unmodified-Since": times, "If-None-Match": lists,
            "If-Modified-Since": times,
            "Range": [None, "bytes=1-2", "bytes=5000-", "bytes=2-1", "bytes=0-1,900-901", "x=1"],
            "If-Range": [None, own, f"W/{own}", '"x"', model.write_date(same),
                         model.write_asctime(same), model.write_date(same + 1), "x"]}
    numbers = random.Random(SEED)
    picks = [tuple(numbers.choice(values) for values in axes.values()) for _ in range(4000)]
    for (i, first), (j, second) in itertools.combinations(enumerate(axes.values()), 2):
        for one, other in itertools.product(first, second):
            pick = [None] * len(axes)
            pick[i], pick[j] = one, other
            picks.append(tuple(pick))
    asked = []
    for pick in picks:
        fields = [(field, value) for field, value in zip(axes, pick) if value is not None]
        numbers.shuffle(fields)
        asked.append((name, fields, numbers.choice(["GET", "GET", "GET", "HEAD"])))
    check_all(server, asked)


def check_precedence(server):
    """Conditions count only for what would succeed (13.2.1)."""
    for field in ('If-Match: "x"', "If-None-Match: *",
                  "If-Unmodified-Since: " + model.write_date(0)):
        field = tuple(field.split(": ", 1))
        for target, method, status in [("nothing", "GET", 404), ("", "DELETE", 405),
                                       ("", "BREW", 501), ("../x", "GET", 400)]:
            [reply] = replies(server.ask(get(target, [field], method)))
            assert reply.status == status, (target, method, field, reply.status)


def check_unsettled(server):
    """A file that has just changed has no validators, so that nothing stale is ever the same."""
    path = server.directory / "young"
    seen = 0
    for turn in range(40):
        FILES["young"] = b"%03d" % turn
        path.write_bytes(FILES["young"])
        os.utime(path, (PAST, PAST))  # Which a time of modification does not tell.
        fields = [[], [("If-Match", "*")], [("If-None-Match", "*")], [("If-None-Match", '""')],
                  [("If-Match", '"x"')], [("If-Modified-Since", model.write_date(PAST))],
                  [("If-Unmodified-Since", model.write_date(PAST))],
                  [("If-Unmodified-Since", model.write_date(PAST - 1))], [("Range", "bytes=1-1")],
                  [("Range", "bytes=1-1"), ("If-Range", model.write_date(PAST))],
                  [("Range", "bytes=1-1"), ("If-Range", "")]]
        check_all(server, [("young", each, method) for each in fields
                           for method in ("GET", "HEAD")])
        [reply] = replies(server.ask(get("young", [])))
        seen += "etag" not in reply.fields and "last-modified" not in reply.fields
    assert seen > 0, "no file was seen young"
    server.wait_for_validators("young")
    [old] = replies(server.ask(get("young", [])))
    path.write_bytes(b"abc")  # Of the same size, and, below, of the same time of modification.
    os.utime(path, (PAST, PAST))
    FILES["young"] = b"abc"
    server.wait_for_validators("young")
    tag = old.fields["etag"]
    check_all(server, [("young", [("If-None-Match", tag)], "GET"),
                       ("young", [("If-Match", tag)], "GET"),
                       ("young", [("If-Range", tag), ("Range", "bytes=0-0")], "GET")])
    [new] = replies(server.ask(get("young", [("If-None-Match", tag)])))
    assert new.status == 200 and new.body == b"abc", "what was written later is taken for the same"


def check_times(server):
    """What is said of files of many times, the future among them."""
    times = [0, 68_169_600, PAST, 951_782_400, 951_868_800, 1_704_067_199, int(time.time()) + 10**6,
             4_107_455_999, 4_107_542_400, 10_000_000_000, -1, -10**9]
    names = [f"time{i}" for i in range(len(times))]
    for name, seconds in zip(names, times):
        FILES[name] = b"x"
        (server.directory / name).write_bytes(b"x")
        os.utime(server.directory / name, (seconds, seconds))
    server.wait_for_validators(*names)
    asked = []
    for name, seconds in zip(names, times):
        for at in (0, seconds, int(time.time()), 4_000_000_000):
            date = model.write_date(min(max(at, 0), 9_000_000_000))
            asked += [(name, [(field, date)], "GET")
                      for field in ("If-Modified-Since", "If-Unmodified-Since")]
            asked.append((name, [("If-Range", date), ("Range", "bytes=0-0")], "GET"))
    check_all(server, [(name, [], method) for name in names for method in ("GET", "HEAD")] + asked)
    for _, reply in ask_all(server, [(name, [], "GET") for name in names]):
        assert (model.parse_date(reply.fields["last-modified"], 0)
                <= model.parse_date(reply.fields["date"], 0)), "modified in the future"


def check_model():
    """The reference itself, by examples from the RFC's text."""
    assert {model.parse_date(text, 10**9) for text in (
        "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994")} == {PAST}
    assert model.find_ranges("bytes=0-499", 10000) == [(0, 500)]
    assert model.find_ranges("bytes=-500", 10000) == model.find_ranges("bytes=9500-", 10000)
    assert model.find_ranges("bytes=0-0,-1", 10000) == [(0, 1), (9999, 10000)]
    assert model.find_ranges("bytes= 0-999, 4500-5499, -1000", 10000) == [
        (0, 1000), (4500, 5500), (9000, 10000)]
    # The table of 8.8.3.2.
    for one, other, strong, weak in [('W/"1"', '"1"', False, True), ('"1"', '"1"', True, True),
                                     ('W/"2"', '"1"', False, False)]:
        assert model.lists_tag([one], other, strong=True) == strong
        assert model.lists_tag([one], other, strong=False) == weak


def main(program):
    check_model()
    with serving(program, "--threads", "1") as server:
        for name, content in FILES.items():
            (server.directory / name).write_bytes(content)
            os.utime(server.directory / name, (PAST, PAST))
        server.wait_for_validators(*FILES)
        for check in (check_dates, check_tags, check_ranges, check_large, check_combinations,
                      check_precedence,
                      check_times, check_unsettled):
            begin = time.monotonic()
            check(server)
            print(f"{check.__name__}: {time.monotonic() - begin:.1f} s")
        errors = server.end()
        assert errors == "", errors
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
