"""Armour: data as text that a chat, a mail or a ticket cannot hurt without it being noticed.

Found again whatever stands around it, however lines are wrapped, quoted or ended.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import Final, Literal, TypeAlias

from mimrun.errors import InputError

Label: TypeAlias = Literal["APPROVAL REQUEST", "APPROVAL"]

LARGEST_TEXT: Final = 24 * 1024 * 1024
"""Characters of a text that is looked through."""
LARGEST: Final = 64 * 1024 * 1024
"""Bytes of what is unpacked."""
_WIDTH: Final = 64

_NOISE: Final = re.compile("&gt;|[\\s>|\u200b-\u200f\u2028-\u202e\u2060-\u2064\u00ad\ufeff]+")
"""What wrapping, quoting and chats put between, and base64 never has."""
_DASH: Final = "[-\u2010-\u2015\u2212]"
_BLOCK: Final = re.compile(
    f"{_DASH}{{1,5}}BEGINMIMRUN(APPROVALREQUEST|APPROVAL){_DASH}{{1,5}}"
    f"([A-Za-z0-9+/=]+){_DASH}{{1,5}}ENDMIMRUN\\1{_DASH}{{1,5}}"
)
_ANY: Final = re.compile("BEGINMIMRUN(APPROVALREQUEST|APPROVAL)(?![A-Z])")
_CURLED: Final = str.maketrans(
    {**dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"), "\u2026": "..."}
    | {**dict.fromkeys("\u201c\u201d\u201e\u201f", '"'), **dict.fromkeys("\u2018\u2019\u201a\u201b", "'")}
)


def armour(label: Label, data: bytes) -> str:
    """Give data as lines of text between two marks."""
    packed = base64.b64encode(zlib.compress(data, 9)).decode()
    lines = [packed[at : at + _WIDTH] for at in range(0, len(packed), _WIDTH)]
    return "\n".join([f"-----BEGIN MIMRUN {label}-----", *lines, f"-----END MIMRUN {label}-----", ""])


def unarmour(label: Label, text: str) -> bytes:
    """Find the data in a text.

    Raises:
        InputError: there is none, several different ones, or it was damaged on its way.
    """
    if len(text) > LARGEST_TEXT:
        raise InputError(f"this text has more than {LARGEST_TEXT} characters; give only the message with it")
    bare = _NOISE.sub("", text)
    wanted = label.replace(" ", "")
    blocks = {match[2] for match in _BLOCK.finditer(bare) if match[1] == wanted}
    if len(blocks) > 1:
        raise InputError(
            f"this text holds {len(blocks)} of what begins with {_mark(label)}; give one of them"
        )
    if not blocks:
        begun = {match[1] for match in _ANY.finditer(bare)}
        if wanted in begun:
            raise InputError(
                f"what begins with {_mark(label)} is damaged or has no end; copy all of it again"
            )
        other = "; it holds the other half: a request is signed, an approval is imported" if begun else ""
        raise InputError(f"this text holds nothing that begins with {_mark(label)}{other}")
    return _unpack(blocks.pop(), label)


def is_written(wanted: str, text: str) -> bool:
    """Say whether a text stands in front of the data, however it was wrapped and quoted, its dashes and quotes curled."""
    return len(text) <= LARGEST_TEXT and _bare(wanted) in _bare(text).partition("BEGINMIMRUN")[0]


def _bare(text: str) -> str:
    return _NOISE.sub("", text.translate(_CURLED))


def _unpack(packed: str, label: Label) -> bytes:
    damaged = (
        f"what begins with {_mark(label)} was damaged on its way; copy all of it again, to its last line"
    )
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(packed, validate=True), LARGEST)
    except (binascii.Error, ValueError, zlib.error):
        raise InputError(damaged) from None
    if unpacker.unconsumed_tail:
        raise InputError(f"what begins with {_mark(label)} is larger than {LARGEST} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise InputError(damaged)
    return data


def _mark(label: Label) -> str:
    return f"BEGIN MIMRUN {label}"
