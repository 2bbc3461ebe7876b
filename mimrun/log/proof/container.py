"""The file of a bundle: a zip without compression, each byte of which is given by what is in it.

So there is one file for one content: a verifier that makes heads and directory anew finds every byte that was
changed, also where unpacking would not notice. Any program that unpacks zips can read it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mimrun.errors import InputError
from mimrun.log.proof.standalone.form import Place, head_of, tail_of

MAX_MEMBER: Final = 0xFFFFFFFE
"""Bytes of one member."""


class Container:
    """A new bundle file; a context manager that leaves no file behind where something goes wrong.

    Arguments:
        path: the file to make; only its owner may read it.

    Raises:
        FileExistsError: it is there already.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("xb")
        self._path.chmod(0o600)
        self._places: list[Place] = []
        self.digests: dict[str, str] = {}
        """`sha256:<hex>` over each member's content, by its name; not of blobs, which are named by what they hold."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        written = False
        try:
            if kind is None:
                self._file.write(tail_of(self._places, self._file.tell()))
                self._file.flush()
                written = True
        finally:
            self._file.close()
            if not written:
                self._path.unlink(missing_ok=True)

    def add(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a member.

        Arguments:
            name: as the format allows it; no other member has it.
            pieces: its content.

        Raises:
            InputError: it is too large for a bundle.
        """
        at = self._file.tell()
        start = at + len(head_of(Place(name, 0, 0, 0))) + len(name)
        self._file.write(bytes(start - at))
        digest, checksum, size = hashlib.sha256(), 0, 0
        for piece in pieces:
            digest.update(piece)
            checksum = zlib.crc32(piece, checksum)
            size += len(piece)
            if size > MAX_MEMBER:
                raise InputError(
                    f"{name} has more than 4 GB and does not fit into a bundle; export incidents one by one"
                )
            self._file.write(piece)
        place = Place(name, checksum, start, start + size)
        self._file.seek(at)
        self._file.write(head_of(place) + name.encode())
        self._file.seek(place.end)
        self._places.append(place)
        if not name.startswith("blobs/"):
            self.digests[name] = "sha256:" + digest.hexdigest()
