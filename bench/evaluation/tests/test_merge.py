#!/usr/bin/python3
# Archives of two machines become one report that has both.
# SPDX-License-Identifier: MIT

import json
import pathlib
import tempfile
import unittest

from samples import RECORDED, copy_to

from evaluation import archive, figures, html_page, reference, report
from evaluation.claims import UNKNOWN, judged


class Merge(unittest.TestCase):
    def test_two_machines(self):
        with tempfile.TemporaryDirectory() as directory:
            other = copy_to(directory)
            for path in (other / "data").glob("*.json"):
                content = json.loads(path.read_text())
                if content["machine"]["kvm"] != "none":
                    content["machine"] |= {"cpu": "AMD EPYC 7763", "kvm": "kvm_amd"}
                path.write_text(json.dumps(content))
            about = json.loads((other / "machine.json").read_text()) | {"emulated": "svm by QEMU"}
            (other / "machine.json").write_text(json.dumps(about))

            machines = [archive.read(RECORDED), archive.read(archive.write(other))]
            self.assertEqual(machines[1].title, "AMD EPYC 7763 (kvm_amd, emulated)")
            authors = reference.load()
            folder = pathlib.Path(directory) / "figures"
            folder.mkdir()
            for name in figures.BY_NAME:
                if name in ("fig8", "fig11", "fig15"):
                    figures.save(figures.BY_NAME[name], machines, authors, folder)
                else:
                    (folder / f"{name}.svg").write_text("<svg/>")
            html_page.write(folder / "report.html", report.blocks(machines, authors), folder)
            page = (folder / "report.html").read_text()
            for machine in machines:
                # In the claims, and beneath every figure.
                self.assertGreater(page.count(machine.title), len(figures.FIGURES))
            self.assertIn("This host is emulated (svm by QEMU)", page)
            table = (folder / "fig8.csv").read_text()
            for machine in machines:
                self.assertIn(machine.title, table)
            for claim, _, ours in judged(machines, authors):
                self.assertEqual(len(ours), 2)
                # Of times an emulated host can say nothing.
                self.assertEqual(ours[1].status, UNKNOWN if claim.is_of_times else ours[0].status)
                if claim.is_of_times and ours[0].status != UNKNOWN:
                    self.assertIn("this host is emulated", ours[1].parts[0])


if __name__ == "__main__":
    unittest.main()
