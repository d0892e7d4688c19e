#!/usr/bin/python3
# Checks links without a network: those between documents, and those between the pages of a site.
# SPDX-License-Identifier: MIT
"""Find links that lead to no file, or to no heading of one."""

import argparse
import html.parser
import os
import pathlib
import re
import sys
import urllib.parse

FENCE = re.compile(r"^(`{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)
# A link of Markdown up to its address, and its address.
LINK = re.compile(r"(\]\()([^()\s]+)(?=\))")


def replace(text, change):
    """Returns Markdown with change(match) for each link that is not in a block of code."""
    out, at = "", 0
    for fence in FENCE.finditer(text):
        out += LINK.sub(change, text[at:fence.start()]) + fence[0]
        at = fence.end()
    return out + LINK.sub(change, text[at:])


def anchors_of(text):
    """Returns the anchors that GitHub gives the headings of a document."""
    found = set()
    for heading in re.findall(r"^#+ +(.*?)\s*$", FENCE.sub("", text), re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while anchor + f"-{number}" * bool(number) in found:
            number += 1
        found.add(anchor + f"-{number}" * bool(number))
    return found


def broken_in_markdown(root):
    """Returns what is wrong with the links of the documents of a source tree."""
    found = []
    documents = [root / "README.md"]
    for folder in ("bench", "docs", "examples", "guests", "tests"):
        documents += sorted((root / folder).rglob("*.md"))
    # Of the site, with its pages' names.
    documents.remove(root / "docs" / "site" / "api.md")
    for document in documents:
        def look(link, document=document):
            path, _, anchor = link[2].partition("#")
            target = pathlib.Path(os.path.normpath(document.parent / path)) if path else document
            if re.match(r"[a-z]+:", link[2]):
                return link[0]
            if not target.exists():
                found.append(f"{document}: {link[2]} does not exist")
            elif anchor and anchor not in anchors_of(target.read_text(encoding="utf-8")):
                found.append(f"{document}: {link[2]} has no such heading")
            return link[0]
        replace(document.read_text(encoding="utf-8"), look)
    return found


class Page(html.parser.HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def broken_in_site(site):
    """Returns what is wrong with the links between the pages of a site."""
    site = site.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8", errors="replace"))
             for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path
            if parts.path:
                target = pathlib.Path(os.path.normpath(path.parent /
                                                       urllib.parse.unquote(parts.path)))
            if target.is_dir():
                target /= "index.html"
            anchor = urllib.parse.unquote(parts.fragment)
            if not target.is_file():
                found.append(f"{path.relative_to(site)}: {link} does not exist")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                found.append(f"{path.relative_to(site)}: {link} has no such anchor")
    return found


def self_test():
    """Shows what is a link, and what a heading's anchor."""
    seen = []
    replace("[a](b.md#c) `x`\n```\n[d](e)\n```\n[f](g)\n", lambda link: seen.append(link[2]) or "")
    assert seen == ["b.md#c", "g"], seen
    assert anchors_of("# What of C and C++?\n## `errc::a_b`\n## x\n## x\n") == {
        "what-of-c-and-c", "errca_b", "x", "x-1"}
    page = Page('<a href="x#y">z</a><h1 id="w">')
    assert page.links == ["x#y"] and page.anchors == {"w"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", type=pathlib.Path, metavar="ROOT", help="of a source tree")
    parser.add_argument("--site", type=pathlib.Path, help="a folder of pages")
    given = parser.parse_args()
    self_test()
    found = []
    if given.markdown:
        found += broken_in_markdown(given.markdown)
    if given.site:
        found += broken_in_site(given.site)
    print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
