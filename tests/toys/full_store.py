"""A store with a row in every table and blobs that rows name."""

from pathlib import Path

from any_rows import fill
from sqlalchemy import insert, update

from intima.store import tables as t
from intima.store.storage import Storage

DAY_S = 86_400.0


def fill_store(storage: Storage) -> dict[str, bytes]:
    """Fill every table; return the blobs that rows name."""
    contents = [b"slide", b"mask" * 1000, b"", b"scores", b"\x00" * 70_000]
    blobs = {storage.blobs.put(data): data for data in contents}
    slide, mask, empty, scores, weights = blobs
    with storage.writing() as conn:
        fill(conn)
        conn.execute(update(t.slides).values(sha256=slide))
        artefacts = [{"name": "mask.png", "sha256": mask, "bytes": 4000}, {"name": "none", "sha256": empty, "bytes": 0}]
        conn.execute(update(t.units).values(result={"artefacts": artefacts, "deep": [{"scores_sha256": scores}]}))
        conn.execute(update(t.jobs).values(message=f"made {weights}"))
        conn.execute(update(t.benchmarks).values(spec={"dataset_sha256": "e" * 64}))
    return blobs


def add_slide(storage: Storage, number: int, data: bytes) -> str:
    """Store a blob and then a row that names it, as an upload does; return the blob's name."""
    sha256 = storage.blobs.put(data)
    row = {"id": f"sld_{number:032x}", "identity": f"{number:064x}", "sha256": sha256, "name": "a", "info": {}}
    with storage.writing() as conn:
        conn.execute(insert(t.slides).values(**row, created_at=t.database_now()))
    return sha256


def damage(path: Path, *, position: int = 0) -> None:
    """Flip a bit of a stored file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
