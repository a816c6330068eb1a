"""How two processes share the tests: a file, and all tests that need hosts, stay in one of them."""

from __future__ import annotations

import pytest

_LONGEST_FIRST = ("cluster", "ray", "browser", "unit")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones come first, so that both processes end at about the same time."""
    for item in items:
        hosts = item.path.parent.name == "cluster"
        item.add_marker(pytest.mark.xdist_group("hosts" if hosts else str(item.path)))
    items.sort(key=lambda item: _LONGEST_FIRST.index(item.path.parent.name))
