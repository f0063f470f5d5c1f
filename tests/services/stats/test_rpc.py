"""The gRPC door: the same answers as REST, health, reflection, hostile messages."""

import json
import math
from collections.abc import Iterator

import grpc
import pytest
from fastapi.testclient import TestClient
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.stats.dependencies import State
from services.stats.rpc import SERVICE, create_server
from services.wire.convert import to_json
from services.wire.v1 import comparison_pb2 as pb
from services.wire.v1 import comparison_pb2_grpc as pb_grpc

DEADLINE_S = 20.0
PROFILE = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(scope="module")
def channel(state: State) -> Iterator[grpc.Channel]:
    door = create_server(state)
    door.server.start()
    with grpc.insecure_channel(f"127.0.0.1:{door.port}") as found:
        grpc.channel_ready_future(found).result(DEADLINE_S)
        yield found
    door.stop(None)


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> pb_grpc.ComparisonStub:
    return pb_grpc.ComparisonStub(channel)


def without_nulls(value: object) -> object:
    """Null and absent are the same on the wire, and so are an empty list and no list."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None and v != []}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


score = st.one_of(st.floats(0, 1), st.integers(0, 20).map(lambda i: i / 20))
sides = st.integers(2, 9).flatmap(
    lambda n: st.tuples(st.just([f"m{i}" for i in range(n)]), *(st.lists(score, min_size=n, max_size=n),) * 2)
)


@PROFILE
@given(drawn=sides, margin=st.floats(0.001, 1), dependent=st.booleans(), higher=st.sampled_from([None, True, False]))
def test_both_doors_give_the_same_verdict(
    client: TestClient,
    stub: pb_grpc.ComparisonStub,
    drawn: tuple[list[str], list[float], list[float]],
    margin: float,
    dependent: bool,
    higher: bool | None,
) -> None:
    subjects, a, b = drawn
    body: dict[str, object] = {
        "a": {"scores": a, "subjects": subjects},
        "b": {"scores": b, "subjects": subjects, "label": "rival"},
        "margin": {"value": margin},
        "higher_is_better": higher,
    }
    message = pb.ComparisonRequest(
        a=pb.Contender(scores=a, subjects=subjects),
        b=pb.Contender(scores=b, subjects=subjects, label="rival"),
        margin=pb.Margin(value=margin),
        higher_is_better=higher,
    )
    if dependent:
        body["dependence"] = {"protocol": "loocv", "n_train": len(subjects) - 1, "n_test": 1}
        message.dependence.CopyFrom(pb.Dependence(protocol="loocv", n_train=len(subjects) - 1, n_test=1))
    rest = client.post("/v1/comparisons", json=body)
    assert rest.status_code == 200
    assert without_nulls(to_json(stub.Compare(message, timeout=DEADLINE_S))) == without_nulls(rest.json())


@PROFILE
@given(
    st.tuples(st.integers(2, 6), st.integers(2, 4)).flatmap(
        lambda shape: st.lists(
            st.lists(score, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
        )
    )
)
def test_both_doors_give_the_same_ranking(
    client: TestClient, stub: pb_grpc.ComparisonStub, scores: list[list[float]]
) -> None:
    models, subjects = [f"model{i}" for i in range(len(scores[0]))], [f"m{i}" for i in range(len(scores))]
    more = {"margin": {"value": 0.1}, "costs": list(range(len(models)))}
    rest = client.post("/v1/rankings", json={"scores": scores, "models": models, "subjects": subjects} | more)
    assert rest.status_code == 200
    message = pb.RankingRequest(
        scores=[pb.Row(values=row) for row in scores],
        models=models,
        subjects=subjects,
        margin=pb.Margin(value=0.1),
        costs=range(len(models)),
    )
    assert without_nulls(to_json(stub.Rank(message, timeout=DEADLINE_S))) == without_nulls(rest.json())


@pytest.mark.parametrize("method", [None, "t", "bca"])
def test_both_doors_give_the_same_interval(
    client: TestClient, stub: pb_grpc.ComparisonStub, method: str | None
) -> None:
    scores = [0.8, 0.85, 0.7, 0.9, 0.65, 0.7]
    rest = client.post("/v1/intervals", json={"scores": scores, "method": method}).json()
    found = stub.EstimateInterval(pb.IntervalRequest(scores=scores, method=method), timeout=DEADLINE_S)
    assert without_nulls(to_json(found)) == without_nulls(rest)


@pytest.mark.parametrize("protocol", [None, "loocv", "kfold3"])
@pytest.mark.parametrize("margin", [0.02, 1e-6])
def test_both_doors_give_the_same_plan(
    client: TestClient, stub: pb_grpc.ComparisonStub, protocol: str | None, margin: float
) -> None:
    body = {"sd_difference": 0.05, "n": 9, "margin": margin, "protocol": protocol, "sd_measured_on": 9}
    rest = client.post("/v1/power", json=body).json()
    found = stub.PlanPower(pb.PowerRequest(**body), timeout=DEADLINE_S)
    assert without_nulls(to_json(found)) == without_nulls(rest)


@PROFILE
@given(st.lists(st.tuples(score, score), min_size=5, max_size=9), st.booleans())
def test_both_doors_derive_the_same_margin(
    client: TestClient, stub: pb_grpc.ComparisonStub, rows: list[tuple[float, float]], by_endpoint: bool
) -> None:
    subjects, names = [f"m{i}" for i in range(len(rows)) for _ in "xy"], ["x", "y"] * len(rows)
    scores = [v for row in rows for v in row]
    if by_endpoint:
        body = {
            "scores": scores,
            "endpoint_errors": scores[::-1],
            "subjects": subjects,
            "models": names,
            "largest": 0.1,
        }
        message = pb.MarginRequest(endpoint=pb.EndpointScores(**body))
    else:
        body = {"scores": scores, "subjects": subjects, "observers": names}
        message = pb.MarginRequest(observers=pb.ObserverScores(**body))
    rest = client.post("/v1/margins", json={"endpoint" if by_endpoint else "observers": body})
    assert rest.status_code == 200
    assert without_nulls(to_json(stub.DeriveMargin(message, timeout=DEADLINE_S))) == without_nulls(rest.json())


def test_a_benchmark_over_grpc(stub: pb_grpc.ComparisonStub) -> None:
    contenders = [pb.Contender(benchmark="bmk_finished", architecture=a) for a in ("unet", "deeplabv3plus")]
    found = stub.Compare(
        pb.ComparisonRequest(a=contenders[0], b=contenders[1], margin=pb.Margin(value=0.02)), timeout=DEADLINE_S
    )
    assert found.dependence.protocol == "loocv"
    assert found.HasField("naive_difference")
    assert not found.difference.HasField("coverage_at_n")


def test_both_doors_know_the_same_plans(client: TestClient, stub: pb_grpc.ComparisonStub) -> None:
    body = {"margin": {"value": 0.02}, "exclusions": [{"subject": "m3", "reason": "torn"}], "models": ["unet", "rival"]}
    message = pb.PlanRequest(
        margin=pb.Margin(value=0.02), exclusions=[pb.Exclusion(subject="m3", reason="torn")], models=["unet", "rival"]
    )
    rest = client.post("/v1/plans", json=body).json()
    assert without_nulls(to_json(stub.LockPlan(message, timeout=DEADLINE_S))) == without_nulls(rest)
    subjects, scores = ["m1", "m2", "m3", "m4"], [0.8, 0.9, 0.7, 0.85]
    sides = {
        side: pb.Contender(scores=scores[::step], subjects=subjects, label=label)
        for side, step, label in (("a", 1, "unet"), ("b", -1, "rival"))
    }
    verdict = stub.Compare(pb.ComparisonRequest(plan=rest["id"], **sides), timeout=DEADLINE_S)
    assert (verdict.n_units, verdict.plan.confirmatory) == (3, True)
    found = stub.GetPlan(pb.PlanRef(plan=rest["sha256"]), timeout=DEADLINE_S)
    assert without_nulls(to_json(found)) == without_nulls(client.get(f"/v1/plans/{rest['id']}").json())
    assert refused(stub.GetPlan, pb.PlanRef(plan="plan_0"))[0] == grpc.StatusCode.NOT_FOUND


def test_both_doors_study_the_same_and_the_stream_has_its_points(
    client: TestClient, stub: pb_grpc.ComparisonStub
) -> None:
    body = {"pilot": [[0.8, 0.7], [0.9, 0.85], [0.75, 0.7]], "numbers": [5, 9], "data_sets": 100}
    message = pb.StabilityRequest(
        pilot=[pb.Row(values=row) for row in ([0.8, 0.7], [0.9, 0.85], [0.75, 0.7])], numbers=[5, 9], data_sets=100
    )
    rest = client.post("/v1/stability", json=body).json()
    assert without_nulls(to_json(stub.StudyStability(message, timeout=DEADLINE_S))) == without_nulls(rest)
    streamed = [without_nulls(to_json(p)) for p in stub.StreamStability(message, timeout=DEADLINE_S)]
    assert streamed == without_nulls(rest["points"])
    bad = pb.StabilityRequest(gaps=[0.1, 0.2])
    status, _, problem = refused(lambda m, timeout: list(stub.StreamStability(m, timeout=timeout)), bad)
    assert (status, problem["pointer"]) == (grpc.StatusCode.INVALID_ARGUMENT, "/gaps")


def refused(call: object, message: object) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=DEADLINE_S)  # type: ignore[operator]
    error = caught.value
    assert isinstance(error, grpc.Call)
    problem = dict(error.trailing_metadata() or ()).get("intima-problem-bin", b"{}")
    return error.code(), error.details() or "", json.loads(problem)


def test_errors_carry_status_and_problem(stub: pb_grpc.ComparisonStub) -> None:
    a = pb.Contender(scores=[0.8, 0.9], subjects=["x", "y"])
    margin = pb.Margin(value=0.02)
    bad_argument, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    no_margin, nobody = pb.Margin(value=0), pb.Contender(model="no")
    cases = [
        (pb.ComparisonRequest(), bad_argument, "invalid", "/a"),
        (pb.ComparisonRequest(a=a, b=a), bad_argument, "invalid", "/margin"),
        (pb.ComparisonRequest(a=a, b=a, margin=no_margin), bad_argument, "invalid", "/margin/value"),
        (pb.ComparisonRequest(a=a, b=nobody, margin=margin), missing, "model_not_found", "/b"),
        (
            pb.ComparisonRequest(a=a, b=pb.Contender(benchmark="bmk_running", architecture="unet"), margin=margin),
            grpc.StatusCode.FAILED_PRECONDITION,
            "not_ready",
            "",
        ),
        (
            pb.ComparisonRequest(a=a, b=pb.Contender(scores=[0.8], subjects=["x"]), margin=margin),
            bad_argument,
            "unpaired",
            "/b/subjects",
        ),
    ]  # fmt: skip
    for message, status, code, pointer in cases:
        found, details, problem = refused(stub.Compare, message)
        assert (found, problem["code"], problem["pointer"]) == (status, code, pointer)
        assert details
        assert problem["request_id"].startswith("req_")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_non_finite_scores_are_refused(stub: pb_grpc.ComparisonStub, bad: float) -> None:
    a = pb.Contender(scores=[0.8, bad], subjects=["x", "y"])
    status, _, _ = refused(stub.Compare, pb.ComparisonRequest(a=a, b=a, margin=pb.Margin(value=0.02)))
    assert status == grpc.StatusCode.INVALID_ARGUMENT
    status, _, _ = refused(stub.EstimateInterval, pb.IntervalRequest(scores=[0.8, bad]))
    assert status == grpc.StatusCode.INVALID_ARGUMENT


def test_garbage_and_oversize_are_refused(channel: grpc.Channel) -> None:
    call = channel.unary_unary(f"/{SERVICE}/Compare")
    status, _, _ = refused(call, b"\xff\xfe garbage")
    assert status in {grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT}
    status, _, _ = refused(call, b"\x00" * (17 * 2**20))
    assert status == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_idempotency_key_stands_for_one_message(stub: pb_grpc.ComparisonStub) -> None:
    key = (("idempotency-key", "power-1"),)
    message = pb.PowerRequest(sd_difference=0.05, n=9, margin=0.02)
    first = stub.PlanPower(message, timeout=DEADLINE_S, metadata=key)
    assert stub.PlanPower(message, timeout=DEADLINE_S, metadata=key) == first
    message.n = 10
    with pytest.raises(grpc.RpcError) as caught:
        stub.PlanPower(message, timeout=DEADLINE_S, metadata=key)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.RpcError) as caught:
        stub.PlanPower(message, timeout=DEADLINE_S, metadata=(("idempotency-key", "x" * 256),))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_health_and_reflection(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", SERVICE):
        found = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=DEADLINE_S)
        assert found.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = list(reflection.ServerReflectionInfo(iter([request]), timeout=DEADLINE_S))
    names = {s.name for s in answers[0].list_services_response.service}
    assert SERVICE in names
