"""How two processes share the tests: a file, and all tests that need hosts, stay in one of them."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_LONGEST_FIRST = ("cluster", "ray", "browser", "unit")


class _ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        folder, _, _ = nodeid.rpartition("/")
        return folder if folder == "tests/cluster" else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """With `-n 2`."""
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones come first, so that both processes end at about the same time."""
    items.sort(key=lambda item: _LONGEST_FIRST.index(item.path.parent.name))
