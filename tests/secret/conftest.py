from __future__ import annotations

from collections.abc import Iterator

import pytest
from builders.vault import Vault, running_vault


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """A real server, for all tests of this process."""
    with running_vault(tmp_path_factory.mktemp("vault")) as running:
        yield running


@pytest.fixture
def asks(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """The server, with an environment in which root is logged in to it."""
    for name, value in vault.environ().items():
        monkeypatch.setenv(name, value)
    return vault
