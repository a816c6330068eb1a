"""`raysweep predict`: what each kind of run takes, what it answers, and what it refuses."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raysweep.cluster.models.text_inputs import GivenText, read_texts
from raysweep.cluster.models.texts import classify_texts
from raysweep.cluster.printing.texts import percent
from raysweep.core.errors import UserError
from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization
from raysweep.trainables.sequences.char_rnn import CharRNN
from raysweep.trainables.texts.sentiment import Sentiment
from tests.helpers import fake_run, train

Ask = Callable[..., tuple[int, str, str]]
LENGTH = 12


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that learned two classes; one word of each text says which, the others say nothing."""
    rng = np.random.default_rng(3)
    rows = ["text,label"]
    for number in range(300):
        words = rng.choice([f"w{k}" for k in range(12)], int(rng.integers(1, LENGTH + 6))).tolist()
        words.insert(int(rng.integers(len(words) + 1)), ("dreadful", "lovely")[number % 2])
        rows.append(f"{' '.join(words[-LENGTH:])},{('bad', 'good')[number % 2]}")
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    path.write_text("\n".join(rows))
    config = {"hidden_size": 8, "num_filters": "8", "pooling": 0, "dense_dropout": 0.0}
    config |= {"learning_rate": 0.02, "batch_size": 16, "precision": "float32"}
    return fake_run(*train(Sentiment, path, {"length": LENGTH}, config, num_epochs=5))


@pytest.fixture
def ask(run_command: Ask, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs the command on a run; returns code, output and errors."""

    def answer(
        run: Any, *arguments: str, piped: bytes | None = None, terminal: bool = False
    ) -> tuple[int, str, str]:
        stdin = io.TextIOWrapper(io.BytesIO(piped or b""))
        monkeypatch.setattr(stdin, "isatty", lambda: terminal, raising=False)
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr("raysweep.cluster.runs.saved_run.open_run", lambda *_: run)
        return run_command("predict", "x", *arguments)

    return answer


def one(run: Any, text: str, top: int = 8) -> Any:
    return classify_texts(run, [GivenText("text 1", text)], top)[0]


@pytest.mark.parametrize(("word", "label"), [("lovely", "good"), ("dreadful", "bad")])
def test_the_word_that_tells_the_class_is_named_first(reviews: Any, word: str, label: str) -> None:
    answer = one(reviews, f"W1 w2, {word} w3 w4!")
    assert answer.predicted == label
    assert answer.probabilities[label] > 0.9
    first = answer.words[0]
    assert (first.word, first.count, first.known) == (word, 1, True)
    assert first.effect > 0.15
    assert first.without == pytest.approx(answer.probabilities[label] - first.effect)
    assert abs(answer.words[1].effect) < first.effect / 2


def test_a_word_that_speaks_against_the_class_has_the_other_sign(reviews: Any) -> None:
    answer = one(reviews, "lovely lovely lovely w1 w2 dreadful")
    words = {each.word: each for each in answer.words}
    against = {"good": "dreadful", "bad": "lovely"}[answer.predicted]
    assert words.pop(against).effect < 0
    assert words[{"dreadful": "lovely", "lovely": "dreadful"}[against]].effect > 0


def test_all_places_of_a_word_are_left_out_together(reviews: Any) -> None:
    answer = one(reviews, "dreadful w1 dreadful w2 Dreadful!")
    assert answer.words[0].count == 3
    assert answer.words[0].without == pytest.approx(
        one(reviews, "w1 w2").probabilities["bad"], abs=1e-6
    )


def test_what_the_model_does_not_read_is_counted(reviews: Any) -> None:
    answer = one(reviews, "lovely " + "w1 " * (LENGTH - 2) + "zqx qzx")
    assert (answer.num_words, answer.num_cut, answer.num_rare) == (LENGTH, 1, 2)
    assert "lovely" not in [each.word for each in answer.words]
    rare = {each.word: each.known for each in answer.words}
    assert rare == {"w1": True, "zqx": False, "qzx": False}


def test_small_effects_are_not_rounded_away_in_bfloat16(reviews: Any) -> None:
    text = "w1 w2 w3 w4 w5 lovely w6"
    exact = one(reviews, text)
    reviews.best_model().model.dtype = torch.bfloat16
    assert one(reviews, text).words == exact.words


def test_as_many_words_as_asked_for(reviews: Any) -> None:
    assert len(one(reviews, "w1 w2 w3 lovely", top=2).words) == 2
    assert one(reviews, "w1 w2 w3 lovely", top=0).words == ()
    assert one(reviews, "lovely lovely").words == ()
    effects = [abs(each.effect) for each in one(reviews, "w1 w2 w3 lovely w5").words]
    assert effects == sorted(effects, reverse=True)


def test_people_read_class_probability_and_words(reviews: Any, ask: Ask) -> None:
    text = "zqx " * LENGTH + "w1 lovely"
    code, output, errors = ask(reviews, text, "--top", "2")
    lines = output.splitlines()
    assert (code, errors) == (0, "")
    assert lines[0].startswith("good ")
    assert lines[0].index("%") < lines[0].index("bad")
    assert lines[2].split() == ["word", "moved", "it", "by", "good", "without", "it"]
    word, effect, points, without = lines[3].split()
    assert (word, effect[0], points, without[-1]) == ("lovely", "+", "points", "%")
    assert f"×{LENGTH - 2} (rare)" in ask(reviews, text, "--top", "3")[1]
    assert "other words, which moved it less: 1" in output
    assert f"only the last {LENGTH} of the text's {LENGTH + 2} words" in output
    assert f"does not know: {LENGTH - 2} of {LENGTH};" in output


def test_machines_read_json(reviews: Any, ask: Ask) -> None:
    code, output, _ = ask(reviews, "w1 lovely", "dreadful", "--json")
    first, second = json.loads(output)
    assert code == 0
    assert (first["source"], first["text"], first["predicted"]) == ("text 1", "w1 lovely", "good")
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert first["words"][0]["word"] == "lovely"
    assert (second["predicted"], second["words"]) == ("bad", [])


def test_a_file_is_one_text_and_with_lines_several(reviews: Any, ask: Ask, tmp_path: Path) -> None:
    content = "\ufefflovely w1\n\n dreadful w2\x0bw3\r\n".encode()
    (tmp_path / "a.txt").write_bytes(content)
    name = str(tmp_path / "a.txt")
    for arguments, piped in (
        (("--file", name), None),
        (("--file", "-"), content),
        ((), content),
    ):
        whole = json.loads(ask(reviews, *arguments, "--json", piped=piped)[1])
        assert [each["num_words"] for each in whole] == [5]
        parts = json.loads(ask(reviews, *arguments, "--lines", "--json", piped=piped)[1])
        assert [each["predicted"] for each in parts] == ["good", "bad"]
        assert parts[0]["text"] == "lovely w1"
        assert [each["source"].split(", ")[1] for each in parts] == ["line 1", "line 3"]


def test_texts_are_named_where_there_are_several(reviews: Any, ask: Ask) -> None:
    _, output, errors = ask(reviews, "lovely", "[bold] w1", "--top", "0")
    assert "text 2: [bold] w1" in output
    assert "moved" not in output
    assert errors == ""
    assert "put a longer text in quotes" in ask(reviews, "lovely", "w1")[2]


def test_a_file_given_as_a_text_is_pointed_out(
    reviews: Any, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "review.txt").write_text("lovely")
    assert "--file review.txt reads it" in ask(reviews, "review.txt")[2]
    code, _, errors = ask(reviews, "lovely " * 1000)
    assert (code, errors) == (0, "")


MISTAKES: dict[str, tuple[tuple[str, ...], bytes, str]] = {
    "a text without words": (("lovely", "?!"), b"", "text 2: '?!' has no words"),
    "nothing piped": ((), b" \n", "standard input holds no text"),
    "no line": (("--lines", "--file", "-"), b"\n", "standard input holds no text"),
    "a line without words": (("--lines",), b"a\n\n--\n", "standard input, line 3: '--' has no"),
    "not UTF-8": ((), b"\xef\xbb\xbfcaf\xe9", "standard input: not UTF-8 text (byte at offset 6)"),
    "an argument not in UTF-8": (("caf\udce9",), b"", "text 1: not UTF-8 text (byte at offset 3)"),
    "no such file": (("--file", "no.txt"), b"", "no.txt: no such file"),
    "a folder": (("--file", "."), b"", "is a folder"),
    "text and file": (("lovely", "--file", "a"), b"", "--file is for texts of a file"),
    "text and lines": (("lovely", "--lines"), b"", "--lines is for texts of a file"),
    "a user": (("--user", "1"), b"lovely", "a run of sentiment, and --user is for runs of another"),
    "a rating": (("lovely", "--user", "1", "--item", "2"), b"", "--user and --item are for runs"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_with_code_2_and_one_message(reviews: Any, ask: Ask, mistake: str) -> None:
    arguments, piped, message = MISTAKES[mistake]
    code, output, errors = ask(reviews, *arguments, piped=piped)
    assert (code, output) == (2, "")
    assert message in errors
    assert "Traceback" not in errors


def test_nobody_is_left_waiting_at_a_terminal(reviews: Any, ask: Ask) -> None:
    code, _, errors = ask(reviews, piped=b"lovely", terminal=True)
    assert code == 2
    assert "no text is given" in errors
    assert ask(reviews, "--file", "-", piped=b"lovely", terminal=True)[0] == 0


def test_a_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="no text is given"):
        read_texts()


def test_a_file_of_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text("\n \n")
    with pytest.raises(UserError, match=r"blank\.txt has no line with a text"):
        read_texts(file=str(tmp_path / "blank.txt"), lines=True)


def test_a_run_of_ratings_takes_users_and_items(ratings_csv: Path, ask: Ask) -> None:
    run = fake_run(*train(MatrixFactorization, ratings_csv))
    ratings = run.dataset.info
    user, item = str(ratings.user_ids[0]), str(ratings.item_ids[0])
    code, output, _ = ask(run, "--user", user, "--item", item)
    assert code == 0
    assert output.startswith(f"user {user} would rate Film ")
    code, output, _ = ask(run, "--user", user, "--item", item, "--json")
    assert set(json.loads(output)) == {"user", "item", "title", "predicted", "given"}
    for arguments, message in (
        ((), "add --user and --item"),
        (("--user", user), "add --item"),
        (("a fine film",), "a run of matrix_factorization, and a text or an image is for runs"),
        (("--user", user, "--item", item, "--top", "3"), "--top is for runs of another kind"),
    ):
        code, output, errors = ask(run, *arguments, piped=b"not read")
        assert (code, output) == (2, "")
        assert message in errors
        assert "raysweep predict RUN --user 196 --item 242" in errors


def test_a_run_that_writes_cannot_be_asked(text_file: Path, ask: Ask) -> None:
    writer = fake_run(*train(CharRNN, text_file, config={"hidden_size": 8}))
    code, _, errors = ask(writer, "the cat")
    assert code == 2
    assert "a run of char_rnn, which predicts nothing" in errors


def test_a_text_where_the_run_belongs(
    run_command: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = run_command("predict", "a fine film")
    assert code == 2
    assert "the run comes first" in errors


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.5, "50.0%"), (0.9999, ">99.9%"), (1.0, "100.0%"), (1e-5, "<0.1%"), (0.0, "0.0%")],
)
def test_nearly_sure_is_not_sure(share: float, shown: str) -> None:
    assert percent(share) == shown
