"""A review as one HTML file: no script, nothing fetched from anywhere, readable on a screen and on paper."""

from __future__ import annotations

import html
from typing import Final

from mimrun.app.review.blocks import Block, Facts, Prose, Section, Table, sections_of, title_of
from mimrun.app.shown.text import safe
from mimrun.incident.review import Review

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Whoever opens the file is asked for nothing, and nobody else is told that they did."""
_STYLE: Final = """\
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 22%, transparent); }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 70rem; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); break-after: avoid; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.25rem; margin: 0; }
dt { font-weight: 600; }
dd { margin: 0; overflow-wrap: anywhere; }
p { margin: .9rem 0 .3rem; }
blockquote { margin: 0; padding: .2rem 0 .2rem 1rem; border-left: 3px solid var(--line); white-space: pre-wrap; overflow-wrap: anywhere; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92em; }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
thead th { font-weight: 600; white-space: nowrap; }
td { min-width: 4rem; font-variant-numeric: tabular-nums; }
.dated td:first-child { white-space: nowrap; }
.dated td:last-child { overflow-wrap: anywhere; }
tr.gap td { font-style: italic; text-align: center; background: color-mix(in srgb, currentColor 7%, transparent); }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  .table { overflow: visible; }
  tr { break-inside: avoid; }
  thead { display: table-header-group; }
}
"""


def as_html(review: Review) -> str:
    """Give the page."""
    title = _text(title_of(review))
    body = "\n".join(_section(section) for section in sections_of(review))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f"<section>\n<h2>{_text(section.title)}</h2>\n{blocks}\n</section>"


def _block(block: Block) -> str:
    match block:
        case Facts():
            rows = "\n".join(f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>" for name, text in block.rows)
            return f"<dl>\n{rows}\n</dl>"
        case Prose():
            return f"<p>{_text(block.about)}</p>\n<blockquote>{_text(block.text)}</blockquote>"
        case Table():
            return _table(block) if block.rows else f"<p>{_text(block.empty)}</p>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in table.head)
    rows = "\n".join(_row(row, len(table.head)) for row in table.rows)
    kind = "table dated" if table.dated else "table"
    return f'<div class="{kind}"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'


def _row(row: tuple[str, ...], columns: int) -> str:
    if len(row) == 1:
        return f'<tr class="gap"><td colspan="{columns}">{_text(row[0])}</td></tr>'
    return "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>"


def _text(text: str) -> str:
    return html.escape(safe(text))
