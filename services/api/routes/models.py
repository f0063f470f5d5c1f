"""Models: list, read the card, name a version by an alias."""

from fastapi import APIRouter
from pydantic import BaseModel

from intima.contracts.dataset import Name
from intima.contracts.model import ModelVersion
from intima.store import models
from services.api.dependencies import ReadDep, WriteDep
from services.api.routes.paging import PageSize, PageToken

router = APIRouter(prefix="/v1/models", tags=["models"])


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


@router.get("/{name}", operation_id="get_model")
def get_model(name: str, connection: ReadDep) -> ModelVersion:
    """Return the newest version of a model; ``name@version`` and ``name@alias`` work too."""
    return models.get_model(connection, name)


@router.get("/{name}/versions/{version}", operation_id="get_model_version")
def get_model_version(name: str, version: str, connection: ReadDep) -> ModelVersion:
    """Return one version of a model."""
    return models.get_model(connection, f"{name}@{version}")


@router.put("/{name}/aliases/{alias}", operation_id="set_model_alias")
def set_model_alias(name: str, alias: str, body: AliasTarget, connection: WriteDep) -> ModelVersion:
    """Point an alias at a version."""
    return models.set_alias(connection, name=name, alias=alias, version=body.version)
