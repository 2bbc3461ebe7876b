from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mimrun.run.record.key import idempotency_key
from mimrun.run.record.state import CellKey

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
CELLS = st.builds(CellKey, NAMES, NAMES, st.integers(0, 99))


@given(NAMES, CELLS)
def test_a_key_is_short_and_safe_in_a_header_a_file_name_and_a_comment(run: str, cell: CellKey) -> None:
    assert re.fullmatch(r"[a-z2-7]{26}", idempotency_key(run, cell))


@given(NAMES, CELLS, NAMES, CELLS)
def test_cells_share_a_key_only_when_they_are_the_same(
    run: str, cell: CellKey, run2: str, cell2: CellKey
) -> None:
    same = (run, cell) == (run2, cell2)
    assert (idempotency_key(run, cell) == idempotency_key(run2, cell2)) == same


def test_the_key_of_a_cell_never_changes_between_versions_of_mimrun() -> None:
    assert idempotency_key("run-7k2qd9xm", CellKey("3.block.1", "db1", 0)) == "xljihnzv7lkkdzoiqp2dfdl3hw"
