"""Inventories: the value, the messages, and each place where mimrun is stricter than Ansible."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.canonical import digest
from mimrun.errors import InventoryError
from mimrun.runbook.inventory import Inventory, load_inventory, parse_inventory

SITE = """
[web]
web1 rack=1
web2 rack=2

[db]
db1

[zone_a]
web1
db1

[site:children]
web
db

[web:vars]
unit=nginx
nested={'a': [1, {'b': 2}]}
"""


def problems(text: str, file: str = "hosts.ini") -> list[str]:
    with pytest.raises(InventoryError) as caught:
        parse_inventory(text, file)
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def loading(*paths: Path) -> str:
    with pytest.raises(InventoryError) as caught:
        load_inventory(paths)
    assert caught.value.problems
    return str(caught.value)


def test_an_inventory_answers_who_where_and_with_what() -> None:
    inventory = parse_inventory(SITE)
    assert inventory.hosts == ("web1", "web2", "db1")
    assert inventory.groups["site"] == ("web1", "web2", "db1")
    assert list(inventory.groups) == ["all", "ungrouped", "web", "db", "zone_a", "site"]
    assert inventory.groups_of("web1") == ("site", "web", "zone_a")
    assert inventory.vars("web1") == {
        "rack": 1,
        "unit": "nginx",
        "nested": {"a": [1, {"b": 2}]},
        "inventory_hostname": "web1",
        "inventory_hostname_short": "web1",
        "group_names": ["site", "web", "zone_a"],
    }
    assert inventory.select("web:&zone_a") == ("web1",)


def test_nobody_can_change_an_inventory_through_what_it_gives() -> None:
    inventory = parse_inventory(SITE)
    before = digest(inventory.vars("web1"))
    given_away = inventory.vars("web1")
    given_away["unit"] = "apache"
    nested = given_away["nested"]
    assert isinstance(nested, dict)
    nested["a"].append(3)
    assert digest(inventory.vars("web1")) == before
    with pytest.raises(TypeError):
        inventory.groups["web"] = ()  # type: ignore[index]
    with pytest.raises((AttributeError, TypeError)):
        inventory.hosts = ()  # type: ignore[misc]


def test_templates_in_an_inventory_are_text() -> None:
    inventory = parse_inventory("web1 url='http://{{ inventory_hostname }}/'\n")
    assert inventory.vars("web1")["url"] == "http://{{ inventory_hostname }}/"


def test_an_unknown_host_is_answered_with_a_close_one() -> None:
    inventory = parse_inventory(SITE)
    for ask in (inventory.vars, inventory.groups_of):
        with pytest.raises(InventoryError, match=r"no host 'wbe1' in the inventory; did you mean 'web1'\?"):
            ask("wbe1")


def test_this_machine_can_be_named_without_an_inventory() -> None:
    inventory = load_inventory([])
    assert inventory.hosts == ()
    assert inventory.select("all") == ()
    assert inventory.select("localhost", strict=True) == ("localhost",)
    assert inventory.vars("localhost")["ansible_connection"] == "local"
    assert inventory.groups_of("localhost") == ()


def test_this_machine_gets_the_variables_of_all_and_its_own(tmp_path: Path) -> None:
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "hosts.ini").write_text("web1\n[all:vars]\nregion=north\n")
    (tmp_path / "host_vars/localhost.yml").write_text("role: control\n")
    (tmp_path / "group_vars/all.yml").write_text("tier: 1\n")
    known = load_inventory([tmp_path / "hosts.ini"]).vars("localhost")
    assert (known["region"], known["role"], known["tier"]) == ("north", "control", 1)


def test_variables_name_no_path_of_this_machine(tmp_path: Path) -> None:
    """Ansible adds inventory_file and inventory_dir; with them a plan's digest would differ by machine."""
    (tmp_path / "hosts.ini").write_text("web1\n")
    assert str(tmp_path) not in str(load_inventory([tmp_path / "hosts.ini"]).vars("web1"))


def test_the_names_of_host_and_groups_are_always_the_inventorys() -> None:
    known = parse_inventory("web1 inventory_hostname=other group_names=none\n").vars("web1")
    assert (known["inventory_hostname"], known["group_names"]) == ("web1", ["ungrouped"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[web]\n  [db:host]\nx\n", ["2:3: no section [db:host]; allowed here: children, vars"]),
        ("[web]\n[db:childern]\n", ["2:1: no section [db:childern]; did you mean 'children'?"]),
        ("[we b]\n", ["1:1: [we b] is not a section; write [group], [group:children] or [group:vars]"]),
        ("[web]\n[site:children]\nwbe\n", ["3:1: [site:children]: there is no group 'wbe'; did you mean 'web'?"]),
        ("[web]\n[wbe:vars]\na=1\n", ["2:1: [wbe:vars]: there is no group 'wbe'; did you mean 'web'?"]),
        ("[web:vars]\nnothing\n[web]\n", ["2:1: expected key=value and found 'nothing'"]),
        ("[web]\nweb1 a=1 b\n", ["2:10: expected key=value and found 'b'; quote a value that has blanks"]),
        ("web1 a='x\n", ["1:1: the line cannot be split into words: no closing quotation; close the quote"]),
        ("web1:\n", ["1:1: 'web1:' ends in ':'; a port follows a colon; a YAML inventory is named .yaml"]),
        ("---\n", ["1:1: '---' begins a YAML file; name the file .yaml"]),
        ("'' a=1\n", ["1:1: a host needs a name"]),
        ("[a:children]\na b\n[a]\n", ["2:1: expected the name of a group and found 'a b'"]),
        ("[a]\n[a:children]\na\n", ["3:1: group 'a' cannot be below 'a': 'a' is already below it"]),
        ("[a:children]\nb\n[b:children]\na\n", ["4:1: group 'a' cannot be below 'b': 'b' is already below it"]),
        ("[a:children]\nall\n", ["2:1: the group 'all' cannot be below 'a': it holds every group"]),
        ("[a]\n[a:vars]\nansible_group_priority=high\n", ["3:1: ansible_group_priority must be an integer and is 'high'"]),
        ("h a=1e999\n", ["1:3: a: inf is not a finite number"]),
        ("h a={[]:1}\n", ["1:3: a: '{[]:1}' is a literal without a value: unhashable type: 'list'"]),
        ("h a='\"\\x1b[31m\"'\n", ["1:3: a: has the invisible character U+001B"]),
    ],
)  # fmt: skip
def test_faults_of_an_ini_inventory_are_named_with_their_place(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1:1: is empty: an inventory names groups; begin with all:"]),
        ("- web1\n", ["1:1: an inventory is a mapping of groups; begin with all:"]),
        ("web: web1\n", ["1:6: the group 'web' must be a mapping; allowed here: children, hosts, vars"]),
        ("web:\n  host: {a: }\n", ["2:3: no 'host' in a group; did you mean 'hosts'?"]),
        ("web:\n  hosts: [a]\n", ["2:10: 'hosts' of the group 'web' must be a mapping; write each host as a key: 'web1:'"]),
        ("web:\n  hosts:\n    a: 5\n", ["3:8: the variables of 'a' must be a mapping; write 'name: value'"]),
        ("web:\n  vars: {ansible_group_priority: x}\n", ["2:10: ansible_group_priority must be an integer and is 'x'"]),
        ("web:\n  children: {web: }\n", ["2:14: group 'web' cannot be below 'web': 'web' is already below it"]),
        ("web: {hosts: {'w[3:1]': }}", ["1:15: the range [3:1] is empty: its first value comes after its last"]),
    ],
)  # fmt: skip
def test_faults_of_a_yaml_inventory_are_named_with_their_place(text: str, expected: list[str]) -> None:
    assert problems(text, "site.yml") == expected


def test_every_fault_of_every_source_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("[x y]\nweb1:\n[web:vars]\nb\n")
    (tmp_path / "b.yml").write_text("web: 1.5\ndb: {host: 1, vars: 3}\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/web.yml").write_text("a: &x 1\na: 2\n")
    told = loading(tmp_path / "a.ini", tmp_path / "b.yml", tmp_path / "gone.ini")
    assert len(told.splitlines()) == 9
    assert "gone.ini: cannot be read: No such file or directory" in told


# Differences from Ansible; docs/reference/inventory.md lists them.


def test_a_group_that_holds_ungrouped_is_refused() -> None:
    """Ansible drops the hosts of `ungrouped` from such groups, and loses hosts altogether."""
    assert "cannot be below 'web'" in problems("h1\n[web:children]\nungrouped\n")[0]


def test_a_host_in_no_group_cannot_have_the_name_of_a_group() -> None:
    """Ansible puts the group into `ungrouped` and the host nowhere."""
    assert problems("[all]\nweb\n[web]\nweb1\n")[0].startswith("2:1: the host 'web' is in no group")
    assert parse_inventory("[web]\nweb\nweb1\n").hosts == ("web", "web1")


def test_what_ansible_skips_with_a_warning_is_an_error() -> None:
    assert problems("web: {hosts: {a: }, comment: text}\nother: text\n", "site.yml")


def test_an_empty_range_is_an_error_and_not_no_hosts() -> None:
    assert problems("web[5:1]\n")


def test_a_broken_yaml_file_is_not_tried_as_ini(tmp_path: Path) -> None:
    assert problems("[web]\nweb1\n", "site.yml")
    assert parse_inventory("[web]\nweb1\n", "hosts").hosts == ("web1",)
    assert parse_inventory("web: {hosts: {web1: }}\n", "hosts").hosts == ("web1",)
    assert "twice" in problems("web:\n  vars: {a: 1, a: 2}\n", "hosts")[0]


@pytest.mark.parametrize(
    "text", ["a: &x 1\n", "a: {<<: {b: 1}}\n", "a: 1\na: 2\n", "a: !unsafe x\n", "a: .inf\n", "---\n---\n"]
)
def test_yaml_that_hides_what_it_says_is_refused_in_variables(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts.ini").write_text("web1\n")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/web1.yml").write_text(text)
    assert "host_vars/web1.yml" in loading(tmp_path / "hosts.ini")


def test_numbers_as_keys_become_text_and_dates_stay_text() -> None:
    known = parse_inventory("all: {vars: {vlans: {10: office}, day: 2027-03-01}}", "site.yml").vars(
        "localhost"
    )
    assert (known["vlans"], known["day"]) == ({"10": "office"}, "2027-03-01")


def test_a_set_has_the_same_order_every_time() -> None:
    assert parse_inventory("h a=\"{'c','a','b'}\"\n").vars("h")["a"] == ["a", "b", "c"]


def test_variables_that_are_no_mapping_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text("web1\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("[]\n")
    assert "variables are a mapping" in loading(tmp_path / "hosts.ini")


@pytest.mark.parametrize("name", ["hosts.ini", "group_vars/all.yml", "host_vars/web1.yml"])
def test_a_vault_file_says_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / "hosts.ini").write_text("web1\n")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    told = loading(tmp_path / "hosts.ini")
    assert name in told
    assert "env:NAME, file:PATH" in told


def test_a_vault_value_says_what_to_do() -> None:
    told = problems(
        "all:\n  vars:\n    password: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      6162\n", "site.yml"
    )
    assert told[0].startswith("3:15: !vault: mimrun holds no vault passwords")


def test_an_inventory_program_is_not_run(tmp_path: Path) -> None:
    program = tmp_path / "inventory.py"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho '{{}}'\n")
    program.chmod(0o755)
    assert "runs no inventory programs; let Ansible write down" in loading(program)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("file", "text"), [("aws.yml", "plugin: aws_ec2\n"), ("hosts.toml", "[web]\n")])
def test_other_kinds_of_inventory_say_how_to_write_them_down(file: str, text: str) -> None:
    assert "ansible-inventory -i FILE --list --yaml" in problems(text, file)[0]


def test_a_host_name_cannot_lead_out_of_host_vars(tmp_path: Path) -> None:
    (tmp_path / "secret.yml").write_text("leaked: true\n")
    (tmp_path / "inv/host_vars").mkdir(parents=True)
    (tmp_path / "inv/hosts.ini").write_text("../../secret\n/etc/passwd\n")
    inventory = load_inventory([tmp_path / "inv/hosts.ini"])
    assert inventory.hosts == ("../../secret", "/etc/passwd")
    assert "leaked" not in inventory.vars("../../secret")


def test_a_list_of_hosts_is_an_inventory(tmp_path: Path) -> None:
    inventory = load_inventory([Path("web1,web2:2222, fe80::1,")])
    assert inventory.hosts == ("web1", "web2", "fe80::1")
    assert inventory.vars("web2")["ansible_port"] == 2222
    assert "takes no ranges" in loading(Path("web[1:3],"))


def test_an_empty_folder_is_an_error_and_not_no_hosts(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    assert "no inventory in this folder" in loading(tmp_path)


def test_a_folder_that_holds_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    assert "does a link lead back up?" in loading(tmp_path)


def test_a_pipe_in_a_folder_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hosts")
    assert "not a regular file" in loading(tmp_path)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_bytes(b"# caf\xe9\nweb1\n")
    assert "hosts.ini:1: is not UTF-8" in loading(tmp_path / "hosts.ini")


def test_ten_thousand_hosts_are_read_and_chosen_from_at_once() -> None:
    started = time.process_time()
    inventory = parse_inventory(
        "[web]\nweb[00001:10000] a=1\n[db]\n" + "".join(f"db{i}\n" for i in range(5000))
    )
    assert len(inventory.select("web:db:!web0*")) == 5001
    assert time.process_time() - started < 3


LINES = st.lists(
    st.sampled_from(["[a]", "[b:children]", "[c:vars]", "a", "b", "h1 x=1", "h[1:3]", "x=1", "[", "h:", "#", "---", "\\", '"'])
    | st.text(max_size=12),
    max_size=10,
)  # fmt: skip


@given(LINES, st.sampled_from(["hosts.ini", "hosts.yml", "hosts"]))
def test_any_text_is_an_inventory_or_is_refused_with_reasons(lines: list[str], file: str) -> None:
    try:
        inventory = parse_inventory("\n".join(lines), file)
    except InventoryError as exc:
        assert exc.problems  # noqa: PT017 - either outcome is right; a refusal must explain itself
        return
    check(inventory)


def check(inventory: Inventory) -> None:
    assert set(inventory.groups["all"]) == set(inventory.hosts)
    for host in inventory.hosts:
        assert inventory.vars(host)["inventory_hostname"] == host
        assert all(host in inventory.groups[group] for group in inventory.groups_of(host))
