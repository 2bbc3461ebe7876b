"""Finding checkpoints in what a place outside has: many behind each other, among other things, or cut off."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mimrun.log.proof.note import MAX_NAME

# A signature of Ed25519 has 68 bytes with its key's id, which is 92 characters: a shorter line was cut off.
_BASE64: Final = "(?:[A-Za-z0-9+/]{4}){22,900}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})"
_SIGNATURE: Final = rf"(?:— [^ \n]{{1,200}} {_BASE64}\n)"
_NOTE: Final = re.compile(
    rf"^([^\s+]{{1,{MAX_NAME}}})\n([1-9][0-9]{{0,15}})\n([A-Za-z0-9+/]{{43}}=)\n\n{_SIGNATURE}{{1,100}}",
    re.MULTILINE,
)


def find_notes(text: str) -> list[str]:
    """Give every checkpoint that a text holds, in order, unchecked. What is no whole one is passed over."""
    # Mail and tickets change the ends of lines, and may take the last one away.
    plain = text.replace("\r\n", "\n") + "\n"
    return [found[0] for found in _NOTE.finditer(plain)]


def of_log(notes: Iterable[str], origin: str) -> list[str]:
    """Give those of one log: several may share a place."""
    return [note for note in notes if note.partition("\n")[0] == origin]
