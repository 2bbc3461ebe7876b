"""A review as Markdown, in which nothing that anybody said is markup."""

from __future__ import annotations

import re
from typing import Final

from mimrun.app.review.blocks import Block, Facts, Prose, Section, Table, sections_of, title_of
from mimrun.incident.review import Review
from mimrun.log.export.inert import inert

_MARKUP: Final = re.compile(r"[`*\[\]{}|<>~&$]|(?<![^\W_])_|_(?![^\W_])|://|www\.|@")
"""What could be markup, or make a link, anywhere in a line. A backslash takes the meaning of what follows."""
_WRITTEN: Final = {
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    "://": "&#58;//",
    "www.": "www&#46;",
    "@": "&#64;",
}
_BLOCK: Final = re.compile(r"^(?=[-+#=])|(?<=^\d)(?=[.)])|(?<=^\d\d)(?=[.)])|(?<=^\d{3})(?=[.)])")
"""What would begin a list, a heading or a rule at the beginning of a line."""
_ESCAPE: Final = r"\\"


def as_markdown(review: Review) -> str:
    """Give the page."""
    parts = [f"# {plain(title_of(review))}", *(_section(section) for section in sections_of(review))]
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Give a text of one line that is shown as it is: no markup, no link, no HTML, no character that hides."""
    return _MARKUP.sub(lambda found: _WRITTEN.get(found[0], f"\\{found[0]}"), inert(text.strip()))


def _section(section: Section) -> str:
    return "\n\n".join([f"## {section.title}", *(_block(block) for block in section.blocks)])


def _block(block: Block) -> str:
    match block:
        case Facts():
            return "\n".join(f"- **{plain(name)}:** {plain(text)}" for name, text in block.rows)
        case Prose():
            return f"{plain(block.about)}\n\n" + "\n".join(
                f"> {_BLOCK.sub(_ESCAPE, plain(line))}".rstrip() for line in block.text.splitlines()
            )
        case Table():
            return _table(block) if block.rows else plain(block.empty)


def _table(table: Table) -> str:
    lines = [_line([plain(cell) for cell in table.head]), _line(["---"] * len(table.head))]
    for row in table.rows:
        cells = [plain(cell) for cell in row]
        lines.append(_line([f"**{cells[0]}**", *[""] * (len(table.head) - 1)] if len(cells) == 1 else cells))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
