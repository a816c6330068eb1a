"""What a report is made of, and how it is written: as one HTML page and as Markdown.

Sections hold sentences, tables and pictures; both forms are made of the same ones.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

__all__ = ["Cell", "Grid", "Page", "Picture", "Section", "picture"]

_COLORS = 64  # of a picture's palette: enough for its inks and their edges, a third of the bytes
_DPI = 150


@dataclass(frozen=True)
class Cell:
    """A figure in a table, and where in trials.parquet it stands.

    Attributes:
        text: as it is shown.
        source: `trial N, COLUMN`; empty for what is computed from many.
    """

    text: str
    source: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        head: titles of its columns; the first column names the rows.
        rows: cells, as many as titles.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Cell | str, ...], ...]

    @property
    def words(self) -> bool:
        """Whether it holds words: then there are no titles."""
        return not any(self.head)

    def cells(self) -> list[list[Cell]]:
        """All rows; a plain text becomes a cell without a source."""
        return [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in self.rows]


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        name: of its PNG file, without `.png`.
        png: the file.
        alt: what it shows, for those who do not see it.
        size: width and height in CSS pixels.
    """

    name: str
    png: bytes
    alt: str
    size: tuple[int, int]

    @property
    def data(self) -> str:
        """The file as an address that needs no network."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        key: a word for links.
        title: the finding.
        sentences: a paragraph each; what stands between backticks is code.
        grids: tables.
        pictures: below the sentences.
        notes: caveats, in small letters.
    """

    key: str
    title: str
    sentences: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes:
        title: the question.
        sections: in order.
        footer: where the figures come from.
        parts: with several runs, the sections of each, by its name.
    """

    title: str
    sections: tuple[Section, ...]
    footer: str
    parts: dict[str, tuple[Section, ...]] = field(default_factory=dict)

    def groups(self) -> list[tuple[str, tuple[Section, ...]]]:
        """All sections: those of the whole page, then those of each run under its name."""
        return [("", self.sections), *self.parts.items()]

    def pictures(self) -> list[Picture]:
        """All pictures."""
        return [p for _, sections in self.groups() for s in sections for p in s.pictures]

    def html(self) -> str:
        """One page that needs nothing else."""
        from jinja2 import Environment, PackageLoader

        loader = PackageLoader("raysweep.analysis.report", "")
        environment = Environment(
            loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters["code"] = _code
        return environment.get_template("page.html").render(page=self)

    def markdown(self) -> str:
        """The same as Markdown, its pictures as files beside it."""
        blocks = [f"# {self.title}"]
        for name, sections in self.groups():
            level = "##" if not name else "###"
            blocks += [f"## Run {name}"] if name else []
            for section in sections:
                blocks += [f"{level} {section.title}", *_markdown(section)]
        return "\n\n".join([*blocks, self.footer]) + "\n"


def _code(text: str) -> Markup:
    """A sentence with what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _markdown(section: Section) -> list[str]:
    blocks = ["\n".join(f"- {sentence}" for sentence in section.sentences)]
    blocks += [_markdown_table(grid) for grid in section.grids]
    blocks += [f"![{_escape(p.alt)}]({p.name}.png)" for p in section.pictures]
    blocks += [f"*{note}*" for note in section.notes]
    return [block for block in blocks if block]


def _markdown_table(grid: Grid) -> str:
    rows: list[Sequence[Any]] = [grid.head, ["---"] * len(grid.head), *grid.rows]
    return "\n".join("| " + " | ".join(_escape(str(c)) for c in row) + " |" for row in rows)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("[", "\\[").replace("\n", " ")


def picture(figure: Figure, name: str, alt: str) -> Picture:
    """Draws a figure, with a palette of its own so that it stays small."""
    from PIL import Image

    blob = io.BytesIO()
    figure.savefig(blob, format="png", dpi=_DPI)
    width, height = figure.get_size_inches()
    figure.clear()
    with Image.open(blob) as image:
        reduced = image.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE)
    small = io.BytesIO()
    reduced.save(small, format="png", optimize=True)
    return Picture(name, small.getvalue(), alt, (round(96 * width), round(96 * height)))
