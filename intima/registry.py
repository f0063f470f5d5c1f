"""Published models: immutable versions of a card and its ONNX members."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from intima.contracts.model import MemberFile, ModelCard, ModelVersion, Precision
from intima.errors import Conflict, Invalid, NotFound
from intima.store import models
from intima.store.storage import Storage

SHIPPED_NAME = "phantom-unet"
"""Name of the model that comes with Intima, trained on synthetic arteries."""
SHIPPED_ALIAS = "shipped"
DEFAULT_MODEL = f"{SHIPPED_NAME}@{SHIPPED_ALIAS}"
"""What is used where a request names no model: the shipped version, also when a user publishes under its name."""
_ASSETS = "assets/default_model"


def publish(storage: Storage, card: ModelCard) -> ModelVersion:
    """Add a model version; the same card again is the same version.

    Raises:
        Conflict: a member's ONNX file is not in the blob store.
    """
    wanted = [m.onnx_sha256 for m in card.members] + [m.sha256 for v in card.variants for m in v.members]
    missing = [sha256 for sha256 in wanted if not storage.blobs.exists(sha256)]
    if missing:
        raise Conflict(f"Member {missing[0]} is not in the blob store; store members before the card.")
    with storage.writing() as connection:
        return models.add_model(connection, card)


def resolve(storage: Storage, ref: str) -> ModelVersion:
    """Return the model named ``name``, ``name@version`` or ``name@alias``. Raises NotFound."""
    with storage.reading() as connection:
        return models.get_model(connection, ref)


def list_models(storage: Storage) -> tuple[ModelVersion, ...]:
    """Return all versions, newest first."""
    with storage.reading() as connection:
        return models.list_models(connection)


def member_files(card: ModelCard, precision: Precision) -> tuple[MemberFile, ...]:
    """Return the members of a model in one number format.

    Raises:
        Invalid: the model is not published in it; says why where the card does.
    """
    found = card.files(precision)
    if not found:
        reasons = {left.precision: left.reason for left in card.left_out}
        because = f": {reasons[precision]}" if precision in reasons else "."
        raise Invalid(
            f"Model {card.name} has no {precision} variant{because}",
            code="precision_unavailable",
            hint=f"Ask for {', '.join(card.precisions)} or auto.",
            pointer="/precision",
        )
    return found


def read_members(storage: Storage, card: ModelCard, *, precision: Precision = "fp32") -> Iterator[bytes]:
    """Yield the ONNX files of a model, checked against their hashes. Raises Invalid as ``member_files`` does."""
    for member in member_files(card, precision):
        yield storage.blobs.read(member.sha256)


def publish_default(storage: Storage) -> ModelVersion:
    """Publish the model that comes with Intima and point the alias "shipped" at it.

    Raises:
        NotFound: the package holds no default model.
        Conflict: a file of the package is not the one its card names.
    """
    folder = files("intima").joinpath(_ASSETS)
    if not folder.joinpath("card.json").is_file():
        raise NotFound("This installation holds no default model.", hint="Make one: make default-model.")
    card = ModelCard.model_validate_json(folder.joinpath("card.json").read_bytes())
    for position, member in enumerate(card.members):
        _store_member(storage, folder, position=position, sha256=member.onnx_sha256)
    version = publish(storage, card)
    with storage.writing() as connection:
        return models.set_alias(connection, name=version.name, alias=SHIPPED_ALIAS, version=version.version)


def _store_member(storage: Storage, folder: Traversable, *, position: int, sha256: str) -> None:
    if storage.blobs.renew(sha256):
        return
    stored = storage.blobs.put(folder.joinpath(f"member-{position}.onnx").read_bytes())
    if stored != sha256:
        raise Conflict(f"member-{position}.onnx has hash {stored}; its card says {sha256}.", code="bad_default_model")
