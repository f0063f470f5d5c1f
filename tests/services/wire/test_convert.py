"""Messages and contracts are the same shapes."""

import inspect

import pytest
from google.protobuf.descriptor import Descriptor
from pydantic import BaseModel

from intima.contracts import comparison, margin, plan, statistics
from intima.contracts.statistics import NemenyiResult, RankingRequest
from services.wire.convert import to_contract, to_message
from services.wire.v1 import comparison_pb2 as pb

CONTRACTS = {
    name: contract
    for module in (comparison, margin, plan, statistics)
    for name, contract in inspect.getmembers(module, inspect.isclass)
    if issubclass(contract, BaseModel) and contract.__module__ == module.__name__
}
WRAPPERS = {"Row", "Group"}


@pytest.mark.parametrize("name", sorted(set(pb.DESCRIPTOR.message_types_by_name) - WRAPPERS))
def test_every_message_has_the_fields_of_its_contract(name: str) -> None:
    descriptor: Descriptor = pb.DESCRIPTOR.message_types_by_name[name]
    fields = {field.alias or key for key, field in CONTRACTS[name].model_fields.items()}
    assert {f.name for f in descriptor.fields} == fields


def test_lists_of_lists_survive() -> None:
    found = to_message(NemenyiResult(critical_difference=1.5, groups=(("a", "b"), ("c",))), pb.NemenyiResult)
    assert [list(g.models) for g in found.groups] == [["a", "b"], ["c"]]
    message = pb.RankingRequest(scores=[pb.Row(values=[1, 2]), pb.Row()], models=["a"], subjects=["x"])
    assert to_contract(message, RankingRequest).scores == ((1.0, 2.0), ())
