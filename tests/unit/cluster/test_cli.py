"""The command line: mistakes end with exit code 2 and one message, before Ray starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raysweep.cluster import cli

RunCommand = Callable[..., tuple[int, str, str]]


_CURVES = ["tune", "matrix_factorization", "l2", "--searcher", "curves"]
MISTAKES = {
    "unknown trainable": (["tune", "matrix_factorisation", "l2"], "matrix_factorization"),
    "unknown space": (
        ["tune", "matrix_factorization", "l3"],
        "known: augmentation, batchnorm_placement, ",
    ),
    "space of another trainable": (
        ["tune", "matrix_factorization", "dropout_placement"],
        "is not for matrix_factorization: it has no field *_dropout or dropout",
    ),
    "unknown field": (["train", "matrix_factorization", "--set", "num_factor=3"], "num_factors"),
    "value of another type": (
        ["train", "matrix_factorization", "--set", "epochs=many"],
        "is not of type int",
    ),
    "value out of range": (["train", "matrix_factorization", "--epochs", "0"], "at least 1"),
    "not a pair": (["train", "matrix_factorization", "--set", "epochs"], "FIELD=VALUE"),
    "a field twice": (
        ["train", "matrix_factorization", "--set", "seed=1", "--set", "seed=2"],
        "twice",
    ),
    "epochs twice": (
        ["train", "matrix_factorization", "--set", "epochs=1", "--epochs", "2"],
        "leave one of them out",
    ),
    "a searched field fixed": (
        ["tune", "matrix_factorization", "l2", "--set", "embedding_l2=0.1"],
        "fixes a field",
    ),
    "a test metric": (
        ["tune", "matrix_factorization", "l2", "--metric", "test_rmse"],
        "must not see the test set",
    ),
    "unknown metric": (["tune", "matrix_factorization", "l2", "--metric", "val_rms"], "val_rmse"),
    "unknown searcher": (
        ["tune", "matrix_factorization", "l2", "--searcher", "bayes"],
        "tpe, curves, random, grid",
    ),
    "a budget of epochs for a searcher that counts trials": (
        ["tune", "matrix_factorization", "l2", "--budget", "5"],
        "others take --num-samples",
    ),
    "a scheduler beside a searcher that pauses": (
        [*_CURVES, "--scheduler", "hyperband"],
        "leave --scheduler out",
    ),
    "several objectives for a searcher that reads one curve": (
        [*_CURVES, "--objective", "val_rmse", "--objective", "num_parameters:min"],
        "use --searcher tpe",
    ),
    "rungs where trials are paused": ([*_CURVES, "--grace-period", "3"], "are ASHA's"),
    "one table for a searcher that needs no waiting": (
        ["tune", "matrix_factorization", "l2", "--deterministic"],
        "is for --searcher curves",
    ),
    "an end by expectation for a searcher that expects nothing": (
        ["tune", "matrix_factorization", "l2", "--until", "0.001"],
        "--until is for --searcher curves",
    ),
    "an end by expectation that never comes": ([*_CURVES, "--until", "0"], "a number above 0"),
    "patience where trials are paused": ([*_CURVES, "--patience", "3"], "leave --patience out"),
    "packs where trials are paused": ([*_CURVES, "--pack", "4"], "leave it out"),
    "a space of epochs for a searcher that compares at epochs": (
        ["tune", "matrix_factorization", "--searcher", "curves", "--search", "epochs=2..9"],
        "the space searches `epochs`",
    ),
    "unknown scheduler": (
        ["tune", "matrix_factorization", "l2", "--scheduler", "asah"],
        "asha",
    ),
    "pbt without a field to change": (
        ["tune", "matrix_factorization", "embedding_size", "--scheduler", "pbt"],
        "pbt changes",
    ),
    "no trials": (["tune", "matrix_factorization", "l2", "--num-samples", "0"], "at least 1"),
    "a name with a slash": (["train", "matrix_factorization", "--name", "a/b"], "letters"),
    "unknown data field": (
        ["train", "matrix_factorization", "--data", "splt=time"],
        "did you mean 'split'",
    ),
    "missing file": (
        ["train", "matrix_factorization", "--dataset", "no/such.csv"],
        "`raysweep data list` shows the datasets",
    ),
    "missing run": (["recommend", "nothing", "--user", "1"], "no run is called 'nothing'"),
    "unknown dataset": (["data", "fetch", "ml-100"], "ml-100k"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_code_2_and_one_message_that_fixes(
    mistake: str, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, fix = MISTAKES[mistake]
    assert fix not in " ".join(arguments), "the message could just repeat what was typed"
    code, output, errors = run_command(*arguments)
    assert code == 2
    assert fix in errors
    assert "Traceback" not in errors
    assert output == ""
    assert not list(tmp_path.glob("runs/*/ledger.jsonl")), "nothing was started"


def test_a_full_disk_is_explained_without_a_traceback(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device", "runs/x")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("raysweep.cluster.runs.saved_run.open_run", no_space)
    code, _, errors = run_command("rank", "x")
    assert code == 2
    assert "free some space" in errors


def test_every_command_has_help_with_an_explanation(run_command: RunCommand) -> None:
    commands = [c.name or c.callback.__name__ for c in cli.app.registered_commands if c.callback]
    assert {"tune", "train", "confirm", "doctor", "recommend"} <= set(commands)
    for command in commands:
        code, output, _ = run_command(command, "--help")
        assert code == 0
        assert "Usage" in output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; import raysweep.cluster.cli; "
        "heavy = {'torch', 'ray', 'numpy', 'pandas', 'pyarrow', 'scipy', 'sklearn', 'optuna', "
        "'matplotlib', 'tensorboard', 'torchvision', 'timm', 'PIL', 'yaml', 'pooch', 'safetensors'}"
        " & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
