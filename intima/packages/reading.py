"""Read a package from outside: nothing is stored before every byte and every network has been checked."""

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from intima.contracts.dataset import label_schema
from intima.contracts.model import MemberFile, ModelCard, ModelVersion
from intima.errors import Invalid
from intima.packages.layout import CARD, README, SUMS, member_names, sums_text
from intima.packages.proving import prove_networks
from intima.registry import publish
from intima.store.storage import Storage

MAX_MEMBERS = 20
MAX_FILES = 3 + 3 * MAX_MEMBERS
MAX_TEXT_BYTES = 2**20
MAX_UNPACKED_BYTES = 8 * 2**30
MAX_NETWORK_BYTES = 2**31 - 1
"""What one protobuf message can hold."""
MAX_RATIO = 200
"""Unpacked over packed bytes of one file; weights hardly compress."""
_TILE_PX = range(64, 4097)
_CHUNK = 2**20
_FORMS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def import_package(archive: Path, storage: Storage) -> ModelVersion:
    """Store the model of a package and return it, marked as imported; the same package twice is one version.

    Names in the zip are compared and never become paths. Networks are checked and run once in a limited child process.

    Raises:
        Invalid: no package, a missing, extra or altered file, a card that cannot be, a network that is unsafe or is no
            net of this card.
    """
    with _opened(archive) as bundle, TemporaryDirectory(prefix="intima-package-") as folder:
        entries = _entries(bundle)
        card = _read_card(bundle, entries)
        members = member_names(card)
        _check_names(entries, {CARD, README, SUMS, *members})
        _check_texts(bundle, entries, members)
        paths = _unpack(bundle, entries, members, folder=Path(folder))
        prove_networks(paths, card=card)
        for path in paths.values():
            storage.blobs.put_file(path)
    return publish(storage, card.model_copy(update={"imported": True}))


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open the zip; whatever a damaged one raises is the client's mistake."""
    try:
        with zipfile.ZipFile(archive) as bundle:
            yield bundle
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise _refused(f"The file is not a zip that can be read: {error}", "not_a_package") from error


def _entries(bundle: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the plain files of the zip by name."""
    found = bundle.infolist()
    if len(found) > MAX_FILES:
        raise _refused(f"Got {len(found)} files; a package has at most {MAX_FILES}.", "too_large")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in found:
        _check_form(entry)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if entry.is_dir() or kind not in {0, stat.S_IFREG} or entry.flag_bits & 1:
            raise _refused(f"{entry.filename[:80]!r} is not a plain file.", "unexpected_file")
        if entry.filename in entries:
            raise _refused(f"{entry.filename[:80]!r} is in the zip twice.", "unexpected_file")
        if entry.file_size > MAX_RATIO * entry.compress_size + _CHUNK:
            raise _refused(f"{entry.filename[:80]!r} unpacks to more than {MAX_RATIO} times its size.", "too_large")
        entries[entry.filename] = entry
    return entries


def _check_form(entry: zipfile.ZipInfo) -> None:
    """Refuse what Python cannot read within bounds: it unpacks a chunk of bzip2 or LZMA whole, however large that is.

    Raises:
        Invalid: no name, a place before the start of the file, neither stored nor deflated.
    """
    if not entry.filename or entry.header_offset < 0:
        raise _refused("The zip has an entry without a name or outside the file.", "not_a_package")
    if entry.compress_type not in _FORMS:
        raise _refused(f"{entry.filename[:80]!r} is neither stored nor deflated.", "not_a_package")


def _read_card(bundle: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> ModelCard:
    text = _read_text(bundle, entries, CARD)
    try:
        card = ModelCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        pointer = "".join(f"/{part}" for part in first["loc"])
        raise Invalid(f"{CARD}{pointer}: {first['msg']}", code="bad_card", pointer=pointer) from error
    _check_card(card)
    return card


def _check_card(card: ModelCard) -> None:
    """Refuse figures that no model of Intima has. Raises Invalid."""
    label_schema(card.classes)
    if len(card.members) > MAX_MEMBERS:
        raise _bad_card(f"{len(card.members)} members", f"at most {MAX_MEMBERS}", "/members")
    if card.tile_px not in _TILE_PX or not 0 <= 2 * card.halo_px < card.tile_px:
        found = f"tiles of {card.tile_px} px with a halo of {card.halo_px} px"
        raise _bad_card(found, f"{_TILE_PX.start} to {_TILE_PX.stop - 1} px and less than half of it", "/tile_px")
    listed = tuple(MemberFile(sha256=m.onnx_sha256, bytes=m.bytes) for m in card.members)
    if card.files("fp32") != listed:
        raise _bad_card("an fp32 variant that is not its members", "the same files in the same order", "/variants")
    if len({*card.precisions}) != len(card.precisions):
        raise _bad_card("one number format twice", "one variant for each", "/variants")
    if any(len(card.files(p)) != len(listed) for p in card.precisions):
        raise _bad_card("a variant without one of its members", f"{len(listed)} in each", "/variants")


def _check_names(entries: Mapping[str, zipfile.ZipInfo], wanted: set[str]) -> None:
    missing, extra = sorted(wanted - set(entries)), sorted(set(entries) - wanted)
    if missing:
        raise _refused(f"The package has no {missing[0]}, which its card asks for.", "missing_file")
    if extra:
        raise _refused(f"The package has {extra[0][:80]!r}, which its card does not name.", "unexpected_file")


def _check_texts(
    bundle: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], members: Mapping[str, MemberFile]
) -> None:
    """Check the sums against the texts of the zip and the hashes of the card."""
    hashes = {name: hashlib.sha256(_read_text(bundle, entries, name)).hexdigest() for name in (CARD, README)}
    hashes |= {name: file.sha256 for name, file in members.items()}
    if _read_text(bundle, entries, SUMS) != sums_text(hashes):
        raise _refused(f"{SUMS} does not list the hashes of the card, the README and the members.", "wrong_hash")


def _read_text(bundle: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str) -> bytes:
    if name not in entries:
        raise _refused(f"The zip has no {name} at its top.", "missing_file")
    with bundle.open(entries[name]) as source:
        text = source.read(MAX_TEXT_BYTES + 1)
    if len(text) > MAX_TEXT_BYTES:
        raise _refused(f"{name} is larger than {MAX_TEXT_BYTES} bytes.", "too_large")
    return text


def _unpack(
    bundle: zipfile.ZipFile,
    entries: Mapping[str, zipfile.ZipInfo],
    members: Mapping[str, MemberFile],
    *,
    folder: Path,
) -> dict[str, Path]:
    """Write the networks under names of our own and check size and hash."""
    if sum(file.bytes for file in members.values()) > MAX_UNPACKED_BYTES:
        raise _refused(f"The networks have more than {MAX_UNPACKED_BYTES} bytes.", "too_large")
    paths = {}
    for number, (name, file) in enumerate(members.items()):
        if file.bytes > MAX_NETWORK_BYTES:
            raise _refused(f"{name} has more than {MAX_NETWORK_BYTES} bytes.", "too_large")
        paths[name] = folder / f"{number}"
        if _extract(bundle, entries[name], paths[name], most=file.bytes) != file.sha256:
            raise _refused(f"{name} is not the file that the card names: size or SHA-256 differ.", "wrong_hash")
    return paths


def _extract(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, *, most: int) -> str:
    """Write at most ``most`` bytes of a file; return the SHA-256 of what was written, "" where there were more."""
    digest, left = hashlib.sha256(), most
    with bundle.open(entry) as source, target.open("wb") as out:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                return ""
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest() if left == 0 else ""


def _refused(message: str, code: str) -> Invalid:
    return Invalid(message, code=code, hint="Export the model again: GET .../package.", pointer="/file")


def _bad_card(found: str, need: str, pointer: str) -> Invalid:
    return Invalid(f"The card has {found}; need {need}.", code="bad_card", pointer=pointer)
