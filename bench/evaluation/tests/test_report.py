#!/usr/bin/python3
# The report of the recorded evaluation: every figure is there with our series and the authors', the
# numbers in its texts are those of the samples, and a browser shows it without complaint.
# SPDX-License-Identifier: MIT

import csv
import html
import json
import math
import re
import shutil
import statistics
import subprocess
import tempfile
import unittest

from samples import copy_to, evaluation

from evaluation import figures, main, reference
from evaluation.archive import read
from evaluation.claims import CLAIMS, HOLDS, HOLDS_NOT, HOLDS_ON_SOME, UNKNOWN, judge, judge_theirs

# Seconds of a load that short runs do not have.
LATER = re.compile(r"vespid\.waves\.\w+\.([2-9]|1\d)")
SPAN = re.compile(r'<span data-of="([^"]+)" data-machine="([^"]*)">([^<]+)</span>')


def medians(folder):
    """Returns {row: {field: value}} of all samples, computed without the evaluation's code."""
    samples, firsts = {}, {}
    for path in (folder / "data").glob("*.csv"):
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                if line["kind"] == "sample":
                    samples.setdefault(line["row"], []).append(float(line["value"]))
                else:
                    firsts[line["row"]] = float(line["value"])
    return {row: {"p50": statistics.median(values), "min": min(values), "max": max(values),
                  "p99": sorted(values)[math.ceil(0.99 * len(values)) - 1], "first": firsts.get(row)}
            for row, values in samples.items()}


def authors():
    """Returns {machine: {key: median in us}}, computed without the evaluation's code."""
    found = {}
    with (reference.FOLDER / "authors.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            key = f"{line['figure']}:{line['series'].replace(' ', '_')}"
            key += f":{line['point']}" if line["point"] else ""
            by = {"cycles": 1000 * float(line["tsc_ghz"]), "us/1000 requests": 1000}.get(line["unit"], 1)
            found.setdefault(line["machine"], {})[key] = float(line["p50"]) / by
    return found


def expected(expression, ours, theirs):
    """Evaluates what a number in a text says it is."""
    how, _, rest = expression.partition(" ")
    if how in ("min", "max"):
        values = []
        for machine in theirs:
            try:
                values.append(expected(rest.replace("@*", "@" + machine), ours, theirs))
            except KeyError:
                pass
        return {"min": min, "max": max}[how](values)

    def term(text):
        if text.startswith("@"):
            machine, _, key = text[1:].partition(":")
            return theirs[machine][key]
        row, _, field = text.partition("|")
        return ours[row][field or "p50"]

    words = expression.split()
    value = term(words[0])
    for sign, word in zip(words[1::2], words[2::2]):
        value = value / term(word) if sign == "/" else value - term(word)
    return value


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.folder = copy_to(cls.directory.name)
        cls.status, cls.said = evaluation("report", cls.folder)
        cls.page = (cls.folder / "report.html").read_text() if cls.status == 0 else ""
        cls.machine = read(cls.folder)
        cls.authors = reference.load()

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def test_it_is_made(self):
        self.assertEqual(self.status, 0, self.said)

    def test_every_figure_is_there(self):
        for figure in figures.FIGURES:
            svg = (self.folder / "figures" / f"{figure.name}.svg").read_text()
            self.assertIn("<svg", svg)
            png = (self.folder / "figures" / f"{figure.name}.png").read_bytes()
            self.assertTrue(png.startswith(b"\x89PNG"))
            self.assertIn(f'<figure id="{figure.name}">', self.page)

    def test_every_figure_has_our_series_and_theirs(self):
        for figure in figures.FIGURES:
            with (self.folder / "figures" / f"{figure.name}.csv").open(newline="") as file:
                keys = {(line["machine"], line["key"]) for line in csv.DictReader(file)}
            for _, ours, theirs in figure.series():
                if ours and not ours.startswith(("node.", "beside.")) and not LATER.fullmatch(ours):
                    self.assertIn((self.machine.title, ours), keys)
                if theirs:
                    self.assertIn(theirs, {key for machine, key in keys if machine in self.authors})

    def test_what_was_published_of_others_is_beside(self):
        with (self.folder / "figures" / "fig15.csv").open(newline="") as file:
            lines = {line["key"]: line for line in csv.DictReader(file)}
        theirs = reference.published()["vespid"]
        for name in ("Vespid", "OpenWhisk"):
            line = lines[f"published:vespid:{name}"]
            self.assertEqual([float(line["p50"]), float(line["p99"])], [theirs[name]["p50_us"], theirs[name]["p99_us"]])

    def test_numbers_are_those_of_the_samples(self):
        ours, theirs = medians(self.folder), authors()
        found = [tuple(map(html.unescape, each)) for each in SPAN.findall(self.page)]
        self.assertGreater(len(found), 80)
        for expression, _, text in found:
            value, shown = expected(expression, ours, theirs), float(text.replace(",", ""))
            # Three digits are shown.
            self.assertAlmostEqual(shown, value, delta=0.006 * abs(value) + 1e-12, msg=expression)

    def test_no_number_is_left_out_of_a_text(self):
        self.assertNotIn("{{", self.page)
        self.assertNotIn("is missing, so the rest is not said", self.page)

    def test_claims(self):
        claims = json.loads((self.folder / "claims.json").read_text())
        self.assertEqual([each["claim"] for each in claims],
                         ["C1", "C2", "C3", "C4", "C4, complete", "C5", "C6", "C7", "C8", "Vespid", "Effort"])
        for each in claims:
            self.assertIn(each["authors"]["status"], (HOLDS, HOLDS_NOT, HOLDS_ON_SOME, UNKNOWN))
            self.assertIn(each["here"][0]["status"], (HOLDS, HOLDS_NOT, UNKNOWN))
            self.assertTrue(each["here"][0]["why"])

    def test_claims_by_the_authors_data(self):
        # What is known of their data.
        wanted = {"C2": HOLDS, "C3": HOLDS, "C4": HOLDS, "C4, complete": HOLDS_NOT, "C7": HOLDS_NOT,
                  "C1": HOLDS_ON_SOME, "Vespid": HOLDS, "Effort": UNKNOWN}
        for claim in CLAIMS:
            if claim.name in wanted:
                self.assertEqual(judge_theirs(claim, self.authors).status, wanted[claim.name], claim.name)

    def test_pdf(self):
        pdf = (self.folder / "report.pdf").read_bytes()
        self.assertTrue(pdf.startswith(b"%PDF-"))
        pages = len(re.findall(rb"/Type /Page\b", pdf))
        self.assertGreater(pages, 8)

    def test_archive(self):
        again = read(self.folder / "evaluation.tar")
        self.assertEqual(set(again.rows), set(self.machine.rows))

    def test_page_needs_no_other_file(self):
        for link in re.findall(r'(?:src|href)="([^"]*)"', self.page):
            self.assertTrue(link.startswith("data:"), link)

    def test_in_a_browser(self):
        browser = shutil.which("chromium") or shutil.which("chromium-browser")
        if not browser:
            self.skipTest("chromium is not installed")
        with tempfile.TemporaryDirectory() as profile:
            done = subprocess.run(
                [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                 f"--user-data-dir={profile}", "--dump-dom", (self.folder / "report.html").as_uri()],
                capture_output=True, text=True, timeout=240, check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        self.assertIn('<figure id="fig11">', done.stdout)
        complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        self.assertEqual(complaints, [])


class Incomplete(unittest.TestCase):
    """A report of which an experiment is missing."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = copy_to(directory.name)
        self.authors = reference.load()

    def without(self, *names):
        for name in names:
            for suffix in ("json", "csv"):
                (self.folder / "data" / f"{name}.{suffix}").unlink(missing_ok=True)
        (self.folder / "missing.json").write_text(json.dumps({name: "no nasm here" for name in names}))
        return read(self.folder)

    def test_no_claim_holds_without_its_figure(self):
        for claim in CLAIMS:
            with self.subTest(claim.name):
                needed = figures.BY_NAME[claim.figure].needs[0]
                verdict = judge(claim, self.without(needed), self.authors)
                self.assertEqual(verdict.status, UNKNOWN)
                self.assertIn("no nasm here", "".join(verdict.parts))
                self.folder = copy_to(tempfile.mkdtemp(dir=self.folder))

    def test_its_figure_says_why(self):
        machine = self.without("boot")
        figures.save(figures.BY_NAME["table1"], [machine], self.authors, self.folder / "figures")
        self.assertTrue((self.folder / "figures" / "table1.svg").exists())
        self.assertEqual(figures.drawable(figures.BY_NAME["table1"], [machine]).why,
                         "not measured here: no nasm here")
        self.assertEqual(figures.sentences(figures.BY_NAME["table1"], [machine], self.authors), [])

    def test_a_figure_that_does_not_exist(self):
        with self.assertRaisesRegex(main.Failure, "there is no figure fig99"):
            main.needed(["fig99"])


if __name__ == "__main__":
    unittest.main()
