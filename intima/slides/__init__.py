"""Slides and images of every supported format; masks; decoding in a child process.

The names below are loaded at first use: a process that only asks ``intima.slides.isolation`` for work never loads a
decoder itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intima.slides.masks import read_mask
    from intima.slides.opening import READERS, Slide, open_slide
    from intima.slides.working import read_image, read_resampled, read_working

__all__ = ["READERS", "Slide", "open_slide", "read_image", "read_mask", "read_resampled", "read_working"]

_HOMES = {
    "READERS": "intima.slides.opening",
    "Slide": "intima.slides.opening",
    "open_slide": "intima.slides.opening",
    "read_image": "intima.slides.working",
    "read_mask": "intima.slides.masks",
    "read_resampled": "intima.slides.working",
    "read_working": "intima.slides.working",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
