"""An empty ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.cluster.runs.ledger import Ledger
from raysweep.core.storage import Storage


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Storage(tmp_path), "val", "min")
