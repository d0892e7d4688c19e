# What RFC 9110 (sections 5.6.7, 13 and 14) says of a request for a file, from its text and with the
# freedom that it leaves used as the README says. Must not be made from the server's code.
# SPDX-License-Identifier: MIT
"""A reference to compare a server's replies with."""

import datetime
import re

SETTLING = 2
MOST_RANGES = 16
MOST_PARTS = 8
MOST_GAP = 80

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
SHORT = "|".join(day[:3] for day in DAYS)
MONTH = f"(?P<month>{'|'.join(MONTHS)})"
TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
FORMS = [re.compile(form, re.ASCII) for form in (
    rf"(?:{SHORT}), (?P<day>\d\d) {MONTH} (?P<year>\d{{4}}) {TIME} GMT",
    rf"(?:{'|'.join(DAYS)}), (?P<day>\d\d)-{MONTH}-(?P<short>\d\d) {TIME} GMT",
    rf"(?:{SHORT}) {MONTH} (?P<day>\d\d| \d) {TIME} (?P<year>\d{{4}})")]
TAG = r'(?:W/)?"[!#-~\x80-\xff]*"'


def parse_date(text, now):
    """Seconds since 1970, or None."""
    for form in FORMS:
        found = form.fullmatch(text)
        if not found:
            continue
        part = {name: value for name, value in found.groupdict().items() if value is not None}
        month = MONTHS.index(part["month"]) + 1
        day, hour, minute, second = (int(part[name])
                                     for name in ("day", "hour", "minute", "second"))
        if "short" in part:
            # "More than 50 years in the future": then the last one that is past.
            today = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
            limit = (today.year + 50, *today.timetuple()[1:6])
            years = [year for year in range(today.year - 120, today.year + 120)
                     if year % 100 == int(part["short"])
                     and (year, month, day, hour, minute, second) <= limit]
            year = years[-1]
        else:
            year = int(part["year"])
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        length = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
        if not 1 <= day <= length or hour > 23 or minute > 59 or second > 60:
            return None
        if second == 60 and (hour, minute) != (23, 59):
            return None
        # Python's years are from 1 to 9999; 400 years have always the same number of days.
        days = datetime.date(year % 400 + 400, month, day).toordinal() + (year // 400 - 1) * 146097
        return (days - datetime.date(1970, 1, 1).toordinal()) * 86400 + (
            hour * 60 + minute) * 60 + second
    return None


def write_date(seconds):
    at = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return at.strftime(f"{DAYS[at.weekday()][:3]}, %d {MONTHS[at.month - 1]} %Y %H:%M:%S GMT")


def write_rfc850(seconds):
    at = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return at.strftime(f"{DAYS[at.weekday()]}, %d-{MONTHS[at.month - 1]}-%y %H:%M:%S GMT")


def write_asctime(seconds):
    at = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return at.strftime(f"{DAYS[at.weekday()][:3]} {MONTHS[at.month - 1]} {at.day:2} %H:%M:%S %Y")


class File:
    """A file at a time; what a server may say of it."""
    def __init__(self, status, now):
        self.size = status.st_size
        self.settled = status.st_ctime_ns // 10**9 + SETTLING <= now
        self.tag = f'"{status.st_ctime_ns:016x}-{self.size:016x}"' if self.settled else None
        self.modified = min(max(status.st_mtime_ns // 10**9, 0), now)
        self.now = now


def lists_tag(lines, tag, strong):
    """Whether the field lines of If-Match or If-None-Match name the file."""
    value = ",".join(lines).strip(" \t")
    if value == "*":
        return True
    if not re.fullmatch(rf"(?:[ \t]*(?:{TAG})?[ \t]*,)*[ \t]*(?:{TAG})?[ \t]*", value):
        return False
    found = re.findall(TAG, value)
    wanted = [tag] if strong else [tag, f"W/{tag}"]
    return tag is not None and any(each in wanted for each in found)


def single(lines):
    return lines[0].strip(" \t") if len(lines) == 1 else ""


def find_ranges(value, size):
    """None: ignore the field; []: none is satisfiable; or a list of (begin, end)."""
    unit, equals, rest = value.partition("=")
    if unit.lower() != "bytes" or not equals:
        return None
    specs = [spec.strip(" \t") for spec in rest.split(",")]
    specs = [spec for spec in specs if spec]
    if not specs or len(specs) > MOST_RANGES:
        return None
    ranges = []
    for spec in specs:
        found = re.fullmatch(r"([0-9]*)-([0-9]*)", spec)
        if not found or spec == "-":
            return None
        first, last = found[1], found[2]
        if not first:
            if int(last) > 0 and size == 0:
                return None
            if int(last) > 0:
                ranges.append((max(size - int(last), 0), size))
        elif last and int(last) < int(first):
            return None
        elif int(first) < size:
            ranges.append((int(first), min(int(last) + 1 if last else size, size)))
    return ranges


def coalesce(ranges):
    """The parts that are sent, in the order in which they are asked for, or None if too many."""
    clusters = []  # [begin, end, which one of `ranges` it is of]
    for begin, end, at in sorted((*each, at) for at, each in enumerate(ranges)):
        if clusters and begin - clusters[-1][1] <= MOST_GAP:
            clusters[-1][1] = max(clusters[-1][1], end)
            clusters[-1][2] = min(clusters[-1][2], at)
        else:
            clusters.append([begin, end, at])
    if len(clusters) > MOST_PARTS:
        return None
    return [(begin, end) for begin, end, _ in sorted(clusters, key=lambda each: each[2])]


def expect(method, fields, file):
    """What a server replies: its status, and which parts of the file, each (begin, end)."""
    def lines(name):
        return [value for each, value in fields if each.lower() == name]

    def date(name):
        return parse_date(single(lines(name)), file.now)

    # 13.2.2, step by step.
    if lines("if-match"):
        if not lists_tag(lines("if-match"), file.tag, strong=True):
            return 412, []
    elif date("if-unmodified-since") is not None:
        if file.modified > date("if-unmodified-since"):
            return 412, []
    if lines("if-none-match"):
        if lists_tag(lines("if-none-match"), file.tag, strong=False):
            return 304, []
    elif date("if-modified-since") is not None and file.settled:
        if file.modified <= date("if-modified-since"):
            return 304, []
    whole = 200, [(0, file.size)]
    if method != "GET" or not lines("range"):
        return whole
    ranges = find_ranges(single(lines("range")), file.size)
    if ranges is None:
        return whole
    if lines("if-range"):
        condition = single(lines("if-range"))
        at = parse_date(condition, file.now)
        same = file.settled and (condition == file.tag or (
            at == file.modified and file.modified + SETTLING <= file.now))
        if not same or not ranges:
            return whole
    if not ranges:
        return 416, []
    parts = coalesce(ranges)
    return (206, parts) if parts else whole
