"""Messages of proto/v1 to contracts and back. Field names on the wire are those of the JSON."""

from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from pydantic import BaseModel

from intima.contracts._base import Contract

C = TypeVar("C", bound=Contract)
M = TypeVar("M", bound=Message)

_NESTED = {
    "intima.v1.RankingRequest": ("scores", "values"),
    "intima.v1.StabilityRequest": ("pilot", "values"),
    "intima.v1.NemenyiResult": ("groups", "models"),
    "intima.v1.Ranking": ("tiers", "models"),
}
"""Lists of lists: proto3 wraps each inner list in a message."""


def to_contract(message: Message, contract: type[C]) -> C:
    """Return the contract a message stands for; fields that are not set take the contract's defaults.

    Raises:
        pydantic.ValidationError: the message breaks a rule of the contract; NaN and infinity do.
    """
    fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return contract.model_validate(_unwrapped(message, fields))


def to_message(contract: BaseModel, message: type[M]) -> M:
    """Return the message of a contract or a view. Null and absent are the same on the wire."""
    fields = _wrapped(message.DESCRIPTOR, contract.model_dump(mode="json", by_alias=True))
    return json_format.ParseDict(fields, message())


def to_json(message: Message) -> dict[str, Any]:
    """Return a message as the JSON of the REST door, without fields that are null there."""
    fields = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _unwrapped(message, fields)


def _unwrapped(message: Message, fields: dict[str, Any]) -> dict[str, Any]:
    out = dict(fields)
    outer, inner = _NESTED.get(message.DESCRIPTOR.full_name, ("", ""))
    if outer in out:
        out[outer] = [row.get(inner, []) for row in out[outer]]
    for name, value in fields.items():
        if isinstance(value, dict) and _is_ours(message.DESCRIPTOR, name):
            out[name] = _unwrapped(getattr(message, name), value)
    return out


def _wrapped(descriptor: Any, fields: dict[str, Any]) -> dict[str, Any]:
    out = {name: value for name, value in fields.items() if value is not None}
    outer, inner = _NESTED.get(descriptor.full_name, ("", ""))
    if outer in out:
        out[outer] = [{inner: row} for row in out[outer]]
    for name, value in out.items():
        if isinstance(value, dict) and _is_ours(descriptor, name):
            out[name] = _wrapped(descriptor.fields_by_name[name].message_type, value)
    return out


def _is_ours(descriptor: Any, name: str) -> bool:
    found = descriptor.fields_by_name[name].message_type
    return found is not None and not found.GetOptions().map_entry and str(found.full_name).startswith("intima.")
