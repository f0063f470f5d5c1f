"""The one place where a decoder's failure becomes an Intima error, and the limits checked before decoding."""

from collections.abc import Iterator
from contextlib import contextmanager

from intima.errors import IntimaError, Invalid

MAX_SIDE_PX = 2_000_000
"""Longest side of a slide in pixels."""
MAX_DECODE_PIXELS = 89_478_485
"""Pixels of an image that can only be decoded whole (a quarter GiB of RGB; Pillow's own bomb limit)."""
MAX_SEGMENT_BYTES = 256 * 2**20
"""Decoded bytes of one TIFF tile or strip."""
MAX_SEGMENTS = 16_000_000
"""Tiles or strips of one TIFF page."""
MAX_LEVELS = 32
"""Pyramid levels of one slide."""

_HINT = "Open the file in its own viewer and export it again as PNG, JPEG, TIFF or SVS."


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises inside the block into Invalid with code "unreadable_image"."""
    try:
        yield
    except IntimaError:
        raise
    except Exception as error:  # decoders raise struct.error, TypeError, IndexError, MemoryError, ... on bad bytes
        raise unreadable(name, type(error).__name__) from error


def unreadable(name: str, reason: str) -> Invalid:
    """Return the error for a file that no decoder can read; ``reason`` is a short technical word."""
    label = f"{name!r}" if name else "a file"
    return Invalid(f"Got {label}, which cannot be decoded as an image ({reason}).", code="unreadable_image", hint=_HINT)


def unsupported(found: str, hint: str) -> Invalid:
    """Return the error for an intact image of a kind that has no single right RGB meaning."""
    return Invalid(f"Got {found}; need an 8- or 16-bit brightfield image.", code="unsupported_image", hint=hint)


def cannot_deidentify(what: str, hint: str) -> Invalid:
    """Return the error for a slide whose every part is not known well enough to strip it."""
    return Invalid(f"Got {what}, which cannot be de-identified.", code="cannot_deidentify", hint=hint)


def check_side(width: int, height: int) -> None:
    """Refuse empty and absurd dimensions. Raises Invalid."""
    if min(width, height) < 1:
        raise unreadable("", f"{width} x {height} pixels")
    if max(width, height) > MAX_SIDE_PX:
        raise too_large(f"an image of {width} x {height} pixels", f"sides of at most {MAX_SIDE_PX} pixels")


def check_pixels(width: int, height: int, *, most: int = MAX_DECODE_PIXELS) -> None:
    """Refuse an image with more pixels than may be decoded at once. Raises Invalid."""
    check_side(width, height)
    if width * height > most:
        raise too_large(f"an image of {width} x {height} pixels", f"at most {most} pixels for this use")


def too_large(found: str, need: str) -> Invalid:
    """Return the error for an image beyond a limit."""
    return Invalid(
        f"Got {found}; need {need}.",
        code="image_too_large",
        hint="Crop it, or save it as a tiled pyramidal TIFF.",
    )
