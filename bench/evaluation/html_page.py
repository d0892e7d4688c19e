# The report as one HTML file that needs no other.
# SPDX-License-Identifier: MIT

import base64
import html

from evaluation.report import Drawing, Heading, Table, Text

STYLE = """
body { font: 15px/1.5 "DejaVu Sans", "Helvetica Neue", Arial, sans-serif; color: #222; margin: 0 auto;
  max-width: 62rem; padding: 1.5rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; margin: .2rem 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ccc; padding-bottom: .2rem; }
h3 { font-size: .95rem; margin: 1.4rem 0 .3rem; }
p { margin: .4rem 0 .6rem; max-width: 54rem; }
figure { margin: 1.4rem 0 .4rem; }
figure img { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1rem; font-size: .84rem; table-layout: fixed; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid #888; }
th, td { padding: .28rem .45rem; vertical-align: top; overflow-wrap: anywhere; }
td { border-bottom: 1px solid #e2e2e2; }
.status { font-weight: 600; display: inline-block; margin-right: .3em; }
.holds::before { content: "\\2713 "; } .holds { color: #00654a; }
.holds-not::before { content: "\\2717 "; } .holds-not { color: #a34500; }
.holds-on-some { color: #555; }
.cannot-be-said-here::before { content: "? "; } .cannot-be-said-here { color: #555; }
.numbers table { font-variant-numeric: tabular-nums; }
@media print { body { max-width: none; font-size: 10pt; } figure { break-inside: avoid; } }
"""


def write(path, blocks, folder):
    """Writes the page of the blocks, with the figures' SVG files from `folder`."""
    title = next(block.text for block in blocks if isinstance(block, Heading))
    body = "\n".join(one(block, folder) for block in blocks)
    path.write_text(f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
""")


def one(block, folder):
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p>{inline(block.parts, block.machine)}</p>"
    if isinstance(block, Drawing):
        svg = base64.b64encode((folder / f"{block.figure.name}.svg").read_bytes()).decode()
        return (f'<figure id="{block.figure.name}"><img alt="{html.escape(block.figure.title)}" '
                f'src="data:image/svg+xml;base64,{svg}"></figure>')
    return table(block)


def table(block):
    columns = "".join(f'<col style="width: {share:.1%}">' for share in block.widths)
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in block.head)
    rows = "\n".join("<tr>" + "".join(f"<td>{cell_of(block, i, cell)}</td>" for i, cell in enumerate(row))
                     + "</tr>" for row in block.rows)
    return f"<table><colgroup>{columns}</colgroup><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"


def cell_of(block, column, cell):
    if isinstance(cell, str):
        return html.escape(cell)
    status, parts = cell
    machine = block.machines[column - block.status - 1] if column > block.status else ""
    kind = status.replace(" ", "-")
    return f'<span class="status {kind}">{status}</span> {inline(parts, machine)}'


def inline(parts, machine):
    """Numbers say what they are of, so that a test can find and check them."""
    return "".join(
        html.escape(part) if isinstance(part, str) else
        f'<span data-of="{html.escape(part[0])}" data-machine="{html.escape(machine)}">{part[1]}</span>'
        for part in parts)
