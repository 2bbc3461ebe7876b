"""What somebody sent with a form, whatever fields it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, BinaryIO, Final, TypeAlias

from fastapi import Depends, Request

from mimrun.errors import InputError

_FIELDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Given:
    """The fields of a form.

    Arguments:
        texts: by name; of several of one name the last.
        files: by name: what the sender calls the file, and its content.
    """

    texts: Mapping[str, str]
    files: Mapping[str, tuple[str, BinaryIO]] = field(default_factory=dict)

    def text(self, name: str, otherwise: str = "") -> str:
        """Give a field without the space around it."""
        return self.texts.get(name, otherwise).strip()

    def has(self, name: str) -> bool:
        """Say whether a box is ticked."""
        return bool(self.texts.get(name))

    def needed(self, name: str, what: str) -> str:
        """Give a field that must not be empty.

        Arguments:
            what: what is asked for, for the message: "say why".

        Raises:
            InputError: it is.
        """
        if not (text := self.text(name)):
            raise InputError(f"{what}; nothing was done")
        return text

    def below(self, prefix: str) -> dict[str, str]:
        """Give the fields whose names begin so, by the rest of their names, as they were sent."""
        found = self.texts.items()
        return {name.removeprefix(prefix): text for name, text in found if name.startswith(prefix)}

    def files_below(self, prefix: str) -> dict[str, tuple[str, BinaryIO]]:
        """Give the files whose fields begin so, by the rest of their names."""
        found = self.files.items()
        return {name.removeprefix(prefix): file for name, file in found if name.startswith(prefix)}


async def read_given(request: Request) -> AsyncIterator[Given]:
    """Read the form of a request; a field for a file that was left empty is no file."""
    form = await request.form(max_fields=_FIELDS)
    texts: dict[str, str] = {}
    files: dict[str, tuple[str, BinaryIO]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            texts[name] = value.replace("\r\n", "\n")
        elif value.filename:
            files[name] = (value.filename, value.file)
    try:
        yield Given(texts, files)
    finally:
        await form.close()


Form: TypeAlias = Annotated[Given, Depends(read_given)]
"""An argument of a route: what was sent with a form."""
