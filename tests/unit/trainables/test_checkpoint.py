"""States in safetensors files: whole or refused, and never unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as to_bytes

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.trainables import checkpoint

STATE: dict[str, Any] = {
    "model": {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(2, dtype=torch.int64)},
    "optimizer": {0: {"step": torch.tensor(3.0), "none": None}, 1: {"deep": {"er": [1, 2.5, "x"]}}},
    "half": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
    "epoch": 3,
    "name": "é",
}
HEADER = {"learner": "x", "history": [{"epoch": 1, "loss": 0.1}], "best": None}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        bits = (a.dtype, a.shape, a.reshape(-1).view(torch.uint8).tolist())
        return bits == (b.dtype, b.shape, b.reshape(-1).view(torch.uint8).tolist())
    if isinstance(a, dict):
        keys = {str(k) for k in a}
        return keys == set(b) and all(same(v, b[str(k)]) for k, v in a.items())
    return bool(a == b and type(a) is type(b))


def test_a_nested_state_comes_back_bit_for_bit(storage: Storage) -> None:
    checkpoint.save(storage, "s", STATE, HEADER)
    state, header = checkpoint.load(storage, "s")
    assert same(STATE, state)
    assert header == HEADER


def test_a_part_can_be_dropped(storage: Storage) -> None:
    checkpoint.save(storage, "s", STATE, HEADER)
    for _ in range(2):  # the second time there is nothing to do
        checkpoint.drop(storage, "s", "optimizer")
        state, header = checkpoint.load(storage, "s")
        assert same({k: v for k, v in STATE.items() if k != "optimizer"}, state)
        assert header == HEADER


def test_floats_of_the_header_come_back_bit_for_bit(storage: Storage) -> None:
    values = [0.1 + 0.2, 1e-300, 1 / 3]
    checkpoint.save(storage, "s", {}, {"values": values})
    assert checkpoint.load_header(storage, "s")["values"] == values


def test_slices_of_larger_tensors_are_saved_as_they_look(storage: Storage) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    checkpoint.save(storage, "s", {"column": whole[:, 1], "turned": whole.T}, {})
    state, _ = checkpoint.load(storage, "s")
    assert torch.equal(state["column"], whole[:, 1])
    assert torch.equal(state["turned"], whole.T)


def test_weights_that_share_memory_are_saved(storage: Storage) -> None:
    tied = torch.ones(3)
    checkpoint.save(storage, "s", {"encoder": tied, "decoder": tied}, {})
    state, _ = checkpoint.load(storage, "s")
    assert torch.equal(state["encoder"], tied)
    assert torch.equal(state["decoder"], tied)


def test_weights_that_need_a_gradient_are_saved(storage: Storage) -> None:
    checkpoint.save(storage, "s", {"w": torch.nn.Parameter(torch.ones(2))}, {})
    assert not checkpoint.load(storage, "s")[0]["w"].requires_grad


class _CountingStorage(Storage):
    num_bytes = 0

    def read(self, name: str, length: int | None = None) -> bytes:
        blob = super().read(name, length)
        self.num_bytes += len(blob)
        return blob


def test_the_header_is_read_without_the_tensors(tmp_path: Path) -> None:
    storage = _CountingStorage(tmp_path)
    checkpoint.save(storage, "s", {"big": torch.zeros(1_000_000)}, HEADER)
    assert checkpoint.load_header(storage, "s") == HEADER
    assert storage.num_bytes < 200_000


def test_a_header_longer_than_the_first_read_is_read_whole(storage: Storage) -> None:
    header = {"history": [{"epoch": k, "note": "x" * 100} for k in range(2000)]}
    checkpoint.save(storage, "s", {"w": torch.ones(2)}, header)
    assert checkpoint.load_header(storage, "s") == header


def test_a_file_cut_short_anywhere_is_refused(storage: Storage) -> None:
    checkpoint.save(storage, "s", {"w": torch.arange(4.0)}, HEADER)
    blob = storage.read("s")
    for length in range(len(blob)):
        storage.write("s", blob[:length])
        with pytest.raises(UserError, match="damaged"):
            checkpoint.load(storage, "s")


def test_the_refusal_names_the_file_and_the_fix(storage: Storage) -> None:
    storage.write("s", b"short")
    with pytest.raises(UserError) as error:
        checkpoint.load(storage, "s")
    assert f"{storage.uri}/s" in str(error.value)
    assert "delete" in str(error.value)


def test_a_missing_file_is_not_found(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.load(storage, "s")
    with pytest.raises(FileNotFoundError):
        checkpoint.load_header(storage, "s")


class _Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a checkpoint was unpickled",))


def test_a_pickle_is_refused_and_not_opened(storage: Storage) -> None:
    storage.write("s", pickle.dumps({"model": _Bomb()}))
    for read in (checkpoint.load, checkpoint.load_header):
        with pytest.raises(UserError, match="damaged"):
            read(storage, "s")


def test_a_file_of_torch_save_is_refused(storage: Storage, tmp_path: Path) -> None:
    torch.save({"model": torch.ones(3)}, tmp_path / "s")
    for read in (checkpoint.load, checkpoint.load_header):
        with pytest.raises(UserError, match="damaged"):
            read(storage, "s")


@pytest.mark.parametrize(
    "blob",
    [
        to_bytes({"a": torch.ones(2)}),
        to_bytes({"a": torch.ones(2)}, metadata={"format": "pt"}),
        to_bytes({"a": torch.ones(2)}, metadata={"header": "{}", "plain": "{"}),
        (2).to_bytes(8, "little") + b"[]",
        b"",
    ],
    ids=["no metadata", "foreign metadata", "damaged metadata", "no object", "empty"],
)
def test_a_safetensors_file_that_is_no_state_is_refused(storage: Storage, blob: bytes) -> None:
    storage.write("s", blob)
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(storage, "s")


def test_a_failed_save_keeps_the_state_before(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(storage, "s", {"epoch": 1}, {})

    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(storage, "s", {"epoch": 2}, {})
    assert checkpoint.load(storage, "s")[0]["epoch"] == 1
