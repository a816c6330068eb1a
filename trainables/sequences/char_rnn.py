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
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from raysweep.core.config import Config
from raysweep.core.errors import UserError
from raysweep.data.texts.vocabulary import PADDING
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.embedding import Embedding
from raysweep.trainables.learner import Learner
from raysweep.trainables.sequences.config import (
    CharRNNConfig,
    SequenceConfig,
    load_sequence,
    symbol_embedding,
)
from raysweep.trainables.sequences.recurrent import (
    Network,
    State,
    choose,
    detached,
    first_rows,
)

__all__ = ["CharRNN"]

_EVALUATED_STREAMS = 32
_EVALUATED_AT_ONCE = 16_384  # symbols; of short windows many rows go together
_SCORES_AT_ONCE = 2_000_000
_SAMPLE_SEED_SYMBOLS = 40
_SAMPLE_SYMBOLS = {"characters": 320, "words": 60}


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
    packed_fields: ClassVar[frozenset[str]] = frozenset(
        ("input_dropout", "layer_dropout", "output_dropout", "max_norm", "learning_rate")
    )

    model: Network
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
        return Network(len(self.data["symbols"]), self.config)

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
        scores, state = self.model(windows[:, :-1], first_rows(state, len(windows)))
        self._state = detached(state)
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
        inputs, targets = self._streams(data[f"{prefix}_ids"].long())
        nats, right = torch.zeros((), dtype=torch.float64, device=self.device), 0
        rows = min(len(inputs), max(_EVALUATED_STREAMS, _EVALUATED_AT_ONCE // inputs.shape[1]))
        steps = max(1, _SCORES_AT_ONCE // (rows * len(self.data["symbols"])))
        for streams, answers in zip(inputs.split(rows), targets.split(rows), strict=True):
            state: State = None
            for window, wanted in zip(
                streams.split(steps, 1), answers.split(steps, 1), strict=True
            ):
                scores, state = self.model(window, state)
                flat = scores.flatten(0, 1).float()
                nats += nn.functional.cross_entropy(
                    flat, wanted.flatten(), ignore_index=PADDING, reduction="sum"
                )
                right += ((scores.argmax(-1) == wanted) & (wanted != PADDING)).sum()
        count = int((targets != PADDING).sum())
        loss = float(nats) / count
        return {
            f"{prefix}_loss": loss,
            f"{prefix}_bits": loss / math.log(2),
            f"{prefix}_accuracy": int(right) / count,
        }

    def _streams(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """A block as inputs and targets, [rows, length] each; what is not to count is padding."""
        total, config = len(ids) - 1, self.config
        length = -(-total // min(_EVALUATED_STREAMS, total))
        if not config.carry_state:
            length = min(config.sequence_length, total)
        rows = -(-total // length)
        padded = nn.functional.pad(ids, (0, rows * length + 1 - len(ids)), value=PADDING)
        inputs, targets = padded[:-1].view(rows, length), padded[1:].view(rows, length)
        if config.predict == "last":
            places = torch.arange(1, length + 1, device=ids.device)
            ends = places % min(config.sequence_length, length) == 0
            targets = torch.where(ends, targets, PADDING)
        return inputs, targets

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
        never = (
            [PADDING, len(self.data["symbols"]) - 1] if self.data["unit"] == "words" else [PADDING]
        )
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

    def embeddings(self, info: Any) -> dict[str, Embedding]:
        """The vectors of characters or of words, whichever the network reads."""
        table, data = self.model.embedding.weight, self.data
        return symbol_embedding(table, data["symbols"], data["unit"], data["train_ids"])

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
