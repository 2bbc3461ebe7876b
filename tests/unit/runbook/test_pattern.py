"""Host patterns: what they name, in which order, and what is said when they name nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import InventoryError
from mimrun.runbook.hostname import MAX_HOSTS, expand_hosts, is_address, split_port
from mimrun.runbook.pattern import LOCALHOSTS, MAX_LENGTH, Names, select_hosts, split_pattern

NAMES = Names(
    hosts=("bastion", "web1", "web2", "web3", "db1", "db2"),
    groups={
        "all": ("bastion", "web1", "web2", "web3", "db1", "db2"),
        "ungrouped": ("bastion",),
        "web": ("web1", "web2", "web3"),
        "db": ("db1", "db2"),
        "zone_a": ("db1", "web1"),
        "frozen": ("web1",),
        "empty": (),
    },
)


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("all", "bastion web1 web2 web3 db1 db2"),
        ("*", "bastion web1 web2 web3 db1 db2"),
        ("web:db", "web1 web2 web3 db1 db2"),
        ("db,web", "db1 db2 web1 web2 web3"),
        ("web:&zone_a:!frozen", ""),
        ("web:db:&zone_a:!frozen", "db1"),
        ("!frozen:&zone_a:web:db", "db1"),
        ("!web", "bastion db1 db2"),
        ("web*", "web1 web2 web3"),
        ("*1", "web1 db1"),
        ("~(web|db)2", "web2 db2"),
        ("~web\\d+", "web1 web2 web3"),
        ("web[0]", "web1"),
        ("web[-1]", "web3"),
        ("web[0:1]", "web1 web2"),
        ("web[1:]", "web2 web3"),
        ("web[5:9]", ""),
        ("web3,web", "web3 web1 web2"),
        ("web:nothing", "web1 web2 web3"),
        ("empty", ""),
        ("localhost", "localhost"),
        ("web1,localhost,127.0.0.1", "web1 localhost"),
        ("all:localhost:!web:!db", "bastion localhost"),
    ],
)
def test_patterns_name_these_hosts_in_this_order(pattern: str, hosts: str) -> None:
    assert select_hosts(NAMES, pattern) == tuple(hosts.split())


@pytest.mark.parametrize(
    ("pattern", "terms"),
    [
        ("a:b", ("a", "b")), ("a, b ,,c", ("a", "b", "c")), ("a b", ("a", "b")), ("web[0:2]:db", ("web[0:2]", "db")),
        ("web[0:2]", ("web[0:2]",)), ("fe80::1", ("fe80::1",)), ("a:b,c", ("a:b", "c")), ("web:22", ("web:22",)),
        ("1:2:3:4:5:6:7:8", ("1:2:3:4:5:6:7:8",)), ("::ffff:1.2.3.4", ("::ffff:1.2.3.4",)), ("web:&db", ("web", "&db")),
        ("[x", ("x",)), ("", ()), (" : ", ()),
    ],
)  # fmt: skip
def test_patterns_are_split_at_commas_or_else_at_colons(pattern: str, terms: tuple[str, ...]) -> None:
    assert split_pattern(pattern) == terms


def test_the_inventorys_own_name_for_this_machine_is_used() -> None:
    names = Names(("127.0.0.1",), {"all": ("127.0.0.1",)}, localhost="127.0.0.1")
    assert select_hosts(names, "localhost") == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("web:!frozn", "no host or group matches 'frozn' in the host pattern 'web:!frozn'; did you mean 'frozen'?"),
        ("wbe1", "no host or group matches 'wbe1' in the host pattern 'wbe1'; did you mean 'web1'?"),
        ("web,db:zone_a", "split at ',' or at ':', not at both"),
        ("x*", "list what there is"),
        ("zzz", "allowed here: all, bastion, db"),
    ],
)  # fmt: skip
def test_a_strict_pattern_must_name_something_with_every_term(pattern: str, message: str) -> None:
    select_hosts(NAMES, pattern)
    with pytest.raises(InventoryError) as caught:
        select_hosts(NAMES, pattern, strict=True)
    assert message in str(caught.value)


def test_every_unknown_term_is_reported_at_once() -> None:
    with pytest.raises(InventoryError) as caught:
        select_hosts(NAMES, "wbe:!frozn", strict=True)
    assert len(str(caught.value).splitlines()) == 2


def test_an_empty_group_is_known_and_names_nobody() -> None:
    assert select_hosts(NAMES, "empty", strict=True) == ()


@pytest.mark.parametrize(
    "pattern", ["", "  ", ",", ":", "[", "!", "&", "web:!", "~(", "web[7]", "web[-4]", "a" * (MAX_LENGTH + 1)]
)
def test_patterns_without_a_meaning_are_refused_and_never_mean_all(pattern: str) -> None:
    with pytest.raises(InventoryError):
        select_hosts(NAMES, pattern)


@given(st.text("webdh1*?[]0:,&!~.- \\()", max_size=20))
def test_a_selection_has_known_hosts_without_repetition_or_an_error(pattern: str) -> None:
    try:
        found = select_hosts(NAMES, pattern)
    except InventoryError:
        return
    assert len(set(found)) == len(found)
    assert set(found) <= {*NAMES.hosts, *LOCALHOSTS}


@pytest.mark.parametrize(
    ("text", "hosts", "port"),
    [
        ("web", ["web"], None),
        ("web:22", ["web"], 22),
        ("web[01:03]", ["web01", "web02", "web03"], None),
        ("web[1:10:4]:22", ["web1", "web5", "web9"], 22),
        ("db[a:c]", ["dba", "dbb", "dbc"], None),
        ("n[:2]", ["n0", "n1", "n2"], None),
        ("x[0:1]y[a:b]", ["x0ya", "x0yb", "x1ya", "x1yb"], None),
        ("[fe80::1]:22", ["fe80::1"], 22),
        ("fe80::1", ["fe80::1"], None),
        ("2001:db8::[1:2]", ["2001:db8::1", "2001:db8::2"], None),
    ],
)
def test_ranges_and_ports_of_host_entries(text: str, hosts: list[str], port: int | None) -> None:
    names, found = expand_hosts(text)
    assert (list(names), found) == (hosts, port)


@pytest.mark.parametrize(
    "text",
    ["w[1]", "w[a", "w]1[", "w[1:", "w[:]", "w[3:1]", "w[c:a]", "w[a:5]", "w[01:3]", "w[1:9:0]", "w[1:9:x]", "w[1:2:3:4]",
     "w|[1:2]", "w[0:999999999]", "w[0:999][0:999]", "w" + "[0:1]" * 9, "w[1:1_0]", "w[1: 2]"],
)  # fmt: skip
def test_ranges_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|stands for"):
        expand_hosts(text)


def test_the_largest_range_is_read() -> None:
    assert len(expand_hosts(f"w[1:{MAX_HOSTS}]")[0]) == MAX_HOSTS


@pytest.mark.parametrize(
    ("text", "name_and_port"),
    [
        ("a_b", ("a_b", None)), ("a_", None), ("-a", None), ("a..b", None), ("a b", None), ("", None), ("é1", ("é1", None)),
        ("1:2", ("1", 2)), ("a:b", None), ("::", ("::", None)), (":::", None), ("1::2::3", None), ("[a:1]:2", ("a", 1)),
        ("a:99999999999", None),
    ],
)  # fmt: skip
def test_names_and_addresses_are_told_from_other_text(
    text: str, name_and_port: tuple[str, int | None] | None
) -> None:
    assert split_port(text) == name_and_port


def test_addresses_are_told_from_names() -> None:
    assert [text for text in ("10.0.0.1", "::1", "300.1.1.1", "a.b.c.d", "1.2.3") if is_address(text)] == [
        "10.0.0.1",
        "::1",
    ]


def test_a_regular_expression_that_python_warns_about_is_read_as_it_is_today() -> None:
    with pytest.raises(InventoryError, match="not a regular expression"):
        select_hosts(Names(["web1"], {"web": ["web1"]}), "~[[,x")
    assert select_hosts(Names(["web1"], {"web": ["web1"]}), "~[[w]eb1") == ("web1",)
