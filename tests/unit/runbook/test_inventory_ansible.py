"""Ansible is the judge: mimrun must see the hosts, the order and the variables that ansible-core sees.

Every difference that is meant is listed in docs/reference/inventory.md and has a test in
test_inventory.py that says so.
"""

# ruff: noqa: PLC0415 - Ansible reads its environment when it is imported, so a fixture imports it
from __future__ import annotations

import datetime as dt
import json
import math
import os
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from mimrun.errors import InventoryError, RunbookError
from mimrun.runbook.document import read_document
from mimrun.runbook.inventory import Inventory, load_inventory
from mimrun.runbook.pattern import split_pattern
from mimrun.runbook.scalar import Schema

LEFT_OUT = {
    "inventory_file", "inventory_dir", "playbook_dir", "groups", "omit", "ansible_version", "vars",
    "ansible_config_file", "ansible_facts", "ansible_playbook_python", "ansible_python_interpreter",
}  # fmt: skip
"""Variables that name paths of one machine or belong to a play."""

RELAXED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Judge:
    """ansible-core's own reading of the same sources."""

    def __init__(self, sources: Sequence[Path]) -> None:
        from ansible import constants
        from ansible.inventory.manager import InventoryManager
        from ansible.parsing.dataloader import DataLoader
        from ansible.vars.manager import VariableManager

        # Ansible reads a broken .yml as INI; here the ending decides (docs/reference/inventory.md).
        forms = {frozenset({".ini"}): ["ini"], frozenset({".yml"}): ["yaml"]}
        endings = frozenset(source.suffix for source in sources)
        constants.INVENTORY_ENABLED = forms.get(endings, ["yaml", "ini"])
        loader = DataLoader()
        loader.set_basedir(os.environ["ANSIBLE_HOME"])
        self.manager = InventoryManager(loader, [str(source) for source in sources])
        self.variables = VariableManager(loader, self.manager)

    @property
    def hosts(self) -> list[str]:
        return list(self.manager.hosts)

    @property
    def groups(self) -> dict[str, list[str]]:
        return {name: list(hosts) for name, hosts in self.manager.get_groups_dict().items()}

    def vars(self, host: str) -> dict[str, Any]:
        found = self.variables.get_vars(host=self.manager.get_host(host), include_hostvars=False)
        from ansible.parsing.ajson import AnsibleJSONEncoder

        plain = json.loads(json.dumps(found, cls=AnsibleJSONEncoder))
        return {key: value for key, value in plain.items() if key not in LEFT_OUT}

    def select(self, pattern: str) -> list[str] | None:
        from ansible.errors import AnsibleError

        self.manager.clear_caches()
        if self.manager._inventory.localhost and self.manager._inventory.localhost.implicit:
            self.manager._inventory.localhost = None
        try:
            return [host.name for host in self.manager.get_hosts(pattern)]
        except (AnsibleError, IndexError):  # '!' and '&' alone end in an IndexError there
            return None

    def order_is_settled(self) -> bool:
        """Ansible walks groups of one level in the order of memory addresses: where two of them have
        children, the order of what is below differs from run to run."""
        for group in self.manager.groups.values():
            level = list(group.child_groups)
            while level:
                parents = [below for below in level if below.child_groups]
                if len(parents) > 1:
                    return False
                level = [child for below in parents for child in below.child_groups]
        return True


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Sequence[Path]], Judge]]:
    home = tmp_path_factory.mktemp("ansible-home")
    (home / "ansible.cfg").write_text("")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("ANSIBLE_HOME", str(home))
        patch.setenv("ANSIBLE_LOCAL_TEMP", str(home / "tmp"))
        patch.setenv("ANSIBLE_CONFIG", str(home / "ansible.cfg"))
        patch.setenv("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "true")
        patch.setenv("ANSIBLE_DEPRECATION_WARNINGS", "false")
        import ansible.plugins.loader as plugins

        plugins.init_plugin_loader()
        yield Judge


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def same(theirs: Judge, ours: Inventory) -> None:
    assert list(ours.hosts) == theirs.hosts
    assert list(ours.groups) == list(theirs.groups)
    for group, hosts in theirs.groups.items():
        if theirs.order_is_settled():
            assert list(ours.groups[group]) == hosts, group
        else:
            assert sorted(ours.groups[group]) == sorted(hosts), group
    for host in theirs.hosts:
        assert ours.vars(host) == theirs.vars(host), host
        assert list(ours.groups_of(host)) == theirs.vars(host)["group_names"]


def same_selection(theirs: Judge, ours: Inventory, pattern: str) -> None:
    if not split_pattern(pattern):  # Ansible takes this for 'all'
        with pytest.raises(InventoryError, match="is empty"):
            ours.select(pattern)
        return
    expected = theirs.select(pattern)
    try:
        found: list[str] | None = list(ours.select(pattern))
    except InventoryError:
        found = None
    if expected is None or found is None or theirs.order_is_settled():
        assert found == expected, pattern
    elif "[" not in pattern:
        assert sorted(found) == sorted(expected), pattern


PRECEDENCE = {
    "prod.ini": """
        lonely x=own
        [all:vars]
        x=all
        a=1
        [web]
        web[01:03] port=8080 names="['a', 'b']"
        web1.example.net:2222 ansible_user=deploy # a comment
        [db]
        db[a:c]
        db-x[0:9:3].rack[1:2]
        [zone_a]
        web01
        dba
        [zone_b:children]
        db
        [site:children]
        web
        zone_b
        late
        [late]
        last
        [site:vars]
        x=site
        y=site
        [web:vars]
        x=web
        ansible_group_priority=10
        [zone_a:vars]
        x=zone_a
        z={'k': [1, 2.5, None], 'n': True}
        """,
    "group_vars/all.yml": "x: gv_all\nonly_all: 017\n",
    "group_vars/web/10.yml": "x: gv_web\nt: {a: 1}\n",
    "group_vars/web/20.yaml": "t: {b: 2}\n",
    "group_vars/web/.hidden.yml": "x: hidden\n",
    "group_vars/web/old.yml~": "x: backup\n",
    "group_vars/web/more/x.json": '{"deep": [1, "two"]}',
    "group_vars/web/notes.txt": "x: notes",
    "group_vars/site": "y: gv_site\n",
    "group_vars/site.yml": "y: never_read\n",
    "group_vars/zone_b.yaml": "yes_is: yes\ntime: 12:30\n",
    "group_vars/zone_b.json": '{"never": "read"}',
    "group_vars/unknown.yml": "x: [",
    "host_vars/web01.yml": "x: hv_web01\n",
    "host_vars/localhost.yml": "here: true\n",
    "host_vars/dba/main.yml": "z: 1\n",
}

RANKS = {
    "ranks.ini": """
        [low]
        h
        [high]
        h
        [twice]
        h
        [a_sibling]
        h
        [b_sibling]
        h
        [upper:children]
        low
        [top:children]
        upper
        twice
        [deep:children]
        deeper
        [deeper:children]
        twice
        [low:vars]
        depth_beats_priority=low
        [high:vars]
        depth_beats_priority=high
        name_decides=high
        ansible_group_priority=50
        [upper:vars]
        longest_way=upper
        [twice:vars]
        longest_way=twice
        [low:vars]
        longest_way=low
        [a_sibling:vars]
        priority_decides=a
        name_decides=a
        ansible_group_priority=2
        [b_sibling:vars]
        priority_decides=b
        name_decides=b
        """,
}

TREE = {
    "site.yaml": """
        all:
          vars: {x: all, mac: 0x1f, big: 1_000}
          hosts:
            bastion:
            10.0.0.[1:3]:2200: {rack: 7}
          children:
            web:
              hosts:
                web[1:2]: {w: 1}
                web1: {v: 2}
              vars: {x: web}
            core:
              children:
                db: {hosts: db1, vars: {ansible_group_priority: 5, x: db}}
                web:
              vars: {x: core}
            empty:
        other:
          hosts: {web2: null, "fe80::1": {six: true}}
        """,
}

SEVERAL = {
    "inv/01_base.ini": "[web]\na x=1\nb\n[web:vars]\np=base\n",
    "inv/02_more.yml": "web: {hosts: {c: {x: 3}}, vars: {p: more}}\ndb: {children: {web: {}}}\n",
    "inv/hosts": "[db]\nd\n[db:vars]\nr=5\n",
    "inv/sub/03.ini": "[edge]\ne\na\n",
    "inv/readme.md": "not an inventory",
    "inv/old.ini.bak": "[web]\nnever\n",
    "inv/.hidden": "[web]\nnever\n",
    "inv/group_vars/web.yml": "p: folder\n",
    "inv/sub/group_vars/edge.yml": "never: read\n",
    "extra/extra.ini": "[web]\nf\n[frozen]\nb\n",
    "extra/group_vars/web.yml": "p: extra\n",
    "extra/host_vars/a.yml": "x: extra\n",
}

ODD = {
    "odd.ini": """
        # a comment
        ; another
        plain
        [quotes]
        h1 a="x y" b='#5' c=1e3 d=0x10 e=0o17 f=017 g=1_000 h=yes i=True j=None k="'5'" l=# cut
        h2 a="[1, 'x', (2, 3)]" b="{'a': {1: 2}}" c=b'bytes' d=1+2j e=... f="'" g=a=b h=
        [quotes:vars]
        a = spaced out {blanks}
        b="quoted"
        c=5 # a Python comment
        d=text # stays
        e='it'
        f={"a": True, "b": [None]}
        g = {blanks}
        h='\\d'
        i=1if
        [h1]
        same_name_as_host
        [h1:vars]
        on=group
        [later:children]
        h1
        quotes   # with a comment
        [numbers]
        n[0:3:2] same
        n[08:11]
        [::1]:22
        [2001:db8::[a:c]]:2022
        under_score-x ansible_port=5
        127.0.0.1
        """.replace("{blanks}", "  ").replace(" same\n", "\n")
}  # fmt: skip

FIXTURES: dict[str, tuple[dict[str, str], list[str]]] = {
    "precedence": (PRECEDENCE, ["prod.ini"]),
    "ranks": (RANKS, ["ranks.ini"]),
    "tree": (TREE, ["site.yaml"]),
    "folder": (SEVERAL, ["inv"]),
    "two sources": (SEVERAL, ["inv", "extra/extra.ini"]),
    "one folder twice": (SEVERAL, ["inv/01_base.ini", "extra/extra.ini", "inv/02_more.yml"]),
    "odd": (ODD, ["odd.ini"]),
}

PATTERNS = [
    "all", "*", "web", "web:db", "web,db", "db,web", "db:web", "site:&zone_a", "all:!web", "!web", "&web", "&web:!zone_a",
    "web*", "w?b*", "web[0]", "web[0:1]", "web[-1]", "web[1:]", "web[0:0]", "web[1-2]", "web[9]", "web[2:1]", "web*[1]",
    "~web\\d+", "~(web|db).*", "~db", "db[ac]", "db?", "ungrouped", "un*", "al*", "web01", "web01:web02", "web02,web01",
    "web01,web", "web,web01", "nothing", "web:nothing", "web:!nothing", "web:&nothing", "localhost", "127.0.0.1",
    "::1", "localhost,127.0.0.1", "all,localhost", "web,!localhost", "web1", "10.0.0.2", "10.*", "fe80::1", "web, db",
    "web:!web01,db", "web db", "all[0]", "all[-2]", "zone_b[1]", "site[0:3]:&db", "quotes", "h1", "h1:plain", "&h1", "!h1",
    "h[12]", "~h[12]$", "~[", "web[", "web[a]", "~", "web[01:03]", "a:b:c", "dead:beef", "web:2222",
]  # fmt: skip


@pytest.mark.parametrize("name", FIXTURES)
def test_hand_written_inventories_are_read_as_ansible_reads_them(
    name: str, tmp_path: Path, judge: Callable[[Sequence[Path]], Judge]
) -> None:
    files, sources = FIXTURES[name]
    write(tmp_path, files)
    paths = [tmp_path / source for source in sources]
    theirs, ours = judge(paths), load_inventory(paths)
    assert ours.hosts
    same(theirs, ours)
    for pattern in PATTERNS:
        same_selection(theirs, ours, pattern)


GROUPS = ["web", "db", "edge", "zone_a", "zone-b", "h1", "all", "ungrouped"]
HOSTS = [
    "h1",
    "h2",
    "web1",
    "db.example.net",
    "10.0.0.1",
    "localhost",
    "web[1:3]",
    "n[08:11:2]",
    "x[a:c].y[0:1]",
    "p:2222",
]
KEYS = ["x", "y", "z", "ansible_group_priority"]
WORDS = st.sampled_from(
    [
        "1",
        "-5",
        "10",
        "True",
        "yes",
        "None",
        "'q'",
        '"a b"',
        "[1, 'x']",
        "{'k': (1, 2)}",
        "1.5",
        "a#b",
        "x=y",
        "",
    ]
)
VALUES = WORDS | st.text("019ae'\"\\#=[]{}(), .-_:bTrue", max_size=10)


DOWNWARD = [(upper, lower) for i, upper in enumerate(GROUPS[:-2]) for lower in GROUPS[i + 1 : -2]]
ANYWHERE = [(upper, lower) for upper in GROUPS for lower in GROUPS[:-1]]


def ini_lines(family: list[tuple[str, str]]) -> st.SearchStrategy[str]:
    groups, hosts = st.sampled_from(GROUPS), st.sampled_from(HOSTS)
    assignment = st.builds("{}={}".format, st.sampled_from(KEYS[:3]), VALUES)
    host = st.builds(lambda name, rest: " ".join([name, *rest]), hosts, st.lists(assignment, max_size=2))
    declared = st.builds("[{}]\n{}".format, groups, host)
    children = st.sampled_from(family).map("[{0[0]}:children]\n{0[1]}".format)
    variables = st.builds("[{}:vars]\n{}={}".format, groups, st.sampled_from(KEYS[:3]), VALUES)
    priority = st.builds("[{}:vars]\nansible_group_priority={}".format, groups, st.integers(-3, 20))
    return host | declared | declared | children | variables | priority


# Every group is declared and no loop is made, so that most of these are accepted.
INI = st.lists(ini_lines(DOWNWARD), max_size=14).map(
    lambda lines: "\n".join([*lines, *(f"[{name}]" for name in GROUPS)]) + "\n"
)
INI_UNSOUND = st.lists(ini_lines(ANYWHERE), max_size=8).map("\n".join)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab:1 #-é", max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)
VARIABLES = st.dictionaries(st.sampled_from(KEYS[:3]), JSON_VALUES, max_size=3)


def yaml_groups(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    content: dict[str, st.SearchStrategy[Any]] = {
        "hosts": st.dictionaries(st.sampled_from(HOSTS), st.none() | VARIABLES, max_size=3)
        | st.sampled_from(HOSTS)
        | st.none(),
        "vars": VARIABLES | st.builds(lambda n: {"ansible_group_priority": n}, st.integers(-3, 9)),
    }
    if depth:
        content["children"] = yaml_groups(depth - 1)
    return st.dictionaries(
        st.sampled_from(GROUPS[:-2]), st.none() | st.fixed_dictionaries({}, optional=content), max_size=3
    )


FOLDER_FILES = st.dictionaries(
    st.sampled_from(
        ["group_vars/all.yml", "group_vars/web.yml", "group_vars/web.json", "group_vars/db/a.yml", "group_vars/db/b",
         "group_vars/h1", "host_vars/h1.yaml", "host_vars/web1.yml", "host_vars/localhost.yml", "host_vars/10.0.0.1.yml"]
    ),
    VARIABLES,
    max_size=4,
)  # fmt: skip

TERMS = st.sampled_from(
    [
        *GROUPS,
        *HOSTS[:6],
        "web2",
        "n08",
        "xa.y0",
        "p",
        "w*",
        "*",
        "h?",
        "~h\\d",
        "~.*1",
        "[hw]*",
        "127.0.0.1",
        "none",
        "*.example.*",
    ]
)
SUBSCRIPTS = st.sampled_from(["", "", "", "[0]", "[-1]", "[1:2]", "[0:]", "[2:1]", "[7]"])
MODIFIERS = st.sampled_from(["", "", "!", "&"])
PATTERN = st.builds(
    lambda terms, separator: separator.join("".join(term) for term in terms),
    st.lists(st.tuples(MODIFIERS, TERMS, SUBSCRIPTS), min_size=1, max_size=4),
    st.sampled_from([":", ",", " , "]),
)
ANY_PATTERN = PATTERN | st.text("webdh1*?[]0:,&!~.- ", max_size=12)


def agree(
    judge: Callable[[Sequence[Path]], Judge],
    files: Mapping[str, str],
    sources: Sequence[str],
    patterns: Sequence[str],
) -> None:
    from ansible.errors import AnsibleError

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, files)
        paths = [folder / source for source in sources]
        theirs: Judge | None
        try:
            theirs = judge(paths)
        except AnsibleError:
            theirs = None
        try:
            ours = load_inventory(paths)
        except InventoryError as exc:
            if all("has the name of a group" in problem.message for problem in exc.problems):
                event("refused by mimrun alone")
                return
            assert theirs is None, exc  # noqa: PT017 - both must refuse
            event("refused by both")
            return
        assert theirs is not None, "Ansible refuses this inventory"
        event("read by both")
        same(theirs, ours)
        for pattern in patterns:
            same_selection(theirs, ours, pattern)


@RELAXED
@given(first=INI, second=st.none() | INI, files=FOLDER_FILES, patterns=st.lists(ANY_PATTERN, max_size=6))
def test_generated_ini_inventories(
    judge: Callable[[Sequence[Path]], Judge],
    first: str,
    second: str | None,
    files: dict[str, object],
    patterns: list[str],
) -> None:
    written = {"first.ini": first, **{name: json.dumps(value) for name, value in files.items()}}
    if second is not None:
        written["other/second.ini"] = second
    agree(judge, written, ["first.ini", "other/second.ini"][: 1 if second is None else 2], patterns)


@RELAXED
@given(text=INI_UNSOUND)
def test_the_same_ini_inventories_are_refused(judge: Callable[[Sequence[Path]], Judge], text: str) -> None:
    agree(judge, {"hosts.ini": text}, ["hosts.ini"], [])


@RELAXED
@given(groups=yaml_groups(2), files=FOLDER_FILES, patterns=st.lists(ANY_PATTERN, max_size=6))
def test_generated_yaml_inventories(
    judge: Callable[[Sequence[Path]], Judge],
    groups: dict[str, Any],
    files: dict[str, object],
    patterns: list[str],
) -> None:
    written = {"site.yml": yaml.safe_dump(groups, sort_keys=False)}
    written |= {name: yaml.safe_dump(value) for name, value in files.items()}
    agree(judge, written, ["site.yml"], patterns)


@settings(RELAXED, max_examples=400)
@given(word=st.text("0123456789.:_-+exboOnNyYesflTrutau~", min_size=1, max_size=8))
def test_plain_words_are_the_values_that_ansible_gives(
    judge: Callable[[Sequence[Path]], Judge], word: str
) -> None:
    from ansible.parsing.utils.yaml import from_yaml

    try:
        theirs = from_yaml(f"v: {word}")["v"]
    except Exception:  # noqa: BLE001 - whatever it is that Ansible raises, there is no value
        theirs = Exception
    try:
        ours = read_document(f"v: {word}", "f.yml", schema=Schema.ANSIBLE).value["v"]
    except RunbookError:
        assert theirs is Exception or not math.isfinite(theirs)
        return
    if isinstance(theirs, dt.date):
        assert ours == word
    else:
        assert ours == theirs
        assert isinstance(theirs, type(ours))
        assert isinstance(theirs, bool) == isinstance(ours, bool)
