"""Host names as inventories write them: with a port, and with ranges that stand for many names."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Final

MAX_HOSTS: Final = 100_000
"""One line of an inventory stands for at most so many hosts."""

MAX_RANGES: Final = 8
"""One name holds at most so many ranges."""

_BRACKETS: Final = re.compile(r"\[[^\]]*\]")
_NAME_RANGE: Final = re.compile(r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]", re.IGNORECASE)
_HEX_RANGE: Final = re.compile(r"(?<![^:.])\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\](?![^:.])", re.IGNORECASE)
_LABEL: Final = re.compile(r"(?!.*[_-]$)\w[\w-]*")
_BYTE: Final = re.compile(r"[01]?[0-9]{1,2}|2[0-4][0-9]|25[0-5]")
_HEX: Final = re.compile(r"[0-9a-fA-F]{1,4}")
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_STEP: Final = re.compile(r"-?[0-9]{1,9}")


def mask_brackets(text: str) -> str:
    """Give the text with every complete `[…]` written over, so that only outer characters are seen."""
    return _BRACKETS.sub(lambda found: "x" * len(found[0]), text)


def split_port(text: str) -> tuple[str, int | None] | None:
    """Take a host's port off its name.

    Arguments:
        text: `web1`, `web1:2222`, `[fe80::1]:2222`, `web[1:3]:2222`, `fe80::1`.

    Returns:
        name and port (None without one); None when the text is no host name or address at all.
    """
    port = None
    if text.startswith("["):
        inner, separator, digits = text[1:].rpartition("]:")
        if separator and inner and _DIGITS.fullmatch(digits):
            text, port = inner, int(digits)
    head, separator, digits = mask_brackets(text).rpartition(":")
    if separator and _DIGITS.fullmatch(digits) and not set(head) & set(":[]"):
        text, port = text[: len(head)], int(digits)
    return (text, port) if _is_name(text) or _is_ipv6(text) else None


def expand_hosts(text: str) -> tuple[Sequence[str], int | None]:
    """Give the names that one entry of an inventory stands for, and their port.

    Arguments:
        text: a name, or a name with ranges: `web[01:20]`, `db[a:f]`, `node[0:10:2].[a:b]`.

    Raises:
        ValueError: a range cannot be read, is empty, or stands for too many hosts.
    """
    split = split_port(text)
    name, port = split or (text, None)
    if name.count("[") > MAX_RANGES:
        raise ValueError(f"{text!r} has more than {MAX_RANGES} ranges")
    return _expand(name), port


def is_address(text: str) -> bool:
    """Say whether a text is an IPv4 or IPv6 address and no name."""
    parts = text.split(".")
    return (len(parts) == 4 and all(_BYTE.fullmatch(part) for part in parts)) or _is_ipv6(text)


def _is_name(text: str) -> bool:
    return all(_LABEL.fullmatch(label) for label in _NAME_RANGE.sub("0", text).split("."))


def _is_ipv6(text: str) -> bool:
    text = _HEX_RANGE.sub("a", text).lower()
    if "." in text:
        # IPv4 in IPv6, in the few spellings that Ansible knows.
        found = re.fullmatch(r"(?:(?:0:){6}|::(?:ffff:)?|(?:0:){5}ffff:)([^:]+)", text)
        return found is not None and found[1].count(".") == 3 and _all_hex(found[1].split("."))
    left, gap, right = text.partition("::")
    before = left.split(":") if left else []
    after = right.split(":") if right else []
    if not gap:
        return len(before) == 8 and _all_hex(before)
    short = len(before) <= 6 and len(after) <= 6 and len(before) + len(after) <= 7
    return short and _all_hex(before) and _all_hex(after)


def _all_hex(parts: Sequence[str]) -> bool:
    return all(_HEX.fullmatch(part) for part in parts)


def _expand(name: str) -> list[str]:
    start, end = name.find("["), name.find("]")
    if start < 0:
        return [name]
    if end < start or "|" in name:
        raise ValueError(
            f"the range in {name!r} cannot be read; write it as [first:last] or [first:last:step]"
        )
    values = _values(name[start + 1 : end])
    tails = _expand(name[end + 1 :])
    if len(values) * len(tails) > MAX_HOSTS:
        raise ValueError(f"{name!r} stands for more than {MAX_HOSTS} hosts")
    return [name[:start] + value + tail for value in values for tail in tails]


def _values(text: str) -> Sequence[str]:
    parts = text.split(":")
    if len(parts) not in (2, 3):
        raise ValueError(f"the range [{text}] must be [first:last] or [first:last:step]")
    first, last = parts[0] or "0", parts[1]
    step = int(parts[2]) if len(parts) == 3 and _STEP.fullmatch(parts[2]) else 1 if len(parts) == 2 else 0
    if not last or step == 0:
        raise ValueError(f"the range [{text}] needs a last value and, when it has one, a step other than 0")
    letters = string.ascii_letters
    if first in letters and last in letters:
        values: Sequence[str] = letters[letters.index(first) : letters.index(last) + 1 : step]
    elif _DIGITS.fullmatch(first) and _DIGITS.fullmatch(last):
        values = _numbers(text, first, last, step)
    else:
        raise ValueError(f"the range [{text}] must go from number to number or from letter to letter")
    if not values:
        raise ValueError(f"the range [{text}] is empty: its first value comes after its last")
    return values


def _numbers(text: str, first: str, last: str, step: int) -> Sequence[str]:
    width = len(first) if first.startswith("0") and len(first) > 1 else 0
    if width and width != len(last):
        raise ValueError(
            f"the range [{text}] begins with zeros: write its last value with {width} digits too"
        )
    numbers = range(int(first), int(last) + 1, step)
    if len(numbers) > MAX_HOSTS:
        raise ValueError(f"the range [{text}] stands for more than {MAX_HOSTS} hosts")
    return [str(number).zfill(width) for number in numbers]
