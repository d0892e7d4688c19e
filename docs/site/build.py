#!/usr/bin/python3
# Makes a site of the documents and of the headers' comments, by mkdocs and doxygen.
# SPDX-License-Identifier: MIT
"""Build the site: the documents, the sources that they link to, and the API reference."""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import links

HERE = pathlib.Path(__file__).resolve().parent
LANGUAGES = {".cpp": "cpp", ".hpp": "cpp", ".rs": "rust", ".py": "python", ".js": "javascript",
             ".asm": "x86asm", ".wrap": "ini", ".json": "json"}


def target_of(root, page, link):
    """Returns the file or folder of the source tree that a link of a page leads to, or None."""
    path = link.partition("#")[0]
    if not path or "://" in path or path.startswith("mailto:"):
        return None
    return pathlib.Path(os.path.normpath(page.parent / path)).relative_to(root)


def place_of(root, target):
    """Returns the page of the site that shows a file or folder of the source tree."""
    if target == pathlib.Path("README.md"):
        return pathlib.Path("index.md")
    if target == pathlib.Path("include/virtine"):
        return pathlib.Path("api/index.html")
    if (root / target).is_dir():
        readme = target / "README.md"
        return readme if (root / readme).is_file() else target / "index.md"
    return target if target.suffix in (".md", ".pdf") else target.with_name(target.name + ".md")


def text_of(root, target):
    """Returns the Markdown of a page: a document, a source's text, or the names in a folder."""
    path = root / target
    if path.is_dir():
        names = sorted(each.name + "/" * each.is_dir() for each in path.iterdir()
                       if each.name != "__pycache__")
        return f"# {target}\n\n" + "".join(f"- `{name}`\n" for name in names)
    text = path.read_text(encoding="utf-8")
    if target.suffix == ".md":
        return text
    return f"# {target.name}\n\n`{target}`\n\n````{LANGUAGES.get(path.suffix, '')}\n{text}````\n"


def write_pages(root, folder, first):
    """Writes the pages `first` and whatever they lead to."""
    open_targets, seen = list(first), set()
    while open_targets:
        target = open_targets.pop()
        if target in seen:
            continue
        seen.add(target)
        place = place_of(root, target)
        if place.suffix == ".html":
            continue
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".pdf":
            shutil.copy(root / target, folder / place)
            continue
        text = text_of(root, target)
        if target.suffix == ".md":
            def moved(found, page=root / target, place=place):
                to = target_of(root, page, found[2])
                if to is None:
                    return found[0]
                if not (root / to).exists():
                    raise SystemExit(f"{page}: {found[2]} does not exist")
                open_targets.append(to)
                _, sign, anchor = found[2].partition("#")
                return found[1] + os.path.relpath(place_of(root, to), place.parent) + sign + anchor
            text = links.replace(text, moved)
        # Lists may follow a line of text, as on GitHub.
        text = re.sub(r"(?m)^(?![-*|>#\s`]|\d+\.)(.+)\n(?=- )", r"\1\n\n", text)
        (folder / place).write_text(text, encoding="utf-8")


def write_reference(root, folder, version):
    settings = (HERE / "Doxyfile").read_text(encoding="utf-8")
    settings += (f"\nPROJECT_NUMBER = {version}\nINPUT = {root}/include/virtine {HERE}/api.md\n"
                 f"USE_MDFILE_AS_MAINPAGE = {HERE}/api.md\n"
                 f"STRIP_FROM_PATH = {root}/include\nSTRIP_FROM_INC_PATH = {root}/include\n"
                 f"OUTPUT_DIRECTORY = {folder}\nHTML_EXTRA_STYLESHEET = {HERE}/api.css\n")
    subprocess.run(["doxygen", "-"], input=settings, encoding="utf-8", check=True)
    for page in (folder / "api").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        # doxygen 1.9.4 links to the list of nested classes also where all of them are private.
        if 'name="nested-classes"' not in text and "#nested-classes" in text:
            page.write_text(re.sub(r'<a href="#nested-classes">.*?</a>( &#124;)?', "", text),
                            encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=pathlib.Path, help="of the source tree")
    parser.add_argument("site", type=pathlib.Path, help="a folder to make, and to empty before")
    parser.add_argument("version")
    given = parser.parse_args()
    missing = [name for name in ("doxygen", "mkdocs") if not shutil.which(name)]
    if missing:
        print(f"skipped: the site needs {' and '.join(missing)} (apt-get install doxygen mkdocs)")
        return 0
    root = given.root.resolve()
    with tempfile.TemporaryDirectory(prefix="virtine-site-") as work:
        pages = pathlib.Path(work) / "pages"
        pages.mkdir()
        write_reference(root, pages, given.version)
        write_pages(root, pages, map(pathlib.Path, ["README.md"] + [
            f"docs/{each.name}" for each in (root / "docs").glob("*.md")]))
        shutil.copy(HERE / "site.css", pages)
        shutil.copy(HERE / "mkdocs.yml", work)
        shutil.rmtree(given.site, ignore_errors=True)
        subprocess.run(["mkdocs", "build", "--quiet", "--config-file", f"{work}/mkdocs.yml",
                        "--site-dir", str(given.site.resolve())],
                       check=True)
    # For a web server, with addresses from its root.
    (given.site / "404.html").unlink()
    found = links.broken_in_site(given.site)
    print(*found, sep="\n")
    print(f"{given.site}/index.html: {len(found)} broken links")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
