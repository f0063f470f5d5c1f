"""Models: list, read the card, name a version by an alias, fetch and bring packages."""

from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Annotated

from fastapi import APIRouter, File, UploadFile, status
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from intima.contracts.dataset import Name
from intima.contracts.model import ModelVersion
from intima.packages import import_package, write_package
from intima.store import models
from services.api.dependencies import ReadDep, StateDep, WriteDep
from services.api.routes.paging import PageSize, PageToken
from services.api.uploads import UploadRoute, spooled

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=UploadRoute)
_CHUNK = 2**20


class ModelPage(BaseModel):
    """One page of published models."""

    items: list[ModelVersion]
    next_page_token: str


class AliasTarget(BaseModel):
    """The version an alias points at."""

    version: Name


@router.get("", operation_id="list_models")
def list_models(connection: ReadDep, page_size: PageSize = 50, page_token: PageToken = "") -> ModelPage:
    """List all published versions, newest first."""
    page = models.page_models(connection, page_size=page_size, page_token=page_token)
    return ModelPage(items=list(page.items), next_page_token=page.next_page_token)


@router.post("", operation_id="import_model", status_code=status.HTTP_201_CREATED)
def import_model(state: StateDep, file: Annotated[UploadFile, File()]) -> ModelVersion:
    """Import a package; the same package again is the same version. The model is marked as imported."""
    return import_package(spooled(file).path, state.storage)


@router.get("/{name}", operation_id="get_model")
def get_model(name: str, connection: ReadDep) -> ModelVersion:
    """Return the newest version of a model; ``name@version`` and ``name@alias`` work too."""
    return models.get_model(connection, name)


@router.get("/{name}/versions/{version}", operation_id="get_model_version")
def get_model_version(name: str, version: str, connection: ReadDep) -> ModelVersion:
    """Return one version of a model."""
    return models.get_model(connection, f"{name}@{version}")


@router.get(
    "/{name}/versions/{version}/package",
    operation_id="export_model",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {}}}},
)
def export_model(name: str, version: str, state: StateDep) -> StreamingResponse:
    """Return a model as one zip: card, networks of all variants, hashes, README. The same version, the same bytes."""
    with state.storage.reading() as connection:
        model = models.get_model(connection, f"{name}@{version}")
    out = TemporaryFile(prefix="intima-package-")  # noqa: SIM115 - closed once it is sent
    write_package(state.storage, model.card, out)
    headers = {
        "Content-Disposition": f'attachment; filename="{model.name}-{model.version}.zip"',
        "Content-Length": str(out.tell()),
    }
    return StreamingResponse(_chunks(out), media_type="application/zip", headers=headers)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk


@router.put("/{name}/aliases/{alias}", operation_id="set_model_alias")
def set_model_alias(name: str, alias: str, body: AliasTarget, connection: WriteDep) -> ModelVersion:
    """Point an alias at a version."""
    return models.set_alias(connection, name=name, alias=alias, version=body.version)
