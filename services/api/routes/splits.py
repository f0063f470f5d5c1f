"""Splits: import them for a dataset, read them, export those of a benchmark."""

from typing import Annotated

from fastapi import APIRouter, Query, status
from pydantic import BaseModel

from intima.contracts.splits import SplitUpload, StoredSplits
from intima.errors import Invalid
from intima.folds import outer_splits
from intima.splits import check_splits, export_splits
from intima.store import catalog
from intima.store.keys import json_sha256, new_id
from services.api.dependencies import ReadDep, WriteDep

router = APIRouter(prefix="/v1", tags=["splits"])


class SplitsCreated(BaseModel):
    """Answer to an import."""

    id: str
    """For a benchmark: {"kind": "split", "split": id}."""
    sha256: str
    protocol: str
    """What tables call the protocol."""
    splits: int
    warnings: list[str]


@router.post("/datasets/{dataset_id}/splits", operation_id="create_splits", status_code=status.HTTP_201_CREATED)
def create_splits(dataset_id: str, upload: SplitUpload, connection: WriteDep) -> SplitsCreated:
    """Import splits for a dataset; the same splits twice are one."""
    dataset = catalog.get_dataset(connection, dataset_id)
    body = upload.model_dump(mode="json", exclude_none=True)
    sha256 = json_sha256({"dataset_version": dataset.version, **body})
    checked = check_splits(upload, dataset=dataset, splits_id=new_id("spl"), sha256=sha256)
    stored = catalog.add_splits(connection, checked)
    return SplitsCreated(
        id=stored.id,
        sha256=stored.sha256,
        protocol=stored.protocol,
        splits=len(stored.splits),
        warnings=list(stored.warnings),
    )


@router.get("/splits/{splits_id}", operation_id="get_splits")
def get_splits(splits_id: str, connection: ReadDep) -> StoredSplits:
    """Return imported splits."""
    return catalog.get_splits(connection, splits_id)


@router.get("/benchmarks/{benchmark_id}/splits", operation_id="export_splits", response_model_exclude_none=True)
def get_benchmark_splits(
    benchmark_id: str, connection: ReadDep, protocol: Annotated[str | None, Query()] = None
) -> SplitUpload:
    """Export the exact outer splits of one protocol of a benchmark, in the form in which they can be imported."""
    stored = catalog.get_benchmark(connection, benchmark_id)
    dataset = catalog.get_dataset(connection, stored.dataset)
    imported = catalog.named_splits(connection, stored.spec)
    drawn = outer_splits(stored.spec, dataset=dataset, imported=imported)
    splits = list(dict.fromkeys(split for seed in drawn.values() for split in seed))
    names = sorted({s.protocol for s in splits})
    wanted = protocol or names[0]
    if wanted not in names or (protocol is None and len(names) > 1):
        raise Invalid(
            f"The benchmark has the protocols {', '.join(names)}.",
            code="protocol_needed",
            hint="Name one of them as protocol.",
            pointer="/protocol",
        )
    name = next((s.name for s in imported.values() if s.protocol == wanted), wanted)
    return export_splits(name, [s for s in splits if s.protocol == wanted])
