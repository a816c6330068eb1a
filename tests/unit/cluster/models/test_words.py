"""Questions to texts: writing, neighbours, analogies, translations, pictures of words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysweep.analysis.vectors.labels import label_beside, shorten
from raysweep.analysis.vectors.plots import draw, project
from raysweep.cluster.models import words as ask_text
from raysweep.core.errors import UserError
from raysweep.data.words.word_vectors import WordVectors
from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization
from raysweep.trainables.sequences.char_rnn import CharRNN
from tests.helpers import fake_run, train

CAPITALS = {"spain": "madrid", "italy": "rome", "france": "paris", "japan": "tokyo"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSWEEP_CACHE", str(tmp_path / "cache"))


def capitals(seed: int = 0) -> WordVectors:
    """Countries at random, each capital a constant step away."""
    rng = np.random.default_rng(seed)
    countries = rng.normal(size=(len(CAPITALS), 8))
    step = rng.normal(size=8) * 0.7
    return WordVectors(
        [*CAPITALS, *CAPITALS.values()],
        np.concatenate([countries, countries + step]).astype(np.float32),
    )


@pytest.fixture
def vectors_file(tmp_path: Path) -> Path:
    words = capitals()
    lines = [
        f"{w} {' '.join(map(str, v))}" for w, v in zip(words.words, words.vectors, strict=True)
    ]
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def writer(text_file: Path) -> Any:
    return fake_run(*train(CharRNN, text_file, config={"hidden_size": 8}))


def test_writing_on(writer: Any) -> None:
    one, same, other = (ask_text.generate(writer, "The cat", 40, 1.0, s) for s in (1, 1, 2))
    assert one == same != other
    assert len(one) == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("the çat", 10), "the character 'ç'"),
        (("", 10), "no characters"),
        (("the", 0), "--num-chars 0"),
        (("the", 5, -1.0), "--temperature -1.0"),
        (("the", 5, float("nan")), "--temperature nan"),
    ],
)
def test_what_cannot_be_written(writer: Any, arguments: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ask_text.generate(writer, *arguments)


def test_a_run_of_another_kind_writes_nothing(ratings_csv: Path) -> None:
    ratings = fake_run(*train(MatrixFactorization, ratings_csv))
    with pytest.raises(UserError, match="which writes nothing; name a run of char_rnn"):
        ask_text.generate(ratings, "the", 5)


def test_an_analogy_never_answers_with_its_own_words() -> None:
    vectors = capitals()
    found = ask_text.analogy(vectors, "spain", "madrid", "italy", top=20)
    assert found[0][0] == "rome"
    assert not {"spain", "madrid", "italy"} & {word for word, _ in found}
    examples = [("france", "paris")]
    more = ask_text.analogy(vectors, "spain", "madrid", "italy", 20, examples)
    assert more[0][0] == "rome"
    assert not {"france", "paris"} & {word for word, _ in more}


def test_translation_through_a_rotation(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    source = WordVectors([f"w{k}" for k in range(40)], rng.normal(size=(40, 6)).astype("f4"))
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    turned = (source.vectors @ rotation).astype("f4")
    target = WordVectors([f"p{k}" for k in range(40)], turned)
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(f"w{k} p{k}" for k in range(12)) + "\nx y\n\n")
    pairs = ask_text.read_dictionary(path)
    answers, known = ask_text.translate(source, target, pairs, ["w30", "w39"], top=2)
    assert known == 12
    assert [answers[word][0][0] for word in ("w30", "w39")] == ["p30", "p39"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one uno\ntwo\n", "line 2: 'two' is not two words"),
        (b"one\tuno\ta\n", "line 1"),
        (b"one,\n", "line 1"),
        (b"\n\n", "is empty"),
        (b"caf\xe9 caf\n", "not UTF-8"),
    ],
)
def test_dictionaries_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "pairs.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        ask_text.read_dictionary(tmp_path / "pairs.txt")
    with pytest.raises(UserError, match="no such file"):
        ask_text.read_dictionary(tmp_path / "none.txt")


def test_dictionaries_with_tabs_and_commas(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("new york\tnueva york\none,uno\ntwo  dos\n")
    assert ask_text.read_dictionary(tmp_path / "pairs.csv") == [
        ("new york", "nueva york"),
        ("one", "uno"),
        ("two", "dos"),
    ]


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_a_picture_of_words(tmp_path: Path, method: str) -> None:
    places = project(capitals().vectors, method)
    assert np.array_equal(places, project(capitals().vectors, method))
    words = [*CAPITALS, *CAPITALS.values()]
    named = draw(tmp_path / "a" / "words.png", places, words, method=method, num_labels=5)
    assert 1 <= named <= 5
    assert (tmp_path / "a" / "words.png").read_bytes().startswith(b"\x89PNG")


def test_labels_stay_with_their_points_and_off_each_other() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    points = np.random.default_rng(0).normal(size=(150, 2))
    ax.scatter(*points.T)
    left_out = label_beside(ax, points, [f"a title {k}" for k in range(120)])
    boxes = [text.get_window_extent() for text in ax.texts]
    assert 20 < len(boxes) == 120 - left_out < 120
    assert ax.texts[0].get_text() == "a title 0"
    for number, (text, box) in enumerate(zip(ax.texts, boxes, strict=True)):
        assert not any(box.overlaps(other) for other in boxes[:number])
        x, y = ax.transData.transform(points[int(text.get_text().split()[-1])])
        far = max(box.x0 - x, x - box.x1, box.y0 - y, y - box.y1)
        assert far <= 6, "a label stands beside its point"


@pytest.mark.parametrize(
    ("title", "short"),
    [
        ("Fargo (1996)", "Fargo (1996)"),
        ("two\nlines", "two lines"),
        ("Long Kiss Goodnight, The (1996)", "Long Kiss Goodnight, The…"),
        ("When Harry Met Sally... (1989)", "When Harry Met Sally…"),
        ("x" * 40, "x" * 27 + "…"),
    ],
)
def test_long_titles_are_shortened(title: str, short: str) -> None:
    assert shorten(title) == short


def test_pictures_that_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'tsne'"):
        project(np.ones((5, 5)), "tsn")
    with pytest.raises(UserError, match="too few"):
        project(np.ones((2, 5)))
    with pytest.raises(UserError, match="NaN"):
        project(np.full((5, 5), np.nan))


def test_the_commands(run_command: Callable[..., tuple[int, str, str]], vectors_file: Path) -> None:
    source = ("--vectors", str(vectors_file))
    code, output, _ = run_command("analogy", "spain", "madrid", "italy", *source)
    assert (code, output.split()[1]) == (0, "rome")
    code, output, _ = run_command("neighbours", "rome", "--json", *source)
    assert len(json.loads(output)) == 7
    code, _, errors = run_command("neighbours", "spian", *source)
    assert code == 2
    assert "did you mean 'spain'" in errors
    code, _, errors = run_command("neighbours", "rome", "--run", "x", *source)
    assert code == 2
    assert "leave one of them out" in errors
    bad = ("--example", "france")
    code, _, errors = run_command("analogy", "a", "b", "c", *bad, *source)
    assert code == 2
    assert "WORD:WORD" in errors


def test_words_are_answered_without_loading_torch_or_ray(vectors_file: Path) -> None:
    code = (
        "import sys; from raysweep.cluster import cli\n"
        f"sys.argv = ['raysweep', 'analogy', 'spain', 'madrid', 'italy', '--vectors', "
        f"{str(vectors_file)!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "slow = {'torch', 'ray', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "print(slow or 'quick')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "quick"
