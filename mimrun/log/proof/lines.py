"""A whole log as lines of canonical JSON, which is a source for verifying like any other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mimrun.log.chain import Claim, StoredBlob, StoredCheckpoint, StoredRow
from mimrun.log.merkle import leaf_hash
from mimrun.log.proof.stored import seq_of
from mimrun.log.redaction import Redaction


class Lines:
    """A whole log as lines of canonical JSON, one entry a line; a `Source` without blobs.

    Arguments:
        lines: the lines, with or without their line ends.
    """

    log = ""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)

    def rows(self, after: int = 0) -> Iterator[StoredRow]:
        """The lines as rows, each at the place that it says, if that is borne out by the next one."""
        lines = (line.removesuffix(b"\n") for line in self._lines)
        data = next(lines, None)
        while data is not None:
            following = next(lines, None)
            after = _place(seq_of(data), after + 1, None if following is None else seq_of(following))
            yield StoredRow(after, data, leaf_hash(data))
            data = following

    def stored_blob(self, commit: str) -> StoredBlob | None:
        """Lines bring no blobs with them."""
        return None

    def redactions(self) -> Iterator[Redaction]:
        """Lines bring no blobs with them, so none can have been erased."""
        return iter(())

    def keeps_blobs(self) -> bool:
        """Lines bring no blobs with them, so none can be missed."""
        return False

    def claim(self) -> Claim | None:
        """Lines say nothing of their end."""
        return None

    def checkpoints(self, after: int = 0) -> Iterator[StoredCheckpoint]:
        """Lines bring no checkpoints with them."""
        return iter(())

    def faults(self) -> tuple[str, ...]:
        """Lines have no file that could be damaged apart from them."""
        return ()


def _place(said: int | None, due: int, said_next: int | None) -> int:
    """Where a line stands: where it says, unless what it says was changed.

    Arguments:
        said: the place that the line says, if it says one.
        due: the place that comes next.
        said_next: the place that the line behind it says.
    """
    if said is None or said == due or said_next == due + 1:
        return due
    return said if said_next == said + 1 or said > due else due
