from __future__ import annotations

from pathlib import Path

import pytest

from mimrun.errors import RunbookError
from mimrun.runbook.library import check_published, find_runbook, open_library, version_key

TEXT = """\
schema: mimrun/1
name: {name}
version: {version}
title: T
stage: containment
owner: me
risk: low
steps: [{{name: a, ssh.command: {{argv: [id]}}}}]
"""


def put(folder: Path, file: str, name: str = "drain", version: str = "1.0.0") -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT.format(name=name, version=version))
    return path


def test_a_runbook_is_found_by_name_by_version_and_by_path(tmp_path: Path) -> None:
    path = put(tmp_path, "containment/drain.yaml")
    put(tmp_path, "containment/drain@1.10.0.yaml", version="1.10.0")
    put(tmp_path, "containment/drain@1.9.0.yaml", version="1.9.0")
    assert find_runbook("drain@1.9.0", [tmp_path]).runbook.version == "1.9.0"
    assert find_runbook(str(path), []).runbook.version == "1.0.0"
    assert open_library([tmp_path]).find("drain").runbook.version == "1.10.0"


def test_only_the_file_that_is_called_like_the_runbook_is_read(tmp_path: Path) -> None:
    put(tmp_path, "containment/drain.yaml")
    (tmp_path / "broken.yaml").write_text("[")
    assert find_runbook("drain", [tmp_path]).runbook.name == "drain"


def test_what_does_not_load_is_listed_and_hides_nothing(tmp_path: Path) -> None:
    put(tmp_path, "a/drain.yaml")
    broken = tmp_path / "a" / "broken.yaml"
    broken.write_text("schema: mimrun/1\nsteps: 5\n")
    put(tmp_path, ".hidden/other.yaml", name="other")
    (tmp_path / "README.md").write_text("no runbook")
    library = open_library([tmp_path, tmp_path / "none"])
    assert [x.runbook.name for x in library.runbooks] == ["drain"]
    assert list(library.broken) == [broken]
    with pytest.raises(RunbookError, match="steps: 5 must be a list"):
        library.find("broken")


def test_an_unknown_name_or_version_says_what_there_is(tmp_path: Path) -> None:
    put(tmp_path, "a/drain.yaml")
    with pytest.raises(RunbookError, match="did you mean 'drain'"):
        find_runbook("drian", [tmp_path])
    with pytest.raises(RunbookError, match=r"no version '2\.0\.0' of the runbook 'drain'; there is 1\.0\.0"):
        find_runbook("drain@2.0.0", [tmp_path])
    with pytest.raises(RunbookError, match="the library is empty"):
        find_runbook("drain", [])


def test_a_file_is_called_like_its_runbook(tmp_path: Path) -> None:
    put(tmp_path, "a/other.yaml")
    ((problem,),) = open_library([tmp_path]).broken.values()
    assert problem.hint == "call it drain.yaml"


def test_one_version_is_in_one_file(tmp_path: Path) -> None:
    put(tmp_path, "a/drain.yaml")
    put(tmp_path, "b/drain.yaml")
    ((problem,),) = open_library([tmp_path]).broken.values()
    assert "drain@1.0.0 is in" in problem.message


def test_a_version_never_changes() -> None:
    published = {"drain@1.0.0": "sha256:aa"}
    check_published("drain", "1.0.0", "sha256:aa", published)
    check_published("drain", "1.0.1", "sha256:bb", published)
    with pytest.raises(RunbookError, match="used before with other content"):
        check_published("drain", "1.0.0", "sha256:bb", published)


def test_versions_are_sorted_by_number_and_a_candidate_comes_before_its_release() -> None:
    versions = ["1.10.0", "1.9.0", "1.9.0-rc1", "0.1.0"]
    assert sorted(versions, key=version_key) == ["0.1.0", "1.9.0-rc1", "1.9.0", "1.10.0"]
