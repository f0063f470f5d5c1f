"""Datasets: upload a zip, list, read."""

from typing import Annotated

from fastapi import APIRouter, File, UploadFile, status
from pydantic import BaseModel

from intima.contracts.correction import CorrectedDatasetRequest
from intima.contracts.dataset import Dataset
from intima.datasets import ImportedDataset, import_dataset
from intima.store import catalog
from services.api.correcting import make_dataset
from services.api.dependencies import ReadDep, StateDep
from services.api.routes.paging import PageSize, PageToken
from services.api.uploads import UploadRoute, spooled

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=UploadRoute)


class DatasetCreated(BaseModel):
    """Answer to an upload."""

    id: str
    version: str
    cases: int
    subjects: int
    classes: list[str]
    warnings: list[str]


class DatasetPage(BaseModel):
    """One page of datasets."""

    items: list[Dataset]
    next_page_token: str


@router.post("", operation_id="create_dataset", status_code=status.HTTP_201_CREATED)
def create_dataset(state: StateDep, file: Annotated[UploadFile, File()]) -> DatasetCreated:
    """Store a dataset: a zip with manifest.json, images and single-channel masks of class indices."""
    return _created(import_dataset(spooled(file).path, state.storage))


@router.post("/from_corrections", operation_id="create_corrected_dataset", status_code=status.HTTP_201_CREATED)
def create_corrected_dataset(body: CorrectedDatasetRequest, state: StateDep) -> DatasetCreated:
    """Store corrected masks with their images as a dataset, checked and compared as an upload is.

    A case is the working image of a slide, at the pixel size of the model whose mask was corrected. Its subject is the
    slide's: 422 where there is none. A dataset keeps its images when a slide is deleted.
    """
    return _created(make_dataset(state, body))


def _created(imported: ImportedDataset) -> DatasetCreated:
    dataset = imported.dataset
    return DatasetCreated(
        id=dataset.id,
        version=dataset.version,
        cases=len(dataset.cases),
        subjects=len(dataset.subjects),
        classes=[c.name for c in dataset.classes],
        warnings=list(imported.warnings),
    )


@router.get("", operation_id="list_datasets")
def list_datasets(connection: ReadDep, page_size: PageSize = 50, page_token: PageToken = "") -> DatasetPage:
    """List datasets, newest first."""
    page = catalog.list_datasets(connection, page_size=page_size, page_token=page_token)
    return DatasetPage(items=list(page.items), next_page_token=page.next_page_token)


@router.get("/{dataset_id}", operation_id="get_dataset")
def get_dataset(dataset_id: str, connection: ReadDep) -> Dataset:
    """Return a dataset with its cases."""
    return catalog.get_dataset(connection, dataset_id)
