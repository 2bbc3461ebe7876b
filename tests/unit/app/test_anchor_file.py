"""anchors.yaml: what it may say, and that everything wrong in it is named with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from builders.witness import Witness

from mimrun.app.anchor.file import ActionPlace, FilePlace, WitnessPlace, load_anchors, parse_anchors
from mimrun.catalog import installed_catalog
from mimrun.errors import SettingsError
from mimrun.runbook.document import read_document

CATALOG = installed_catalog()
VKEY = Witness(Path("none")).vkey
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "anchor-the-log.md"


def parsed(text: str) -> tuple[object, ...]:
    return parse_anchors(read_document(text, "anchors.yaml", error=SettingsError), CATALOG)


def test_a_file_that_is_not_there_has_no_anchors(tmp_path: Path) -> None:
    assert load_anchors(tmp_path / "anchors.yaml", CATALOG) == ()


def test_every_form_is_read(tmp_path: Path) -> None:
    file = tmp_path / "anchors.yaml"
    file.write_text(
        f"""
anchors:
  - {{name: disk, file: /mnt/other/checkpoints}}
  - name: witness
    witness: {{url: 'https://witness.example.org/sub/', vkey: "{VKEY}"}}
    timeout: 5s
  - name: host
    host: anchor1
    ssh.command: {{argv: [keep], stdin: "{{{{ note }}}}"}}
    read: {{ssh.command: {{argv: [show]}}}}
"""
    )
    disk, witness, host = load_anchors(file, CATALOG)
    assert disk.place == FilePlace(Path("/mnt/other/checkpoints"))
    assert (disk.host, disk.timeout_ms) == ("localhost", 30_000)
    assert isinstance(witness.place, WitnessPlace)
    assert (witness.place.url, witness.place.key.vkey) == ("https://witness.example.org/sub", VKEY)
    assert witness.timeout_ms == 5000
    assert isinstance(host.place, ActionPlace)
    assert (host.host, host.place.call.args["stdin"]) == ("anchor1", "{{ note }}")
    assert host.place.read is not None


def test_what_the_page_shows_can_be_written() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        assert parsed(block if block.startswith("anchors:") else f"anchors:\n{block}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "1:1: a file of anchors has a key 'anchors'"),
        ("anchors: {a: 1}", "a file of anchors has a key 'anchors', with a list"),
        ("anchors: []\nother: 1", "2:1: unknown key 'other'"),
        ("anchors: [file]", "1:11: an anchor is a mapping"),
        ("anchors:\n  - {name: a, fle: /x}", "2:15: unknown key 'fle'; did you mean 'file'?"),
        ("anchors:\n  - {name: a}", "an anchor does one thing: this one has none"),
        ("anchors:\n  - {file: /x}", "the key 'name' is missing"),
        ("anchors:\n  - {name: A b, file: /x}", "2:12: name 'A b' must be lower case"),
        ("anchors:\n  - {name: a, file: x}", "2:21: file: give a path that begins with /"),
        ("anchors:\n  - {name: a, file: /x, read: {local.command: {argv: [a]}}}", "read goes with an action"),
        ("anchors:\n  - {name: a, file: /x}\n  - {name: a, file: /y}", "3:12: the name 'a' is here twice"),
        (
            "anchors:\n  - {name: a, file: /x, witness: {url: u, vkey: v}}",
            "does one thing: this one has file and witness",
        ),
        ("anchors:\n  - {name: a, witness: {url: 'ftp://x', vkey: v}}", "url: write https://..."),
        ("anchors:\n  - {name: a, witness: {url: 'https://u@x', vkey: v}}", "url: write https://..."),
        ("anchors:\n  - {name: a, witness: {url: 'https://x', vkey: v}}", "vkey: 'v' is no key"),
        ("anchors:\n  - {name: a, witness: {url: 'https://x'}}", "the key 'vkey' is missing"),
        ("anchors:\n  - {name: a, witness: {uri: 'https://x'}}", "unknown key 'uri'; did you mean 'url'?"),
        (
            "anchors:\n  - {name: a, ssh.comand: {argv: [a], stdin: '{{ note }}'}}",
            "2:15: no action 'ssh.comand'; did you mean 'ssh.command'?",
        ),
        (
            "anchors:\n  - {name: a, ssh.command: {argv: [a], stdn: '{{ note }}'}}",
            "unknown key 'stdn'; did you mean 'stdin'?",
        ),
        ("anchors:\n  - {name: a, ssh.command: {argv: [a], stdin: '{{ nte }}'}}", "'nte' is undefined"),
        ("anchors:\n  - {name: a, ssh.command: {argv: [a], stdin: x}}", "nothing of the checkpoint is in it"),
        (
            "anchors:\n  - {name: a, ssh.command: {argv: [a], stdin: '{{ size }}'}}",
            "nothing of the checkpoint",
        ),
        ("anchors:\n  - {name: a, ssh.command: {argv: [a], stdin: '{{ note'}}", "2:"),
        ("anchors:\n  - {name: a, file: /x, timeout: 11m}", "timeout: give 1s to 10m"),
        ("anchors:\n  - {name: a, file: /x, timeout: soon}", "timeout: 'soon' is not a duration"),
        ("anchors:\n  - {name: a, file: /x, host: 3}", "host is a text"),
        ("anchors:\n  - &x {name: a, file: /x}", "anchor &x is not read here"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(text)
    assert said in str(caught.value)
    assert str(caught.value).startswith("anchors.yaml:")


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parsed("anchors:\n  - {name: A, fil: x}\n  - {name: b, file: y, timeout: 0s}\n")
    assert len(caught.value.problems) >= 4
