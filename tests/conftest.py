"""What every test shares: the data beside the checkout, and no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.security.seal import Seal

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason="needs ../shared (data and models for tests), which is not there")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _unsealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests is never sealed: that lasts. Child processes are, and tests of the seal use those."""
    monkeypatch.setattr("harness.security.seal.seal_run", lambda *_: Seal("none", "tests share this process"))


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer is stored by itself, however fast they come: a run can then be stopped after a known number."""
    monkeypatch.setattr("harness.store.log.SYNC_SHARE", 1.0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models beside the checkout; use with the mark `shared`."""
    return SHARED
