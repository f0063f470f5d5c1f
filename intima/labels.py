"""Tissue classes: the default schema of an artery cross-section, and schemas as data."""

from dataclasses import dataclass

from intima.errors import Invalid

BACKGROUND = "background"
LUMEN = "lumen"
NEOINTIMA = "neointima"
MEDIA = "media"

MACRO = "macro"
"""In scores: the mean over foreground classes; no class may have this name."""

_MAX_CLASSES = 64


@dataclass(frozen=True, slots=True)
class TissueClass:
    """One class of a schema."""

    index: int
    """Value in the mask, 0..63."""
    name: str
    """Field name in lower case."""
    color: str
    """#rrggbb, for overlays and QuPath."""

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Colour as three bytes."""
        return (int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16))


@dataclass(frozen=True, slots=True)
class LabelSchema:
    """The classes of a dataset or model, in index order, 0 is background."""

    classes: tuple[TissueClass, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= _MAX_CLASSES:
            raise Invalid(f"Got {len(self.classes)} classes; need 2 to {_MAX_CLASSES}.", pointer="/classes")
        if [c.index for c in self.classes] != list(range(len(self.classes))):
            raise Invalid("Class indices must be 0, 1, 2, ... without gaps.", pointer="/classes")
        if any(c.name.casefold() == MACRO for c in self.classes):
            raise Invalid(
                f"A class may not be named {MACRO!r}: scores use it for the mean over classes.", pointer="/classes"
            )
        if len({c.name for c in self.classes}) != len(self.classes):
            raise Invalid("Class names must be unique.", pointer="/classes")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in index order."""
        return tuple(c.name for c in self.classes)

    @property
    def foreground(self) -> tuple[TissueClass, ...]:
        """All classes but index 0."""
        return self.classes[1:]

    @property
    def is_arterial(self) -> bool:
        """Tell whether lumen, neointima and media are all present, so that morphometry is defined."""
        return {LUMEN, NEOINTIMA, MEDIA} <= set(self.names)

    def index_of(self, name: str) -> int:
        """Return the mask value of a class name. Raises Invalid for an unknown name."""
        if name not in self.names:
            raise Invalid(f"Got class {name!r}; this schema has {', '.join(self.names)}.")
        return self.names.index(name)


ARTERY = LabelSchema(
    (
        TissueClass(0, BACKGROUND, "#000000"),
        TissueClass(1, LUMEN, "#56b4e9"),
        TissueClass(2, NEOINTIMA, "#e69f00"),
        TissueClass(3, MEDIA, "#cc79a7"),
    )
)
"""Background 0, Lumen 1, Neointima 2, Media 3 in Okabe-Ito colours (colour-blind safe)."""
