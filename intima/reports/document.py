"""What a report is made of. All texts are plain: writers escape them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Tone = Literal["plain", "lead", "warning"]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph. A lead stands out; a warning is marked as such in words too."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one line each."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    numeric: bool = True
    """Aligned to the right."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a header that is repeated on every page."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """What stands below."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing; ``caption`` also stands for it where it cannot be seen."""

    caption: str
    width_in: float
    height_in: float
    render: Callable[[Literal["svg", "pdf"]], bytes]
    """render(format) -> file; the PDF has one page of just this size."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture made of pixels; ``caption`` also stands for it where it cannot be seen."""

    caption: str
    data: bytes
    media_type: Literal["image/png", "image/jpeg"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures beside each other."""

    items: tuple[Picture, ...]


Block: TypeAlias = Paragraph | Facts | Table | Figure | Pictures


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A report."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    footer: str = ""
    opening: tuple[Block, ...] = field(default=())
    """Before the first heading."""


LONGEST_TEXT = 4_000
"""Characters; of a longer one nobody reads the rest, and setting it takes time with its square."""


def printable(text: str, *, most: int = LONGEST_TEXT) -> str:
    """Return a text without control characters, line breaks and marks that turn the direction of writing, cut."""
    kept = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(c if c.isprintable() else " " for c in kept)
