"""The lab's inventory text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mimrun.lab import inventory

names = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True).filter(
    lambda n: n not in {"on", "off", "y", "n"}
)
leaves = st.one_of(
    st.text(
        st.characters(
            codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\x85\u2028\u2029\ufeff"
        )
    ),
    st.integers(-(2**31), 2**31),
    st.lists(st.from_regex(r"[ -~]*", fullmatch=True)),
)
trees = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=12)


@given(st.dictionaries(names, trees, min_size=1, max_size=4))
def test_what_is_written_is_what_yaml_reads(tree: dict[str, inventory.Value]) -> None:
    assert YAML(typ="safe", pure=True).load(inventory.write(tree)) == tree


@pytest.mark.parametrize("text", ["yes", "1.0", "0x10", "{{ x }}", "- a", "a: b", "#c", "'", '"', ""])
def test_a_text_stays_a_text(text: str) -> None:
    assert YAML(typ="safe", pure=True).load(inventory.write({"a": text})) == {"a": text}
