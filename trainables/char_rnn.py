"""Recurrent networks that learn what comes next in a text, by characters or by words, and write.

The training text is cut into `batch_size` streams of consecutive text, read side by side. A step
reads a window of each stream and learns to predict every next symbol; the state at a window's end
is where the next window starts, but no gradient flows back through it (truncated backpropagation
through time). Every epoch starts at another place of the text, taken as a ring, with empty states.

The unrolled network that predicts the fourth word from three with the same weights at every step is
`cell=rnn, sequence_length=3, predict=last, carry_state=false` with `--data unit=words`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from data.errors import UserError
from trainables.config import Config, option
from trainables.learner import Dataset, Learner
from trainables.optim import TrainingConfig
from trainables.sequences import SequenceConfig, load_sequence

__all__ = ["CharRNN", "CharRNNConfig", "State", "choose"]

State = Any
"""Of an LSTM two tensors, else one; each float32 [num_layers, rows, hidden_size]. None is empty."""

_CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
_EVALUATED_STREAMS = 32
_EVALUATED_AT_ONCE = 256
_SAMPLE_SEED_SYMBOLS = 40
_SAMPLE_SYMBOLS = {"characters": 320, "words": 60}


@dataclass(frozen=True, kw_only=True, slots=True)
class CharRNNConfig(TrainingConfig):
    """Fields of the network, from its input to its output."""

    cell: str = option("lstm", "kind of recurrent unit", choices=tuple(_CELLS))
    embedding_size: int = option(64, "numbers that stand for a symbol", low=1, high=4096)
    hidden_size: int = option(384, "units of each recurrent layer", low=1, high=8192)
    num_layers: int = option(1, "recurrent layers, one on another", low=1, high=16)
    input_dropout: float = option(0.0, "share of the embedding's values dropped", low=0, high=0.95)
    layer_dropout: float = option(
        0.2, "share dropped between recurrent layers; one layer has no between", low=0, high=0.95
    )
    output_dropout: float = option(
        0.4, "share of the last layer's values dropped before the output", low=0, high=0.95
    )
    tied_weights: bool = option(False, "output layer and embedding share their weights")
    sequence_length: int = option(64, "symbols of a window, for gradients", low=1, high=100_000)
    carry_state: bool = option(True, "a window starts in the state that the one before left")
    predict: str = option(
        "every",
        "learn every next symbol, or only the one after a window",
        choices=("every", "last"),
    )
    max_norm: float = option(1.0, "longest gradient; longer ones are cut to it", low=1e-6)
    epochs: int = option(15, "passes over the training text", low=1)
    batch_size: int = option(32, "streams of text read side by side", low=1)
    learning_rate: float = option(4e-3, "step size at its highest", low=1e-7, high=10.0)
    schedule: str = option(
        "cosine",
        "learning rate over the run: constant, linear or cosine to zero, or lr_phases",
        choices=("constant", "linear", "cosine", "phases"),
    )


class _Network(nn.Module):
    def __init__(self, num_symbols: int, config: CharRNNConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_symbols, config.embedding_size)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.input_dropout = nn.Dropout(config.input_dropout)
        between = config.layer_dropout if config.num_layers > 1 else 0.0
        self.recurrent = _CELLS[config.cell](
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


class CharRNN(Learner[CharRNNConfig]):
    """Simple RNN, GRU or LSTM over a text."""

    name: ClassVar[str] = "char_rnn"
    summary: ClassVar[str] = "text: RNN, GRU or LSTM that predicts the next character or word"
    config_class = CharRNNConfig
    data_class: ClassVar[type[Config]] = SequenceConfig
    metrics: ClassVar[Mapping[str, str]] = {
        "val_loss": "min",
        "val_bits": "min",
        "val_accuracy": "max",
    }

    model: _Network
    _state: State = None

    @classmethod
    def load_data(cls, config: SequenceConfig) -> Dataset:
        """Reads the text and cuts it into three consecutive blocks."""
        text = load_sequence(config)
        return Dataset(
            arrays={
                "symbols": text.symbols,
                "unit": text.unit,
                "train_ids": text.train,
                "val_ids": text.validation,
            },
            test={"test_ids": text.test},
            info=text,
            fingerprint=text.fingerprint(),
            description=text.description,
        )

    def build_model(self) -> nn.Module:
        """Embedding, recurrent layers, output layer."""
        if len(self.data["train_ids"]) <= self.config.sequence_length:
            raise UserError(
                f"sequence_length={self.config.sequence_length} is too long for a training text of "
                f"{len(self.data['train_ids'])} {self.data['unit']}; use a shorter one"
            )
        return _Network(len(self.data["symbols"]), self.config)

    def _windows(self) -> int:
        return (len(self.data["train_ids"]) - 1) // self.config.sequence_length

    def num_batches(self) -> int:
        """Windows of the longest stream."""
        return -(-self._windows() // self.config.batch_size)

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, int]]:
        """Windows of all streams side by side, and how far into the streams they are.

        Streams differ by at most one window in length: the last batch has only the longer ones,
        which come first. Up to a window's length of the text is left out, another part each epoch.

        Yields:
            int64 [rows, sequence_length + 1], and the number of the batch.
        """
        length, windows = self.config.sequence_length, self._windows()
        rows = min(self.config.batch_size, windows)
        ids = self.data["train_ids"]
        first = int(torch.randint(len(ids), (), generator=generator))
        ids = torch.roll(ids, -first)
        counts = torch.full((rows,), windows // rows)
        counts[: windows % rows] += 1
        starts = ((counts.cumsum(0) - counts) * length).to(ids.device)
        offsets = torch.arange(length + 1, device=ids.device)
        for number in range(int(counts[0])):
            going = starts[: int((counts > number).sum())]
            yield ids[going[:, None] + number * length + offsets].long(), number

    def loss(self, batch: tuple[Tensor, int]) -> Tensor:
        """Cross-entropy in nats a symbol; goes on in the state that the last batch left."""
        windows, number = batch
        state = self._state if number and self.config.carry_state else None
        scores, state = self.model(windows[:, :-1], _rows(state, len(windows)))
        self._state = _detached(state)
        targets = windows[:, 1:]
        if self.config.predict == "last":
            scores, targets = scores[:, -1:], targets[:, -1:]
        return nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())

    def limit_gradients(self) -> None:
        """Cuts the gradient to max_norm: one steep place must not undo what was learned."""
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_norm)

    def evaluate(self, data: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
        """Nats and bits a symbol, and how often the likeliest symbol was the right one.

        The block is read once, in 32 streams that each start with an empty state: their first
        symbols are harder to predict, so that the figures are, if anything, too high. With
        `carry_state=false` streams are windows; with `predict=last` only their ends count.
        """
        ids = data[f"{prefix}_ids"].long()
        config = self.config
        length = -(-(len(ids) - 1) // min(_EVALUATED_STREAMS, len(ids) - 1))
        if not config.carry_state:
            length = min(config.sequence_length, len(ids) - 1)
        rows = -(-(len(ids) - 1) // length)
        padded = nn.functional.pad(ids, (0, rows * length + 1 - len(ids)))
        inputs, targets = padded[:-1].view(rows, length), padded[1:].view(rows, length)
        if config.predict == "last":
            targets = targets.clone()
            ends = torch.arange(1, length + 1, device=ids.device) % min(
                config.sequence_length, length
            )
            targets[:, ends != 0] = 0
        nats, right = 0.0, 0
        for part in torch.arange(rows).split(max(_EVALUATED_STREAMS, 16384 // length)):
            state: State = None
            span = slice(int(part[0]), int(part[-1]) + 1)
            for start in range(0, length, _EVALUATED_AT_ONCE):
                window = (span, slice(start, start + _EVALUATED_AT_ONCE))
                scores, state = self.model(inputs[window], state)
                wanted = targets[window]
                nats += float(
                    nn.functional.cross_entropy(
                        scores.flatten(0, 1).float(),
                        wanted.flatten(),
                        ignore_index=0,
                        reduction="sum",
                    )
                )
                right += int(((scores.argmax(-1) == wanted) & (wanted != 0)).sum())
        count = int((targets != 0).sum())
        loss = nats / count
        return {
            f"{prefix}_loss": loss,
            f"{prefix}_bits": loss / math.log(2),
            f"{prefix}_accuracy": right / count,
        }

    def generate(
        self, seed_ids: Tensor, num_symbols: int, temperature: float, generator: torch.Generator
    ) -> Iterator[int]:
        """Writes on from a beginning, a symbol at a time.

        Args:
            seed_ids: the beginning, int [n], at least one symbol.
            num_symbols: how many symbols to write.
            temperature: below 1 the likelier symbols are preferred; 0 takes the likeliest always.
            generator: seeded, on the CPU.

        Yields:
            Ids; never padding, nor the rare words' where symbols are words.
        """
        never = [0, len(self.data["symbols"]) - 1] if self.data["unit"] == "words" else [0]
        self.model.eval()
        ids, state = seed_ids.long().to(self.device)[None], None
        for _ in range(num_symbols):
            with torch.inference_mode():
                scores, state = self.model(ids, state)
                last = scores[0, -1].float().cpu()
            last = last.clone()  # what inference mode made may not be changed outside
            last[never] = -math.inf
            number = choose(last, temperature, generator)
            yield number
            ids = torch.tensor([[number]], device=self.device)

    def samples(self) -> dict[str, str]:
        """What the network writes now, from the first words of the validation text."""
        symbols, unit = self.data["symbols"], self.data["unit"]
        begin = self.data["val_ids"][:_SAMPLE_SEED_SYMBOLS]
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.epoch)
        between = " " if unit == "words" else ""
        texts = {}
        for temperature in (0.5, 0.8):
            ids = self.generate(begin, _SAMPLE_SYMBOLS[unit], temperature, generator)
            start, end = (between.join(symbols[k] for k in part) for part in (begin.tolist(), ids))
            texts[f"sample/temperature {temperature}"] = f"{start} → {end}"
        return texts


def choose(scores: Tensor, temperature: float, generator: torch.Generator) -> int:
    """Draws from softmax(scores / temperature), scores float [n]; 0 takes the highest score."""
    if temperature < 0 or not math.isfinite(temperature):
        raise UserError(f"temperature: {temperature} must be 0 or more, e.g. 0.8")
    # A range of 1e4 / temperature overflows nothing: the highest score is 0 after this.
    scaled = (scores - scores.max()).double() / max(temperature, 1e-300)
    if temperature == 0 or not torch.isfinite(scaled).any():
        return int(scores.argmax())
    return int(torch.multinomial(scaled.softmax(0), 1, generator=generator))


def _rows(state: State, rows: int) -> State:
    """The state of the first streams only."""
    if state is None:
        return None
    if isinstance(state, tuple):
        return tuple(part[:, :rows].contiguous() for part in state)
    return state[:, :rows].contiguous()


def _detached(state: State) -> State:
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
