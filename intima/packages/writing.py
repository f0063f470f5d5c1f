"""Write a published model as a zip: the same model, the same bytes."""

import hashlib
import zipfile
from typing import IO

from intima.contracts.model import ModelCard
from intima.packages.layout import CARD, README, SUMS, card_json, member_names, readme_text, sums_text
from intima.store.storage import Storage

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


def write_package(storage: Storage, card: ModelCard, out: IO[bytes]) -> None:
    """Write card.json, README.md, SHA256SUMS and the networks of all variants.

    Raises:
        NotFound: a network is not in the blob store.
    """
    texts = {CARD: card_json(card), README: readme_text(card)}
    members = member_names(card)
    hashes = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    hashes |= {name: file.sha256 for name, file in members.items()}
    texts[SUMS] = sums_text(hashes)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, strict_timestamps=False) as bundle:
        for name in sorted(texts):
            bundle.writestr(_entry(name), texts[name])
        for name in sorted(members):
            bundle.writestr(_entry(name), storage.blobs.read(members[name].sha256))


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.create_system = _UNIX
    entry.external_attr = 0o100644 << 16
    return entry
