"""De-identify a TIFF: copy what the main image needs, byte for byte and in place, and nothing else.

The copy starts as zeros. Tiles and the technical tags of the main image and its levels are copied to where they were;
descriptions are written anew from numbers. Labels, other images, private tags and forgotten bytes are never copied.
"""

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tifffile import COMPRESSION, TiffFile, TiffPage, TiffTag

from intima.slides import _tiff
from intima.slides import _tiff_meta as meta
from intima.slides._guard import cannot_deidentify, unreadable
from intima.slides._thumbnail import is_thumbnail, says_label

_DESCRIPTION, _SUB_IFDS = 270, 330
_LAYOUT = (254, 255, 256, 257, 258, 266, 273, 274, 277, 278, 279, 282, 283, 284, 296, 322, 323, 324, 325, 330, 32997)
_CODING = (259, 292, 293, 317, 347)
_COLOR = (262, 280, 281, 320, 338, 339, 529, 530, 531, 532, 34675)
_TECHNICAL = frozenset((*_LAYOUT, *_CODING, *_COLOR)) - {_SUB_IFDS}
"""Tags that say how pixels are stored, coloured and sized; 34675 is the colour profile, 32997 the depth."""
_CHUNK = 2**20
_OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="{type}" SizeX="{width}" SizeY="{height}" '
    'SizeC="{samples}" SizeZ="1" SizeT="1"{spacing}><Channel ID="Channel:0:0" SamplesPerPixel="{samples}"/>'
    '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
)

Range = tuple[int, int]
"""First byte and the byte after the last."""


def deidentify_tiff(source: Path, target: Path) -> None:
    """Write a copy of an SVS, OME-, Big- or plain TIFF without labels, further images and identifying tags.

    Raises:
        Invalid: several planes, or directories this cannot take apart.
    """
    with TiffFile(source) as file, source.open("rb") as original:
        levels = _tiff.pyramid(file)
        pages = (*levels, *_thumbnail(file, levels))
        for page in pages:
            _tiff.check_page(page)
        if any(says_label(str(page.description).split("|")[0]) for page in levels[1:]):
            raise cannot_deidentify("a TIFF with a level called label or macro", "Save it as a pyramidal TIFF.")
        if math.prod(meta.main_series(file).shape) != math.prod(pages[0].shape):
            raise cannot_deidentify("a TIFF of several planes", "Save the plane you want as a TIFF of its own.")
        size = source.stat().st_size
        plan = _Plan(file, pages)
        plan.check_apart()
        with target.open("w+b") as out:
            for start, stop in _merged(plan.kept_ranges()):
                _copy(original, out, start, stop, size)
            plan.write_directories(out)


def _thumbnail(file: TiffFile, levels: tuple[TiffPage, ...]) -> Iterator[TiffPage]:
    """Yield the second page of an SVS where it is a small picture of the first: readers of SVS count on it."""
    second = file.pages[1] if file.is_svs and len(file.pages) > 1 else None
    if isinstance(second, TiffPage) and is_thumbnail(second, levels):
        yield second


def _merged(ranges: Iterable[Range]) -> Iterator[Range]:
    """Yield ranges sorted, those that touch or overlap as one."""
    last: Range | None = None
    for start, stop in sorted(ranges):
        if last is not None and start <= last[1]:
            last = (last[0], max(last[1], stop))
            continue
        if last is not None:
            yield last
        last = (start, stop)
    if last is not None:
        yield last


def _copy(original: BinaryIO, out: BinaryIO, start: int, stop: int, size: int) -> None:
    if not 0 <= start <= stop <= size:
        raise unreadable("", "TIFF data outside the file")
    original.seek(start)
    out.seek(start)
    while start < stop:
        chunk = original.read(min(_CHUNK, stop - start))
        out.write(chunk)
        start += len(chunk)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What of a file is kept."""

    file: TiffFile
    pages: Sequence[TiffPage]
    """Main image and levels, and the thumbnail of an SVS."""

    def kept_ranges(self) -> Iterator[Range]:
        """Yield the bytes of tiles and of the values of technical tags."""
        for page in self.pages:
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                yield int(offset), int(offset) + int(count)
            for tag in self._tags(page):
                if tag.valuebytecount > self._inline:
                    yield int(tag.valueoffset), int(tag.valueoffset) + int(tag.valuebytecount)

    def check_apart(self) -> None:
        """Refuse a file with a tag twice, or whose pixels or values lie in what is written anew. Raises Invalid."""
        form = self.file.tiff
        rooms = {page.offset: form.tagnosize + len(page.tags) * form.tagsize + form.offsetsize for page in self.pages}
        written = [(0, 2 * form.offsetsize), *((start, start + room) for start, room in rooms.items())]
        kept = list(_merged(self.kept_ranges()))
        if any(page.compression == COMPRESSION.OJPEG for page in self.pages):
            raise cannot_deidentify("a TIFF of old-style JPEG", "Save it as a pyramidal TIFF.")
        if any(len({tag.code for tag in page.tags}) < len(page.tags) for page in self.pages):
            raise cannot_deidentify("a TIFF with a tag twice", "Save it as a pyramidal TIFF.")
        if sum(b - a for a, b in _merged(written + kept)) < sum(b - a for a, b in (*written, *kept)):
            raise cannot_deidentify("a TIFF whose parts lie over each other", "Save it as a pyramidal TIFF.")

    def write_directories(self, out: BinaryIO) -> None:
        """Write header, directories and new descriptions; what follows the header is where it was."""
        chain = self._chain()
        texts = {page.offset: self._description(page) for page in self.pages}
        out.seek(0, 2)
        placed = {offset: (_append(out, text), text) for offset, text in texts.items() if text}
        for page in self.pages:
            following = chain[chain.index(page.offset) + 1 :] if page.offset in chain else []
            self._write_directory(out, page, placed.get(page.offset), following[0] if following else 0)
        out.seek(0)
        out.write(self._header(chain[0]))

    @property
    def _inline(self) -> int:
        """Bytes of a value that stand in the directory itself."""
        return int(self.file.tiff.offsetsize)

    def _tags(self, page: TiffPage) -> list[TiffTag]:
        kept = [tag for tag in page.tags if tag.code in _TECHNICAL]
        return kept + [tag for tag in page.tags if tag.code == _SUB_IFDS and self._leads_to_levels(tag)]

    def _leads_to_levels(self, tag: TiffTag) -> bool:
        below = set(tag.value if isinstance(tag.value, tuple) else (tag.value,))
        levels = {page.offset for page in self.pages}
        if below & levels and not below <= levels:
            raise cannot_deidentify("a TIFF whose levels stand beside other images", "Save it as a pyramidal TIFF.")
        return bool(below & levels)

    def _chain(self) -> list[int]:
        """Return the offsets of the kept directories of the top, in their order."""
        kept = {page.offset for page in self.pages}
        chain = [page.offset for page in self.file.pages if page.offset in kept]
        if not chain or chain[0] != self.pages[0].offset:
            raise cannot_deidentify("a TIFF whose first level is not first", "Save it as a pyramidal TIFF.")
        return chain

    def _header(self, first: int) -> bytes:
        order = "II" if self.file.byteorder == "<" else "MM"
        if self.file.tiff.offsetsize == 8:
            return order.encode() + struct.pack(f"{self.file.byteorder}HHHQ", 43, 8, 0, first)
        return order.encode() + struct.pack(f"{self.file.byteorder}HI", 42, first)

    def _write_directory(self, out: BinaryIO, page: TiffPage, text: tuple[int, bytes] | None, following: int) -> None:
        form = self.file.tiff
        entries = {tag.code: self._entry(tag) for tag in self._tags(page)}
        if text is not None:
            entries[_DESCRIPTION] = self._text_entry(*text)
        body = struct.pack(form.tagnoformat, len(entries)) + b"".join(entries[code] for code in sorted(entries))
        room = form.tagnosize + len(page.tags) * form.tagsize
        if len(body) > room:
            raise cannot_deidentify("a TIFF directory without a description", "Save it as a pyramidal TIFF.")
        out.seek(page.offset)
        out.write(body + struct.pack(form.offsetformat, following))

    def _entry(self, tag: TiffTag) -> bytes:
        handle = self.file.filehandle
        handle.seek(tag.offset)
        return bytes(handle.read(self.file.tiff.tagsize))

    def _text_entry(self, offset: int, text: bytes) -> bytes:
        kinds = "HHQQ" if self.file.tiff.offsetsize == 8 else "HHII"
        return struct.pack(f"{self.file.byteorder}{kinds}", _DESCRIPTION, 2, len(text), offset)

    def _description(self, page: TiffPage) -> bytes:
        if _DESCRIPTION not in page.tags:
            return b""
        first = page.offset == self.pages[0].offset
        if self.file.is_svs:
            return _aperio(page)
        if self.file.is_ome:
            return _ome(self.file, page) if first else b""
        return b"ImageJ=1.0\nunit=micron\n\0" if self.file.is_imagej and first else b""


def _append(out: BinaryIO, text: bytes) -> int:
    """Write a text at the end of the file, on an even offset. Returns the offset."""
    offset = out.seek(0, 2)
    offset = out.seek(offset + offset % 2)
    out.write(text)
    return offset


def _aperio(page: TiffPage) -> bytes:
    """Return Aperio's description with its numbers of size, magnification and pixel size alone."""
    stated = dict(part.split("=", 1) for part in page.description.split("|")[1:] if "=" in part)
    clean = {key.strip(): value.strip() for key, value in stated.items()}
    kept = [f"|{key} = {float(clean[key]):g}" for key in ("AppMag", "MPP") if _is_number(clean.get(key, ""))]
    tile = f"({page.tilewidth}x{page.tilelength}) " if page.is_tiled else ""
    text = f"Aperio Image Library\r\n{page.imagewidth}x{page.imagelength} {tile}{''.join(kept)}\0"
    return text.encode("ascii")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _ome(file: TiffFile, page: TiffPage) -> bytes:
    """Return OME-XML of one image with its size and pixel size alone."""
    mpp = meta.pixel_size(file, page).um
    spacing = "" if mpp is None else f' PhysicalSizeX="{mpp!r}" PhysicalSizeY="{mpp!r}"'
    kind = "uint8" if page.dtype is None else page.dtype.name
    samples, size = page.samplesperpixel, (page.imagewidth, page.imagelength)
    text = _OME.format(type=kind, width=size[0], height=size[1], samples=samples, spacing=spacing)
    return text.encode("ascii") + b"\0"
