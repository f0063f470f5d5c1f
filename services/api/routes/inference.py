"""The Open Inference Protocol v2 (KServe, Triton) over REST: published models on raw tiles."""

import threading
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from intima.errors import Invalid, NotFound, Unavailable
from services.api import inferring
from services.api.dependencies import State, StateDep
from services.api.inferring import (
    ModelIndex,
    ModelMetadata,
    ServerMetadata,
    find_model,
    infer,
    missing_files,
    model_metadata,
    repository_index,
    server_is_ready,
    server_metadata,
    slot,
)
from services.api.tensor_bodies import HEADER_LENGTH, pack, read_body, unpack, write_body
from services.api.turns import departure

router = APIRouter(prefix="/v2", tags=["inference protocol"])

_IN_MEMORY = 2**20
_TENSORS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}, "application/octet-stream": {}},
    }
}
_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {}, "application/octet-stream": {}}}}


class IndexRequest(BaseModel):
    """Which models to list."""

    ready: bool = False
    """True leaves out those whose files are gone."""


@router.get("/health/live", operation_id="oip_server_live")
async def server_live() -> dict[str, bool]:
    """Say that the process answers."""
    return {"live": True}


@router.get("/health/ready", operation_id="oip_server_ready")
def server_ready(state: StateDep) -> dict[str, bool]:
    """Say whether the default model loads; 503 where it does not."""
    if not server_is_ready(state):
        raise Unavailable("The default model does not load.", hint="See GET /readyz.")
    return {"ready": True}


@router.get("", operation_id="oip_server_metadata")
def get_server_metadata() -> ServerMetadata:
    """Return name, version and extensions of the server."""
    return server_metadata()


@router.post("/repository/index", operation_id="oip_repository_index")
def index_repository(
    state: StateDep, body: Annotated[IndexRequest, Body(default_factory=IndexRequest)]
) -> list[ModelIndex]:
    """List every version of every published model, newest first."""
    return repository_index(state, ready_only=body.ready)


@router.get("/models/{name}", operation_id="oip_model_metadata")
def get_metadata(name: str, state: StateDep) -> ModelMetadata:
    """Return inputs, outputs and limits of the newest version of a model; ``name@alias`` works too."""
    return model_metadata(state, name, "")


@router.get("/models/{name}/versions/{version}", operation_id="oip_model_version_metadata")
def get_version_metadata(name: str, version: str, state: StateDep) -> ModelMetadata:
    """Return inputs, outputs and limits of a version of a model; an alias is a version too."""
    return model_metadata(state, name, version)


@router.get("/models/{name}/ready", operation_id="oip_model_ready")
def model_ready(name: str, state: StateDep) -> dict[str, bool]:
    """Say whether the newest version of a model can run."""
    return _ready(state, name, "")


@router.get("/models/{name}/versions/{version}/ready", operation_id="oip_model_version_ready")
def model_version_ready(name: str, version: str, state: StateDep) -> dict[str, bool]:
    """Say whether a version of a model can run."""
    return _ready(state, name, version)


def _ready(state: State, name: str, version: str) -> dict[str, bool]:
    reason = missing_files(state, find_model(state, name, version))
    if reason:
        raise Unavailable(reason, code="model_not_ready")
    return {"ready": True}


_HeaderLength = Annotated[str | None, Header(alias=HEADER_LENGTH)]
_Coding = Annotated[str, Header()]


@router.post("/models/{name}/infer", operation_id="oip_infer", openapi_extra=_TENSORS, responses=_ANSWER)
async def infer_newest(
    *,
    name: str,
    request: Request,
    state: StateDep,
    header_length: _HeaderLength = None,
    content_encoding: _Coding = "",
    accept_encoding: _Coding = "",
) -> Response:
    """Run the newest version of a model over tiles."""
    return await _infer(state, request, (name, ""), header_length, (content_encoding, accept_encoding))


@router.post(
    "/models/{name}/versions/{version}/infer",
    operation_id="oip_infer_version",
    openapi_extra=_TENSORS,
    responses=_ANSWER,
)
async def infer_version(
    *,
    name: str,
    version: str,
    request: Request,
    state: StateDep,
    header_length: _HeaderLength = None,
    content_encoding: _Coding = "",
    accept_encoding: _Coding = "",
) -> Response:
    """Run a version of a model over tiles."""
    return await _infer(state, request, (name, version), header_length, (content_encoding, accept_encoding))


async def _infer(
    state: State, request: Request, model: tuple[str, str], header_length: str | None, codings: tuple[str, str]
) -> Response:
    """Spool the body, so that only requests that hold a slot have theirs in memory, and answer in a thread."""
    state.infer_turns.refuse_full()
    with SpooledTemporaryFile(_IN_MEMORY, prefix="intima-tensors-") as body:
        try:
            async for chunk in request.stream():
                body.write(chunk)
        except ClientDisconnect as error:
            raise Invalid("The client left before its request was whole.", code="bad_body") from error
        async with departure(request) as left:
            return await state.infer_turns.run(
                lambda: _answer(state, body, model, header_length, codings, left=left), wait_s=inferring.SLOT_WAIT_S
            )


def _answer(
    state: State,
    body: "SpooledTemporaryFile[bytes]",
    model: tuple[str, str],
    header_length: str | None,
    codings: tuple[str, str],
    *,
    left: threading.Event,
) -> Response:
    coding, accepted = codings
    with slot(state):
        body.seek(0)
        data = unpack(body.read(), coding, most_bytes=state.settings.max_upload_bytes)
        asked = read_body(data, header_length, model=model[0], version=model[1])
        content, json_length = write_body(infer(state, asked.question, stays=lambda: not left.is_set()), asked)
        content, packed = pack(content, accepted)
    headers = {"Content-Encoding": packed, "Vary": "Accept-Encoding"} if packed else {"Vary": "Accept-Encoding"}
    if json_length is None:
        return Response(content, media_type="application/json", headers=headers)
    headers[HEADER_LENGTH] = str(json_length)
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.post("/repository/models/{name}/load", include_in_schema=False)
@router.post("/repository/models/{name}/unload", include_in_schema=False)
def load_model_by_hand(name: str) -> None:
    """Refuse: models load when they are asked for, and the least recently used one makes room."""
    raise Invalid(f"Model {name[:100]!r} loads when it is asked for; there is nothing to load or unload.")


@router.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
def not_in_protocol(path: str) -> None:
    """Refuse everything else of the protocol by name."""
    raise NotFound(f"/v2/{path[:200]} is not served; see GET /v2 for the extensions that are.")
