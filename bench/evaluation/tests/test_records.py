#!/usr/bin/python3
# Damaged and missing data: each is one message that says what is wrong, and no report.
# SPDX-License-Identifier: MIT

import json
import pathlib
import tarfile
import tempfile
import unittest

from samples import RECORDED, copy_to, evaluation

from evaluation import archive, reference
from evaluation.failure import Failure
from evaluation.summary import summarise


class Damaged(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = copy_to(directory.name)
        self.csv = self.folder / "data" / "call.csv"
        self.json = self.folder / "data" / "call.json"

    def refuses(self, words, path=None):
        with self.assertRaises(Failure) as caught:
            archive.read(path or self.folder)
        self.assertIn(words, str(caught.exception))

    def test_the_recorded_one_is_whole(self):
        machine = archive.read(self.folder)
        self.assertGreater(len(machine.rows), 200)
        self.assertGreater(machine.get("call.floor").p50, 0)

    def test_a_sample_that_is_no_number(self):
        self.csv.write_text(self.csv.read_text().replace("call.cold,us,sample,", "call.cold,us,sample,x", 1))
        self.refuses("not a sample")

    def test_a_sample_that_is_not_finite(self):
        self.csv.write_text(self.csv.read_text() + "call.cold,us,sample,inf\n")
        self.refuses("not a sample")

    def test_a_line_that_was_cut_off(self):
        text = self.csv.read_text()
        self.csv.write_text(text[:text.rindex(",")])
        self.refuses("the file is damaged")

    def test_samples_that_were_cut_off(self):
        lines = self.csv.read_text().splitlines()
        self.csv.write_text("\n".join(lines[:-3]) + "\n")
        self.refuses("a part of the file is missing")

    def test_rows_that_were_cut_off(self):
        lines = self.csv.read_text().splitlines()
        self.csv.write_text("\n".join(lines[:40]) + "\n")
        self.refuses("not of one run")

    def test_no_samples(self):
        self.csv.write_text(self.csv.read_text().splitlines()[0] + "\n")
        self.refuses("no samples")

    def test_another_file(self):
        self.csv.write_text("a,b\n1,2\n")
        self.refuses("its first line is not")

    def test_samples_of_another_run(self):
        report = json.loads(self.json.read_text())
        report["rows"][0]["median"] *= 1.5
        self.json.write_text(json.dumps(report))
        self.refuses("is not the one that was reported")

    def test_a_report_that_was_cut_off(self):
        self.json.write_text(self.json.read_text()[:100])
        self.refuses("not a report of a benchmark program")

    def test_a_report_without_its_samples(self):
        self.csv.unlink()
        self.refuses("data/call.csv is missing")

    def test_bytes_that_are_no_text(self):
        self.csv.write_bytes(b"\xff\xfe" + self.csv.read_bytes())
        self.refuses("not a text")

    def test_no_machine(self):
        (self.folder / "machine.json").unlink()
        self.refuses("it has no machine.json")

    def test_a_damaged_machine(self):
        (self.folder / "machine.json").write_text('{"doctor": 1}')
        self.refuses("is damaged")

    def test_no_data(self):
        for path in (self.folder / "data").iterdir():
            path.unlink()
        self.refuses("it has no data")

    def test_a_half_of_an_archive(self):
        path = archive.write(self.folder)
        whole = path.read_bytes()
        path.write_bytes(whole[:len(whole) // 2])
        self.refuses("or only a part of one", path)

    def test_a_file_that_is_no_archive(self):
        path = self.folder / "a.tar"
        path.write_text("no archive")
        self.refuses("not an archive of an evaluation", path)

    def test_an_archive_whose_names_lead_elsewhere(self):
        path = self.folder / "a.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(RECORDED / "machine.json", "../../machine.json")
        self.refuses("it has no machine.json", path)

    def test_the_program_says_so_in_one_line(self):
        self.json.write_text("{")
        status, said = evaluation("report", self.folder)
        self.assertEqual(status, 1)
        self.assertEqual(len(said.strip().splitlines()), 1, said)
        self.assertIn("data/call.json: not a report", said)

    def test_a_missing_file(self):
        status, said = evaluation("merge", self.folder / "no.tar", "--out", self.folder / "out")
        self.assertEqual(status, 1)
        self.assertIn("no.tar: not an archive", said)


class Authors(unittest.TestCase):
    def test_their_data(self):
        authors = reference.load()
        self.assertEqual(len(authors), 10)
        # 9,975 cycles at 2.1 GHz: what the paper has.
        self.assertAlmostEqual(authors["gold"].get("fig8:wasp_create_cache_async").p50, 4.75, places=2)

    def test_damaged_ones(self):
        text = (reference.FOLDER / "authors.csv").read_text()
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "authors.csv"
            path.write_text(text[:2000].rsplit(",", 3)[0] + "\n")
            with self.assertRaisesRegex(Failure, "not a series of the authors' data"):
                reference.load(path)
            path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("gold,")))
            with self.assertRaisesRegex(Failure, "lacks the paper's own machine"):
                reference.load(path)


class Summaries(unittest.TestCase):
    def test_quantiles(self):
        made = summarise("us", [float(value) for value in range(1, 101)], first=7.0)
        self.assertEqual((made.min, made.p5, made.p25, made.p50, made.p75, made.p95, made.p99, made.max),
                         (1, 5, 25, 50.5, 75, 95, 99, 100))
        self.assertEqual((made.n, made.first, made.mean), (100, 7, 50.5))

    def test_one_sample(self):
        made = summarise("KiB", [3.0])
        self.assertEqual((made.min, made.p5, made.p50, made.p99, made.max), (3, 3, 3, 3, 3))


if __name__ == "__main__":
    unittest.main()
