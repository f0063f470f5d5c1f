"""Read a zip from outside: bounded in files, bytes and ratio; its names never become paths."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from intima.errors import Invalid, Unavailable

HEAD = b"PK\x03\x04"
MAX_FILES = 4_000
MAX_UNPACKED_BYTES = 8 * 2**30
MAX_RATIO = 200
"""Unpacked over packed bytes, of one file and of all together; slides hardly compress."""
FLOOR_BYTES = 256 * 2**20
"""Free space that unpacking leaves on the volume."""
_CHUNK = 2**20
_FORMS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, UnicodeDecodeError)

Entries = Mapping[str, zipfile.ZipInfo]


def is_zip(path: Path) -> bool:
    """Tell by its first bytes whether a file is a zip."""
    with path.open("rb") as file:
        return file.read(len(HEAD)) == HEAD


@contextmanager
def opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, Entries]]:
    """Open a zip and give its plain files by name, in the order of names.

    Raises:
        Invalid: no zip, damaged, links, encrypted or strangely compressed files, a name twice, too much.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            yield bundle, _entries(bundle, path.stat().st_size)
    except _DAMAGE as error:
        raise bad_zip(f"The file is not a zip that can be read: {error}") from error


def extract(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Write one file under a name of our own, no more than its stated size. Raises Invalid."""
    left = entry.file_size
    with bundle.open(entry) as source, target.open("xb") as out:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise bad_zip(f"{_short(entry.filename)} is longer than the zip says.")
            out.write(chunk)


def read_text(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, *, most: int) -> bytes:
    """Return a small file. Raises Invalid where it has more than ``most`` bytes."""
    with bundle.open(entry) as source:
        text = source.read(most + 1)
    if len(text) > most:
        raise too_large(f"{_short(entry.filename)} of more than {most} bytes", f"at most {most}")
    return text


def check_room(folder: Path, size: int) -> None:
    """Make sure that a folder's volume has room. Raises Unavailable."""
    free = shutil.disk_usage(folder).free
    if free - size < FLOOR_BYTES:
        raise Unavailable(
            f"The slide unpacks to {size} bytes; {free} are free for it and {FLOOR_BYTES} must stay free.",
            code="storage_full",
            hint="Free space on the volume of temporary files, or set TMPDIR to a larger one.",
        )


def bad_zip(found: str) -> Invalid:
    """Return the error for a zip that cannot be read within bounds."""
    return Invalid(found, code="bad_zip", hint="Make a plain zip (stored or deflated) of the slide's files.")


def too_large(found: str, need: str) -> Invalid:
    """Return the error for a zip beyond a limit."""
    return Invalid(f"Got a zip with {found}; need {need}.", code="too_large")


def _entries(bundle: zipfile.ZipFile, packed_bytes: int) -> Entries:
    listed = bundle.infolist()
    if len(listed) > MAX_FILES:
        raise too_large(f"{len(listed)} files", f"at most {MAX_FILES}")
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in sorted(listed, key=lambda e: e.filename):
        if entry.is_dir() or entry.filename.startswith(_LITTER[0]) or PurePosixPath(entry.filename).name in _LITTER:
            continue
        _check(entry)
        if entry.filename in found:
            raise bad_zip(f"{_short(entry.filename)} is in the zip twice.")
        found[entry.filename] = entry
    total = sum(entry.file_size for entry in found.values())
    if total > min(MAX_UNPACKED_BYTES, MAX_RATIO * packed_bytes + _CHUNK):
        raise too_large(f"{total} bytes unpacked", f"at most {MAX_UNPACKED_BYTES} and {MAX_RATIO} times the zip")
    return found


def _check(entry: zipfile.ZipInfo) -> None:
    """Refuse what is no plain file within bounds. Raises Invalid."""
    if not entry.filename or entry.header_offset < 0:
        raise bad_zip("The zip has an entry without a name or outside the file.")
    if stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG}:
        raise bad_zip(f"{_short(entry.filename)} is a link or no plain file.")
    if entry.flag_bits & 1:
        raise bad_zip(f"{_short(entry.filename)} is encrypted.")
    if entry.compress_type not in _FORMS:
        raise bad_zip(f"{_short(entry.filename)} is neither stored nor deflated.")
    if entry.file_size > MAX_RATIO * entry.compress_size + _CHUNK:
        raise too_large(f"{_short(entry.filename)} at more than {MAX_RATIO} times its size", "a slide")


def _short(name: str) -> str:
    return repr(name[:80])
