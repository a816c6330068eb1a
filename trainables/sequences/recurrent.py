"""A recurrent network over symbols, its state, and how a symbol is drawn from its scores."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from raysweep.core.errors import UserError
from raysweep.trainables.sequences.config import CELLS, CharRNNConfig

__all__ = ["Network", "State", "choose", "detached", "first_rows"]

State = Any
"""Of an LSTM two tensors, else one; each float32 [num_layers, rows, hidden_size]. None is empty."""


class Network(nn.Module):
    """Embedding, recurrent layers, output layer; dropout before, between and after the layers.

    Args:
        num_symbols: ids that there are.
        config: a `CharRNNConfig`.
    """

    def __init__(self, num_symbols: int, config: CharRNNConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_symbols, config.embedding_size)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.input_dropout = nn.Dropout(config.input_dropout)
        between = config.layer_dropout if config.num_layers > 1 else 0.0
        self.recurrent = CELLS[config.cell](
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            dropout=between,
            batch_first=True,
        )
        self.output_dropout = nn.Dropout(config.output_dropout)
        # Tied weights need the width of the embedding.
        self.narrow: nn.Module = nn.Identity()
        if config.tied_weights and config.hidden_size != config.embedding_size:
            self.narrow = nn.Linear(config.hidden_size, config.embedding_size)
        width = config.embedding_size if config.tied_weights else config.hidden_size
        self.output = nn.Linear(width, num_symbols)
        if config.tied_weights:
            self.output.weight = self.embedding.weight

    def forward(self, ids: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Scores of every next symbol, [rows, steps, num_symbols], and the state at the end."""
        hidden, state = self.recurrent(self.input_dropout(self.embedding(ids)), state)
        return self.output(self.narrow(self.output_dropout(hidden))), state


def choose(scores: Tensor, temperature: float, generator: torch.Generator) -> int:
    """Draws from softmax(scores / temperature), scores float [n]; 0 takes the highest score."""
    if temperature < 0 or not math.isfinite(temperature):
        raise UserError(f"temperature: {temperature} must be 0 or more, e.g. 0.8")
    # A range of 1e4 / temperature overflows nothing: the highest score is 0 after this.
    scaled = (scores - scores.max()).double() / max(temperature, 1e-300)
    if temperature == 0 or not torch.isfinite(scaled).any():
        return int(scores.argmax())
    return int(torch.multinomial(scaled.softmax(0), 1, generator=generator))


def first_rows(state: State, rows: int) -> State:
    """The state of the first streams only."""
    if state is None:
        return None
    if isinstance(state, tuple):
        return tuple(part[:, :rows].contiguous() for part in state)
    return state[:, :rows].contiguous()


def detached(state: State) -> State:
    """The state without what led to it, in float32 also where autocast computed in less."""
    if isinstance(state, tuple):
        return tuple(part.detach().float() for part in state)
    return state.detach().float()
