from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.environment import QUIET

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", params=["mimrun", "anchor-log"])
def deployment(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text("utf-8"))
    assert len(loaded["deployments"]) == 2
    (only,) = (one for one in loaded["deployments"] if one["name"] == request.param)
    return dict(only)


def test_the_deployment_names_a_flow_that_is_there(deployment: dict[str, Any]) -> None:
    file, _, name = deployment["entrypoint"].partition(":")
    functions = [
        n.name for n in ast.parse((ROOT / file).read_text("utf-8")).body if isinstance(n, ast.FunctionDef)
    ]
    assert name in functions


def test_a_worker_is_as_quiet_as_the_engine(deployment: dict[str, Any]) -> None:
    environ = deployment["work_pool"]["job_variables"]["env"]
    assert environ.items() <= QUIET.items()
    assert "DO_NOT_TRACK" in environ
