"""What `cluster/submit.py` has Ray do for a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.cluster import submit


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "my films"
    (folder / "nets").mkdir(parents=True)
    (folder / "nets" / "net.py").touch()
    monkeypatch.chdir(folder)
    return folder


def test_without_a_file_of_the_users_the_command_is_only_submitted() -> None:
    given = ["c.yaml", "--start", "--", "tune", "ratings_net", "--dataset", "Ann's films.csv"]
    (step,) = submit.commands(given)
    assert step[:4] == ["ray", "submit", "--start", "c.yaml"]
    assert step[-2:] == ["--dataset", "'Ann'\"'\"'s films.csv'"]


@pytest.mark.parametrize("absolute", [False, True])
def test_the_folder_of_a_file_goes_first(project: Path, absolute: bool) -> None:
    name = f"{project}/nets/net.py:Net" if absolute else "nets/net.py:Net"
    up, made, sent, submitted = submit.commands(["c.yaml", "--start", "--", "tune", name])
    assert up == ["ray", "up", "-y", "c.yaml"]
    folder = submitted[submitted.index("--in") + 1]
    assert folder.startswith("submitted/my_films-")
    assert made == ["ray", "exec", "c.yaml", f"mkdir -p ~/{folder}/nets"]
    assert sent == ["ray", "rsync-up", "c.yaml", "nets/", f"~/{folder}/nets/"]
    assert submitted[:3] == ["ray", "submit", "c.yaml"]
    assert submitted[-2:] == ["tune", "nets/net.py:Net"]


def test_a_file_of_another_folder_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.parent / "net.py").touch()
    monkeypatch.setattr("sys.argv", ["submit.py", "c.yaml", "tune", "../net.py:Net"])
    assert submit.main() == 2
    assert "../net.py is not below" in capsys.readouterr().err
