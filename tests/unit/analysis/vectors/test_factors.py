"""Item biases and factors of a matrix factorisation, as tables and as a labelled picture."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from raysweep.analysis.vectors import factors, labels
from raysweep.analysis.vectors.factors import (
    component_ends,
    principal_components,
    rank_by_bias,
    scatter,
)
from raysweep.core.errors import UserError

_FILMS = (
    "Star Wars|Contact|Fargo|Return of the Jedi|Liar Liar|English Patient, The|Scream|Toy Story|"
    "Air Force One|Independence Day (ID4)|Raiders of the Lost Ark|Godfather, The|Pulp Fiction|"
    "Twelve Monkeys|Silence of the Lambs, The|Jerry Maguire|Chasing Amy|Rock, The|"
    "Empire Strikes Back, The|Star Trek: First Contact|Back to the Future|Titanic|"
    "Mission: Impossible|Fugitive, The|Indiana Jones and the Last Crusade|"
    "Willy Wonka and the Chocolate Factory|Princess Bride, The|Forrest Gump|"
    "Monty Python and the Holy Grail|Saint, The|Full Monty, The|Men in Black|Terminator, The|"
    "E.T. the Extra-Terrestrial|Dead Man Walking|Leaving Las Vegas|Schindler's List|"
    "Braveheart|Terminator 2: Judgment Day|Conspiracy Theory|$9.99 or $5 a Day|Twister|"
    "Mr. Holland's Opus|Alien|Birdcage, The|When Harry Met Sally...|Aliens|Apollo 13|"
    "Shawshank Redemption, The|L.A. Confidential"
)
FILMS = _FILMS.split("|")


def crowd(num_items: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Factors in one dense heap, counts that fall with the index, and titles."""
    rng = np.random.default_rng(seed)
    spread = np.array([3.0, 2.0, 1.0, 0.3, 0.3, 0.3])
    titles = [*FILMS, *(f"Film {i}" for i in range(len(FILMS), num_items))]
    return rng.normal(size=(num_items, 6)) * spread, np.arange(num_items, 0, -1), titles


def test_ranks_only_the_most_rated() -> None:
    bias = np.array([0.5, 9.0, -0.5, np.nan, 0.1, -0.2])
    counts = np.array([50, 1, 40, 0, 30, 20])
    best, worst = rank_by_bias(bias, counts, list("abcdef"), most_rated=4, top=2)
    assert best["title"].tolist() == ["a", "e"]
    assert worst["title"].tolist() == ["c", "f"]
    assert worst["num_ratings"].tolist() == [40, 20]
    assert best.index.tolist() == [0, 4]
    assert best["bias"].iloc[0] == 0.5


def test_leaves_out_items_without_ratings() -> None:
    best, worst = rank_by_bias(np.array([1.0, 7.0]), np.array([3, 0]), ["rated", "not"])
    assert best["title"].tolist() == worst["title"].tolist() == ["rated"]


@pytest.mark.parametrize(
    ("bias", "counts", "titles", "message"),
    [
        ([0.0, 1.0], [1, 1, 1], "abc", "2 items in the model, 3 in the data"),
        ([0.0, 1.0], [1, 1], "abc", "3 titles"),
        ([0.0, np.nan], [1, 1], "ab", "diverged"),
        ([0.0, 1.0], [0, 0], "ab", "no item was rated"),
    ],
)
def test_refuses_a_model_that_does_not_fit(
    bias: list[float], counts: list[int], titles: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        rank_by_bias(np.array(bias), np.array(counts), list(titles))


def test_components_are_the_axes_of_largest_spread() -> None:
    values, counts, _ = crowd()
    components = principal_components(values, counts, most_rated=300)
    assert components.items.tolist() == list(range(300))
    assert components.projections.shape == (300, 3)
    for axis in range(3):
        correlation = np.corrcoef(components.projections[:, axis], values[:300, axis])[0, 1]
        assert correlation > 0.9  # and not < -0.9: the largest loading is positive
    variance = values[:300].var(axis=0)
    np.testing.assert_allclose(components.explained, variance[:3] / variance.sum(), rtol=0.1)


def test_components_do_not_depend_on_the_order_of_items_or_on_a_shift() -> None:
    values, counts, _ = crowd()
    order = np.random.default_rng(1).permutation(len(counts))
    one = principal_components(values, counts)
    other = principal_components(values[order] + 5.0, counts[order])
    np.testing.assert_array_equal(order[other.items], one.items)
    np.testing.assert_allclose(other.projections, one.projections, atol=1e-9)


def test_refuses_more_components_than_factors_or_items() -> None:
    values, counts, _ = crowd()
    with pytest.raises(UserError, match="2 factors"):
        principal_components(values[:, :2], counts)
    with pytest.raises(UserError, match="2 items"):
        principal_components(values, np.where(counts > counts[2], counts, 0))


def test_ends_are_the_extremes_of_each_component() -> None:
    values, counts, titles = crowd()
    components = principal_components(values, counts)
    ends = component_ends(components, titles, top=3)
    assert len(ends) == 3 * 2 * 3
    second = ends[ends["component"] == 2]
    low = second[second["end"] == "low"]
    assert low["projection"].tolist() == sorted(components.projections[:, 1])[:3]
    high = second[second["end"] == "high"]["projection"]
    assert high.iloc[0] == components.projections[:, 1].max()
    assert low["title"].iloc[0] == titles[low.index[0]]


# Slower than a second: adjustText moves 50 titles for 240 steps.
def test_titles_do_not_overlap_and_stay_inside() -> None:
    values, counts, titles = crowd()
    values[:50] *= 0.3  # the labelled ones in the middle of the heap
    figure = factors._figure(principal_components(values, counts), titles, (0, 2), 50)
    figure.canvas.draw()
    (ax,) = figure.axes
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) > 35
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    shown = {text.get_text() for text in ax.texts}
    assert "Star Wars" in shown
    assert max(map(len, shown)) <= 28
    left_out = 50 - len(boxes)
    assert ("did not fit" in ax.get_xlabel()) == (left_out > 0)


def test_of_overlapping_titles_the_first_stays() -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    heights = {"first": 0.5, "on the first": 0.505, "apart": 0.1, "on apart": 0.1}
    written = [ax.text(0.3, y, text) for text, y in heights.items()]
    kept = labels._without_overlaps(written)
    assert kept == [written[0], None, written[2], None]
    assert [text.get_text() for text in ax.texts] == ["first", "apart"]


def test_scatter_is_the_same_each_time_and_replaces_the_old_file(tmp_path: Path) -> None:
    values, counts, titles = crowd()
    components = principal_components(values, counts)
    path = tmp_path / "new" / "factors.png"
    scatter(path, components, titles, num_titles=10)
    first = path.read_bytes()
    path.write_bytes(b"old")
    scatter(path, components, np.array(titles), num_titles=10)
    assert first.startswith(b"\x89PNG")
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["factors.png"]


def test_scatter_takes_no_titles_and_odd_ones(tmp_path: Path) -> None:
    values, counts, titles = crowd(5)
    components = principal_components(values, counts)
    scatter(tmp_path / "none.png", components, titles, num_titles=0)
    odd = ["$x^$ and $\\frac$", "two\nlines", "", "_" * 200, "Amélie"]
    scatter(tmp_path / "odd.png", components, odd, axes=(1, 0))
    assert (tmp_path / "odd.png").stat().st_size > 1000
    with pytest.raises(UserError, match="from 0 to 2"):
        scatter(tmp_path / "no.png", components, titles, axes=(0, 3))
    assert not (tmp_path / "no.png").exists()
