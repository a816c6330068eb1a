"""Embeddings: which vector belongs to which name, in the projector's files and in questions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from raysweep.cluster.runs import projector as embeddings
from raysweep.cluster.runs.projector import best_embedding, publish_embeddings
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.data.words.word_vectors import WordVectors
from raysweep.trainables import LEARNERS, get_learner
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.embedding import Embedding
from raysweep.trainables.learner import Learner
from tests.helpers import fake_run, train

# What each family offers, its main embedding first.
OFFERED = {
    "char_rnn": ["characters"],
    "image_head": ["images"],
    "matrix_factorization": ["items", "users"],
    "ratings_net": ["items", "users"],
    "sentiment": ["words"],
    "word_vectors": ["words"],
}
CONFIG = "best/projector_config.pbtxt"


def trained(name: str, path: Path, data: dict[str, Any] | None = None, **fields: Any) -> Any:
    return train(get_learner(name), path, data, {"epochs": 1, **fields})


def saved(model: Learner[Any], dataset: Dataset, folder: Path) -> Any:
    """A run whose one trial has this model."""
    ledger = SimpleNamespace(ranked=lambda: ["a trial"])
    return fake_run(model, dataset, storage=Storage(folder), ledger=ledger)


@pytest.fixture
def films(ratings_csv: Path, tmp_path: Path) -> Any:
    return saved(*trained("matrix_factorization", ratings_csv, num_factors=4), tmp_path)


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_what_each_family_offers(name: str, tiny_paths: dict[type[Any], Path]) -> None:
    assert name in LEARNERS
    small = {"hidden_size": 8} if name == "char_rnn" else {}
    model, dataset = trained(name, tiny_paths[get_learner(name).data_class], **small)
    assert list(model.embeddings(dataset.info)) == OFFERED[name]


def test_the_most_frequent_come_first_and_the_unknown_not_at_all() -> None:
    vectors = torch.arange(8.0).view(4, 2)
    ranked = Embedding.ranked(vectors, np.array([2, 0, 5, 2]), {"word": "abcd", "n": [2, 0, 5, 2]})
    assert ranked.labels == ["c", "a", "d"]
    assert ranked.columns["n"] == ["5", "2", "2"]
    assert ranked.vectors.tolist() == [[4, 5], [0, 1], [6, 7]]
    assert ranked.first(2).labels == ["c", "a"]
    assert len(ranked.first(2)) == len(ranked.first(9)) - 1 == 2


def test_a_words_vector_and_its_share_in_a_class(texts_csv: Path) -> None:
    model, dataset = trained("sentiment", texts_csv)
    embedding = model.embeddings(dataset.info)["words"]
    row = embedding.labels.index("class1word2")
    number = dataset.info.vocabulary.index["class1word2"]
    assert np.array_equal(embedding.vectors[row], model.model.table[number].detach().numpy())
    ids = dataset.arrays["train_ids"]
    assert embedding.columns["count"][row] == str((ids == number).sum())
    shares = {k: embedding.columns[f"share in {k}"][row] for k in "abc"}
    assert shares == {"a": "0.00", "b": "1.00", "c": "0.00"}


def test_one_of_two_classes_says_all(tmp_path: Path) -> None:
    rows = [{"text": f"{w} film {k}", "label": w} for k in range(20) for w in ("bad", "good")]
    path = tmp_path / "texts.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    model, dataset = trained("sentiment", path)
    embedding = model.embeddings(dataset.info)["words"]
    assert list(embedding.columns) == ["word", "count", "share in good"]
    shares = dict(zip(embedding.labels, embedding.columns["share in good"], strict=True))
    assert (shares["good"], shares["bad"]) == ("1.00", "0.00")


def test_characters_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a\tb c\u00a0d\n" * 60)
    model, dataset = trained("char_rnn", path, sequence_length=8, hidden_size=8)
    embedding = model.embeddings(dataset.info)["characters"]
    assert set(embedding.labels) == {*"abcd", "tab", "space", "line break", "U+00A0"}
    number = dataset.info.symbols.index("\n")
    vector = embedding.vectors[embedding.labels.index("line break")]
    assert np.array_equal(vector, model.model.embedding.weight[number].detach().numpy())


def test_words_of_a_network_that_writes_leave_rare_ones_out(text_file: Path) -> None:
    model, dataset = trained("char_rnn", text_file, {"unit": "words"}, hidden_size=8)
    embedding = model.embeddings(dataset.info)["words"]
    assert embedding.labels[0] == "the"
    assert "<rare>" not in embedding.labels


@pytest.mark.parametrize("name", ["matrix_factorization", "ratings_net"])
def test_films_and_users(name: str, ratings_csv: Path) -> None:
    model, dataset = trained(name, ratings_csv, implicit_feedback=True)
    with torch.no_grad():
        model.tables.implicit.add_(1.0)
    offered = model.embeddings(dataset.info)
    items, users = offered["items"], offered["users"]
    train = pd.DataFrame({k: dataset.arrays[f"train_{k}"] for k in ("user", "item", "rating")})
    item = train["item"].value_counts().sort_index().idxmax()
    assert items.labels[0] == dataset.info.titles[item]
    assert items.columns["item"][0] == dataset.info.item_ids[item]
    rated = train[train["item"] == item]["rating"]
    assert items.columns["ratings"][0] == str(len(rated))
    assert items.columns["mean rating"][0] == f"{rated.mean():.2f}"
    assert np.array_equal(items.vectors[0], model.tables.item.weight[item].detach().numpy())
    user = dataset.info.user_ids.tolist().index(users.labels[0])
    number = (train["user"] == user).sum()
    implicit = users.vectors[0] - model.tables.user.weight[user].detach().numpy()
    np.testing.assert_allclose(implicit, number**0.5, rtol=1e-4)  # n ones over the root of n


def test_films_of_one_title_are_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = pd.MultiIndex.from_product([range(12), range(6)], names=["user", "item"]).to_frame()
    path = tmp_path / "films.csv"
    titles = ["Twins", "Alone", "Twins", "C", "D", "E"]
    table = pairs.assign(rating=rng.integers(1, 6, 72), title=[titles[k] for k in pairs["item"]])
    table.to_csv(path, index=False)
    model, dataset = trained("matrix_factorization", path, num_factors=2)
    labels = model.embeddings(dataset.info)["items"].labels
    assert {"Twins [0]", "Twins [2]", "Alone"} < set(labels)


def test_the_projectors_files(films: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(embeddings, "MOST_POINTS", 10)
    publish_embeddings(films)
    assert "items.metadata.tsv" in (tmp_path / CONFIG).read_text()
    lines = (tmp_path / "best" / "items.metadata.tsv").read_text().splitlines()
    embedding = films.best_model().embeddings(films.dataset.info)["items"]
    assert [line.split("\t")[0] for line in lines] == ["title", *embedding.labels[:10]]
    assert len((tmp_path / "best" / "items.tensors.tsv").read_text().splitlines()) == 10
    assert list((tmp_path / "best").glob("*tfevents*"))


def test_images_have_a_thumbnail_each(
    make_features: Callable[..., Path], tmp_path: Path, monkeypatch: Any
) -> None:
    """One that cannot be read is grey; where there are none, the points have labels alone."""
    folder = make_features(tmp_path / "features", {"train": 60, "valid": 30})
    model, dataset = trained("image_head", folder, hidden_sizes=(5,))
    model.model.eval()
    embedding = model.embeddings(dataset.info)["images"]
    assert embedding.vectors.shape == (len(dataset.info.validation), 5)
    scores = model.scores(
        *(torch.from_numpy(dataset.arrays[f"val_{k}"]) for k in ("features", "sizes"))
    )
    names = [dataset.info.index.classes[k] for k in scores.argmax(1)]
    assert embedding.columns["predicted"] == names
    run = saved(model, dataset, tmp_path / "run")
    embeddings.write_projector_files(run)
    assert "sprite" not in (tmp_path / "run" / CONFIG).read_text()
    for number, path in enumerate(map(Path, embedding.pictures[1:])):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 60), (200, 8 * number, 0)).save(path)
    monkeypatch.setattr(embeddings, "MOST_PICTURES", 7)
    embeddings.write_projector_files(run)
    text = (tmp_path / "run" / CONFIG).read_text()
    assert 'image_path: "images.sprites.png"' in text
    sheet = np.asarray(Image.open(tmp_path / "run" / "best" / "images.sprites.png"))
    assert sheet.shape == (3 * 48, 3 * 48, 3), "seven pictures in a square of nine"
    cells = sheet.reshape(3, 48, 3, 48, 3).swapaxes(1, 2).reshape(9, 48, 48, 3)
    assert (cells[0] == 127).all()
    for number in range(6):
        assert np.abs(cells[1 + number].mean((0, 1)) - (200, 8 * number, 0)).max() < 3
    assert not cells[7:].any()


def test_a_better_model_replaces_the_vectors(films: Any, tmp_path: Path) -> None:
    publish_embeddings(films)
    path = tmp_path / "best" / "items.tensors.tsv"
    before = path.read_text()
    with torch.no_grad():
        films.best_model().model.item.weight.mul_(2.0)
    publish_embeddings(films)
    first, doubled = (float(text.split("\t")[0]) for text in (before, path.read_text()))
    assert doubled == pytest.approx(2 * first)


def test_a_failure_is_said_and_leaves_no_other_models_vectors(
    films: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_embeddings(films)
    with torch.no_grad():
        films.best_model().model.item.weight.fill_(float("nan"))
    publish_embeddings(films)
    assert "will show no vectors: projector items: 25 of 25 vectors" in capsys.readouterr().err
    assert not (tmp_path / CONFIG).exists()


def test_a_search_without_a_result_has_nothing_to_show(films: Any, tmp_path: Path) -> None:
    films.ledger.ranked = list
    publish_embeddings(films)
    assert not list(tmp_path.iterdir())


def test_which_embedding_is_asked(films: Any) -> None:
    assert best_embedding(films)[0] == "items"
    name, users = best_embedding(films, "users")
    assert (name, len(users)) == ("users", films.dataset.info.num_users)
    with pytest.raises(UserError, match="has items, users; did you mean 'users'"):
        best_embedding(films, "user")
    films.best_model().embeddings = lambda info: {}
    with pytest.raises(UserError, match="learns no vectors"):
        best_embedding(films)


def test_films_are_asked_by_title(
    films: Any,
    tmp_path: Path,
    monkeypatch: Any,
    run_command: Callable[..., tuple[int, str, str]],
) -> None:
    monkeypatch.setattr("raysweep.cluster.runs.saved_run.open_run", lambda run, root: films)
    code, output, _ = run_command("neighbours", "Film 3 (1956)", "--run", "films", "--top", "2")
    assert code == 0
    assert output.count("Film ") == 2
    code, _, errors = run_command("neighbours", "film 3", "--run", "films")
    assert code == 2
    assert "did you mean 'Film 3 (1956)'" in errors
    picture = tmp_path / "films.png"
    options = ["--run", "films", "--method", "pca", "--out", str(picture)]
    code, output, _ = run_command("plot", *options)
    assert code == 0
    assert ": 25 items, " in output
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, _, errors = run_command("plot", "--embedding", "users")
    assert code == 2
    assert "name the run with --run" in errors


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("star wars", "Star Wars (1977)"),
        ("The Godfather", "Godfather, The (1972)"),
        ("Toy Storry", "Toy Story (1995)"),
        ("TOY STORY (1996)", "Toy Story (1995)"),
    ],
)
def test_titles_that_someone_may_have_meant(asked: str, meant: str) -> None:
    titles = ["Star Wars (1977)", "Toy Story (1995)", "Godfather, The (1972)", "Fargo (1996)"]
    with pytest.raises(UserError, match="did you mean '") as error:
        WordVectors(titles, np.eye(4, dtype=np.float32)).row(asked)
    assert f"did you mean '{meant}'" in str(error.value)
