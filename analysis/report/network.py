"""Pictures for two questions: where dropout goes in a network, and how wide its filters are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.analysis.effects.sentences import Unit
from raysweep.analysis.report.page import Picture, picture
from raysweep.analysis.report.style import VERDICT_COLORS, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from raysweep.analysis.effects.effect import Effect
    from raysweep.analysis.report.trials import Trials

__all__ = ["network_layers", "placement_picture", "width_effects", "widths_picture"]

Layers = list[tuple[str, tuple[str, ...]]]

_HEIGHTS = {"layer": 0.36, "site": 0.78}  # inches


def network_layers(task: str, config: Mapping[str, Any]) -> Layers:
    """A network's layers in order, each with the columns of dropout that follows it.

    Args:
        task: the trainable's name.
        config: the default configuration, for how many layers there are.

    Returns:
        (what the layer does, names of effects' columns); empty for an unknown trainable.
    """
    dense = _dense(config)
    if task == "sentiment":
        layers: Layers = [("words", ("word_dropout",))]
        layers += [("embedding", ("embedding_dropout", "channel_dropout"))]
        if config["architecture"] == "cnn":
            layers += [("convolution", ("conv_dropout",)), ("pooling", ("pool_dropout",))]
        if config["architecture"] == "lstm":
            layers += [("LSTM", ())]
        return [*layers, ("dense layer", ("dense_dropout",)), ("output", ())]
    if task == "char_rnn":
        layers = [("embedding", ("input_dropout",))]
        layers += [(f"layer {k + 1}", ("layer_dropout",)) for k in range(config["num_layers"] - 1)]
        return [*layers, ("last recurrent layer", ("output_dropout",)), ("output", ())]
    if task == "word_vectors":
        layers = [("embedding", ("embedding_dropout",))]
        return [*layers, ("hidden layer", ("hidden_dropout",)), ("output", ())]
    if task == "ratings_net":
        return [("embeddings", ("embedding_dropout",)), *dense, ("output", ())]
    if task == "image_head":
        return [("features", ("input_dropout",)), *dense, ("output", ())]
    return []


def _dense(config: Mapping[str, Any]) -> Layers:
    """Dense layers, each with its rate of the field dense_dropout."""
    sizes = config.get("hidden_sizes", ())
    if len(sizes) == 1:
        return [("dense layer", ("dense_dropout", "dense_dropout 1"))]
    return [(f"dense layer {k}", (f"dense_dropout {k}",)) for k in range(1, len(sizes) + 1)]


def placement_picture(
    layers: Layers,
    effects: Mapping[str, Effect],
    trials: Trials,
    title: str,
) -> Picture:
    """The network from top to bottom; beside each site the effect of its rate, with the band.

    Args:
        layers: as `network_layers` gives them.
        effects: by the names of their columns.
        trials: for the metric and its unit.
        title: the finding.
    """
    unit = Unit(trials.metric)
    lines: list[tuple[str, str]] = []
    for name, sites in layers:
        lines.append(("layer", name))
        lines += [("site", site) for site in sites if site in effects]
    shown = [effects[site] for kind, site in lines if kind == "site"]
    heights = [_HEIGHTS[kind] for kind, _ in lines]
    height = 1.3 + sum(heights)
    figure, frame = new_figure(title, height)
    frame.remove()
    figure.set_layout_engine("none")
    ends = {"top": 1 - 0.6 / height, "bottom": 0.7 / height, "left": 0.0, "right": 0.97}
    grid = figure.add_gridspec(
        len(lines), 2, height_ratios=heights, width_ratios=[1.3, 1.0], hspace=0, wspace=0.12, **ends
    )
    column = figure.add_subplot(grid[:, 0])
    column.axis("off")
    column.set_ylim(sum(heights), 0.0)
    column.set_xlim(0.0, 1.0)
    middles = np.cumsum(heights) - 0.5 * np.array(heights)
    column.plot([0.5, 0.5], middles[[0, -1]], color="0.6", linewidth=1.2, zorder=0)
    last = max(k for k, (kind, _) in enumerate(lines) if kind == "site")
    for k, (kind, name) in enumerate(lines):
        if kind == "layer":
            box = {"boxstyle": "round,pad=0.35", "facecolor": "#eef3f7", "edgecolor": "#5b6b78"}
            column.text(0.5, middles[k], name, ha="center", va="center", fontsize=9, bbox=box)
            continue
        effect = effects[name]
        ink = VERDICT_COLORS[effect.verdict]
        text = f"{name.replace('_dropout', ' dropout')}\n{effect_figure(effect, unit)}"
        box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": ink}
        column.text(
            0.5, middles[k], text, ha="center", va="center", fontsize=8, color=ink, bbox=box
        )
        beside = figure.add_subplot(grid[k, 1])
        _beside(beside, effect, unit, _limits(shown, unit))
        if k == last:
            beside.set_xlabel(f"rate; up is better,\n{unit.name}", fontsize=8)
        else:
            beside.tick_params(labelbottom=False)
    return picture(figure, "placement", f"The network, layer by layer. {title}")


def _limits(shown: Sequence[Effect], unit: Unit) -> tuple[float, float]:
    """One scale for all; a band that reaches far down does not flatten the rest."""
    low = min(float((e.gain - e.half_width).min()) for e in shown)
    high = max(float((e.gain + e.half_width).max()) for e in shown)
    low = max(low, 2.0 * min(float(e.gain.min()) for e in shown) - 0.5 * high)
    return unit.factor * (low - 0.1 * (high - low)), unit.factor * (high + 0.1 * (high - low))


def _beside(ax: Axes, effect: Effect, unit: Unit, limits: tuple[float, float]) -> None:
    gain, half = unit.factor * effect.gain, unit.factor * effect.half_width
    ink = VERDICT_COLORS[effect.verdict]
    ax.fill_between(effect.grid, gain - half, gain + half, color=ink, alpha=0.2, linewidth=0)
    ax.plot(effect.grid, gain, color=ink, linewidth=1.6)
    ax.axhline(0.0, color="0.4", linewidth=0.8)
    ax.set_ylim(*limits)
    plain(ax)
    ax.tick_params(labelsize=7.5)
    ax.locator_params(axis="y", nbins=3)


def effect_figure(effect: Effect, unit: Unit) -> str:
    """An effect in a few characters: the surest figure, or that nothing was measured."""
    if effect.verdict == "no measurable difference":
        return "no measurable difference"
    surest = int((np.abs(effect.gain) / effect.half_width.clip(1e-12)).argmax())
    if effect.helps.any():
        surest = int(np.where(effect.helps, effect.gain, -np.inf).argmax())
    elif effect.hurts.any():
        surest = int(np.where(effect.hurts, effect.gain, np.inf).argmin())
    at = effect.grid[surest]
    where = f" at {at:.2g}" if isinstance(at, float) else ""
    return f"{unit.interval(effect.gain[surest], effect.half_width[surest])}{where}"


def width_effects(effects: Sequence[Effect]) -> tuple[list[tuple[int, Effect]], Effect | None]:
    """The effect of each width being there, by width, and that of how many widths there are."""
    by_width, number_effect = [], None
    for effect in effects:
        width, among, field = effect.field.partition(" among ")
        if among and field == "filter_widths":
            by_width.append((int(width), effect))
        if effect.field == "number of filter_widths":
            number_effect = effect
    return sorted(by_width, key=lambda pair: pair[0]), number_effect


def widths_picture(
    by_width: Sequence[tuple[int, Effect]], number_effect: Effect | None, trials: Trials, title: str
) -> Picture:
    """Left: what each width does. Right: what their number does."""
    unit = Unit(trials.metric)
    figure, axes = new_figure(title, 3.0, 2, sharey=True)
    for at, (_, effect) in enumerate(by_width):
        there = effect.grid.index(True)
        axes[0].errorbar(
            at,
            unit.factor * effect.gain[there],
            unit.factor * effect.half_width[there],
            fmt="o",
            capsize=3,
            color=VERDICT_COLORS[effect.verdict],
        )
    axes[0].set_xticks(range(len(by_width)), [str(width) for width, _ in by_width])
    axes[0].set_xlabel("width among the filters (words)", fontsize=8.5)
    axes[0].set_ylabel(f"better than without by\n({unit.name})", fontsize=8.5)
    if number_effect is not None:
        whole = [k for k, v in enumerate(number_effect.grid) if float(v).is_integer()]
        numbers = [int(number_effect.grid[k]) for k in whole]
        axes[1].errorbar(
            numbers,
            unit.factor * number_effect.gain[whole],
            unit.factor * number_effect.half_width[whole],
            fmt="o-",
            capsize=3,
            color=VERDICT_COLORS[number_effect.verdict],
        )
        axes[1].set_xticks(numbers)
        axes[1].set_xlabel("number of widths", fontsize=8.5)
        axes[1].set_title(f"against {number_effect.reference}", fontsize=8.5, loc="left")
    for ax in axes:
        ax.axhline(0.0, color="0.4", linewidth=0.8)
    return picture(figure, "widths", f"Dots with 95% intervals. {title}")
