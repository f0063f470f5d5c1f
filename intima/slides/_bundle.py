"""Slides of several files in one zip: MIRAX (MRXS) and DICOM."""

import re
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from intima.arrays import RgbImage
from intima.contracts.segmentation import SlideInfo
from intima.errors import Invalid
from intima.geometry import Region, Size
from intima.slides import _archive, _dicom, _openslide
from intima.slides._archive import Entries
from intima.slides._scratch import scratch_folder
from intima.slides._source import Source

_MIRAX = ".mrxs"
_INDEX = "Slidedat.ini"
_MAX_INDEX_BYTES = 2**20
_FILE_KEY = re.compile(rb"^\s*(?:INDEXFILE|FILE_\d+)\s*=(.*)$", re.IGNORECASE)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_()+ -][A-Za-z0-9_.()+ -]{0,199}")


@dataclass(frozen=True, slots=True)
class UnpackedSlide:
    """A slide read from files unpacked for it."""

    source: Source
    release: Callable[[], None]

    @property
    def info(self) -> SlideInfo:
        """What the files say about themselves."""
        return self.source.info

    @property
    def levels(self) -> tuple[Size, ...]:
        """Size of each pyramid level, largest first."""
        return self.source.levels

    def read_level(self, level: int, region: Region, /) -> RgbImage:
        """Decode a region inside the level."""
        return self.source.read_level(level, region)

    def close(self) -> None:
        """Release the files and remove them."""
        self.release()


def recognises(_path: Path, head: bytes) -> bool:
    """Tell whether the file is a zip."""
    return head.startswith(_archive.HEAD)


def open_bundle(path: Path) -> UnpackedSlide:
    """Unpack the one slide of a zip into a folder of its own and open it.

    Raises:
        Invalid: "bad_zip", "too_large", "several_slides", "incomplete_slide", "unknown_format" where it holds none, and
            what the reader of the slide raises.
        Unavailable: no room to unpack it.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        with _archive.opened(path) as (bundle, entries):
            paths = _unpack_slide(bundle, entries, folder)
        is_mirax = paths[0].suffix == _MIRAX
        source = _openslide.open_scanner_slide(paths[0]) if is_mirax else _dicom.open_dicom(paths)
        stack.callback(source.close)
        return UnpackedSlide(source, stack.pop_all().close)


def _unpack_slide(bundle: zipfile.ZipFile, entries: Entries, folder: Path) -> list[Path]:
    """Write the files of the slide; return the main file of MIRAX, or all of DICOM. Raises Invalid, Unavailable."""
    mirax = [name for name in entries if name.lower().endswith(_MIRAX)]
    if len(mirax) > 1:
        raise _several(f"{len(mirax)} MRXS slides")
    paths = [_unpack_mirax(bundle, entries, mirax[0], folder)] if mirax else _unpack_instances(bundle, entries, folder)
    if not paths:
        raise Invalid(
            f"Got a zip of {len(entries)} files without a slide in it.",
            code="unknown_format",
            hint="Zip a .mrxs file with its folder, or the .dcm files of one slide. Send any other image as it is.",
        )
    return paths


def unpack_dicom(path: Path, folder: Path) -> list[Path]:
    """Unpack the DICOM files of a zip into a folder. Raises Invalid, Unavailable as ``open_bundle``."""
    with _archive.opened(path) as (bundle, entries):
        return _unpack_instances(bundle, entries, folder)


def _unpack_instances(bundle: zipfile.ZipFile, entries: Entries, folder: Path) -> list[Path]:
    return _unpack(bundle, {name: entry for name, entry in entries.items() if _is_dicom(bundle, entry)}, folder)


def _is_dicom(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    with bundle.open(entry) as source:
        return _dicom.is_dicom(source.read(_dicom.HEAD_BYTES))


def _unpack(bundle: zipfile.ZipFile, entries: Entries, folder: Path) -> list[Path]:
    """Write the files as 0.dcm, 1.dcm, ... in the order of their names."""
    _archive.check_room(folder, sum(entry.file_size for entry in entries.values()))
    paths = [folder / f"{number}.dcm" for number in range(len(entries))]
    for entry, path in zip(entries.values(), paths, strict=True):
        _archive.extract(bundle, entry, path)
    return paths


def _unpack_mirax(bundle: zipfile.ZipFile, entries: Entries, main: str, folder: Path) -> Path:
    """Write the index and the files it names beside ``slide.mrxs``; nothing else is unpacked."""
    home = main[: -len(_MIRAX)]
    index = entries.get(f"{home}/{_INDEX}")
    if index is None:
        raise _incomplete(f"{_INDEX} in the folder {home[-80:]!r}")
    text = _archive.read_text(bundle, index, most=_MAX_INDEX_BYTES)
    wanted = {name: entries.get(f"{home}/{name}") for name in named_files(text)}
    present = {name: entry for name, entry in wanted.items() if entry is not None}
    if len(present) < len(wanted):
        raise _incomplete(f"{min(set(wanted) - set(present))!r}, which {_INDEX} names")
    _archive.check_room(folder, sum(entry.file_size for entry in present.values()))
    inside = folder / "slide"
    inside.mkdir()
    (inside / _INDEX).write_bytes(text)
    for name, entry in present.items():
        _archive.extract(bundle, entry, inside / name)
    path = folder / f"slide{_MIRAX}"
    path.touch()
    return path


def named_files(index: bytes) -> set[str]:
    """Return the files that a Slidedat.ini names.

    OpenSlide opens whatever path stands there, so a name with a separator could show any file of this machine.
    Raises Invalid.
    """
    names = set()
    for line in index.split(b"\n"):
        if b"FILE" in line.upper() and (b"/" in line or b"\\" in line or b"\0" in line):
            raise _bad_name(line)
        found = _FILE_KEY.match(line.strip())
        if found:
            name = found.group(1).strip().decode("latin-1")
            if not _PLAIN_NAME.fullmatch(name) or name == _INDEX:
                raise _bad_name(line)
            names.add(name)
    return names


def _bad_name(line: bytes) -> Invalid:
    return Invalid(
        f"{_INDEX} names a file by something other than a plain name: {line[:80].decode('latin-1')!r}.",
        code="unreadable_image",
        hint="Zip the .mrxs file and its folder as the scanner wrote them.",
    )


def _incomplete(missing: str) -> Invalid:
    return Invalid(
        f"The zip has no {missing}.",
        code="incomplete_slide",
        hint="Zip the .mrxs file together with the folder of the same name beside it.",
    )


def _several(found: str) -> Invalid:
    return Invalid(f"Got a zip with {found}; need one.", code="several_slides", hint="Send one zip for each slide.")
