"""The typeface of reports: DejaVu Sans, which matplotlib brings. It has Greek, Cyrillic and signs of mathematics."""

from pathlib import Path

import matplotlib as mpl


def regular() -> Path:
    """Return the file of the plain face."""
    return _folder() / "DejaVuSans.ttf"


def bold() -> Path:
    """Return the file of the bold face."""
    return _folder() / "DejaVuSans-Bold.ttf"


def _folder() -> Path:
    return Path(mpl.get_data_path()) / "fonts" / "ttf"
