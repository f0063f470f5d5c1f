"""Segmentations over gRPC by the generated client: the same answers as REST, and calls that end halfway."""

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from api_rpc import DEADLINE_S, refused, rpc_server
from fastapi.testclient import TestClient

from intima.contracts.segmentation import Interval, Measure, UncertaintySummary
from intima.phantom import PhantomSpec, render
from intima.store import ledger
from services.api.app import create_app
from services.api.dependencies import State, open_state
from services.api.settings import Settings
from services.runner import run_local
from services.wire.convert import to_json, to_message
from services.wire.v1 import segmentation_pb2 as pb
from services.wire.v1 import segmentation_pb2_grpc as pb_grpc
from tests.builders import COLORS, png, publish_color_model, rings

INVALID = grpc.StatusCode.INVALID_ARGUMENT
Stub = pb_grpc.SegmentationServiceStub


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    found = open_state(Settings(data=tmp_path_factory.mktemp("rpc"), max_upload_bytes=3_000_000, silence_s=2.0))
    yield found
    found.close()


@pytest.fixture(scope="module")
def model(state: State) -> str:
    return publish_color_model(state.storage, name="color-net", mpp=2.0)


@pytest.fixture(scope="module")
def stub(state: State, model: str) -> Iterator[Stub]:
    with rpc_server(state) as address, grpc.insecure_channel(address) as channel:
        yield Stub(channel)


@pytest.fixture(scope="module")
def rest(state: State) -> Iterator[TestClient]:
    """The REST door of the same store."""
    with TestClient(create_app(state.settings, state=state), raise_server_exceptions=False) as found:
        yield found


@pytest.fixture
def runner(state: State) -> Iterator[None]:
    stop = threading.Event()
    options = {"queues": ["inference"], "slots": 1, "stop": stop}
    thread = threading.Thread(target=run_local, args=(state.storage,), kwargs=options)
    thread.start()
    yield
    stop.set()
    thread.join()


def artery(seed: int = 0) -> bytes:
    """A PNG of circles; another seed, other bytes."""
    image = COLORS[rings()]
    image[0, 0] = (seed % 251, seed // 251, 240)
    return png(image)


def chunks(data: bytes, *, size: int = 10_000, **header: Any) -> Iterator[pb.SegmentChunk]:
    spec = header.pop("uncertainty", "none")
    fields = {"name": "a.png", "mpp": 2.0, "model": "color-net"} | header
    yield pb.SegmentChunk(header=pb.SegmentHeader(uncertainty=pb.UncertaintySpec(sampler=spec), **fields))
    for start in range(0, len(data), size):
        yield pb.SegmentChunk(data=data[start : start + size])


def gathered(events: Iterator[pb.SegmentEvent]) -> tuple[list[pb.SegmentEvent], pb.Segmentation, dict[str, bytes]]:
    """Return all events, the result, and the artefacts put together; chunks must follow each other."""
    every = list(events)
    (result,) = (e.result for e in every if e.HasField("result"))
    files: dict[str, bytes] = {}
    for event in every:
        if event.HasField("artefact"):
            part = event.artefact
            assert part.offset == len(files.get(part.name, b""))
            files[part.name] = files.get(part.name, b"") + part.data
    return every, result, files


def as_rest(value: Any) -> Any:
    """Null and absent are the same on the wire, and so are an empty list and no list; JSON of int64 is text."""
    if isinstance(value, dict):
        kept = {k: as_rest(v) for k, v in value.items() if v is not None and v != []}
        return {k: int(v) if k in {"pixels", "bytes"} else v for k, v in kept.items()}
    return [as_rest(v) for v in value] if isinstance(value, list) else value


def test_a_phantom_gets_the_same_mask_through_both_doors(
    stub: Stub, state: State, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = PhantomSpec(size_px=448, mpp=1.5, seed=3)
    data = png(render(spec).image)
    other = Settings(data=tmp_path_factory.mktemp("rest"), port=59997)
    with TestClient(create_app(other)) as client:
        files, form = {"file": ("phantom.png", data)}, {"mpp": str(spec.mpp), "subject": "p3"}
        form["uncertainty"] = '{"sampler": "ensemble", "passes": 2, "seed": 5}'
        view = client.post("/v1/segment", files=files, data=form).raise_for_status().json()
    by_rest = {a["name"]: a["sha256"] for a in view["artefacts"]}
    header = pb.SegmentHeader(
        name="phantom.png",
        mpp=spec.mpp,
        subject="p3",
        uncertainty=pb.UncertaintySpec(sampler="ensemble", passes=2, seed=5),
        artefacts=["mask.png", "measures.json"],
    )
    sent = [
        pb.SegmentChunk(header=header),
        *(pb.SegmentChunk(data=data[i : i + 65536]) for i in range(0, len(data), 65536)),
    ]
    every, result, got = gathered(stub.Segment(iter(sent), timeout=DEADLINE_S))
    assert hashlib.sha256(got["mask.png"]).hexdigest() == by_rest["mask.png"]
    assert {a.name: a.sha256 for a in result.artefacts}["mask.ome.tiff"] == by_rest["mask.ome.tiff"]
    assert set(got) == {"mask.png", "measures.json"}
    assert every[0].slide.sha256 == hashlib.sha256(data).hexdigest()
    fractions = [round(e.progress.fraction, 9) for e in every if e.HasField("progress")]
    assert fractions == sorted(fractions)
    assert len(fractions) >= 3
    mine, theirs = as_rest(to_json(result)), as_rest(view)
    for name in ("measures", "areas", "uncertainty"):
        assert mine[name] == theirs[name]
    assert any("interval" in m for m in mine["measures"][0]["measures"])
    assert state.settings.data != other.data


def test_both_doors_show_the_same_segmentation(stub: Stub, rest: TestClient) -> None:
    _, result, got = gathered(stub.Segment(chunks(artery(1), uncertainty="ensemble"), timeout=DEADLINE_S))
    view = rest.get(f"/v1/segmentations/{result.id}").raise_for_status().json()
    found = stub.GetSegmentation(pb.SegmentationRef(id=result.id), timeout=DEADLINE_S)
    assert as_rest(to_json(found)) == as_rest(view)
    assert found == result
    for artefact in view["artefacts"]:
        ref = pb.ArtefactRef(segmentation=result.id, name=artefact["name"])
        parts = list(stub.FetchArtefact(ref, timeout=DEADLINE_S))
        data = b"".join(p.data for p in parts)
        assert hashlib.sha256(data).hexdigest() == artefact["sha256"] == parts[0].sha256
        assert len(data) == parts[0].bytes == artefact["bytes"]
        assert data == rest.get(artefact["url"]).content
    assert set(got) == {"mask.png"}
    events, again, _ = gathered(stub.Segment(chunks(artery(1), uncertainty="ensemble"), timeout=DEADLINE_S))
    assert again == result, "what is done is not done again"
    assert {e.progress.state for e in events if e.HasField("progress")} == {"succeeded"}


def test_a_stored_slide_is_started_watched_and_fetched(stub: Stub, rest: TestClient, runner: None) -> None:
    slide = rest.post("/v1/slides", files={"file": ("a.png", artery(2))}, data={"mpp": "2.0"}).json()["id"]
    request = pb.SegmentationRequest(
        model="color-net", region=pb.RegionSpec(x=0, y=0, width=400, height=399), precision="fp32"
    )
    message = pb.StartSegmentationRequest(slide=slide, request=request)
    started = stub.StartSegmentation(message, timeout=DEADLINE_S, metadata=(("idempotency-key", "k1"),))
    assert stub.StartSegmentation(message, timeout=DEADLINE_S, metadata=(("idempotency-key", "k1"),)).job == started.job
    events = list(stub.WatchSegmentation(pb.SegmentationRef(id=started.id), timeout=DEADLINE_S))
    states = [e.progress.state for e in events if e.HasField("progress")]
    assert states[-1] == "succeeded"
    assert events[-1].result.state == "succeeded"
    assert events[-1].result.result.region.height == 399
    view = rest.get(f"/v1/segmentations/{started.id}").json()
    assert as_rest(to_json(events[-1].result)) == as_rest(view)
    message.request.region.height = 398
    status, _, problem = refused(stub.StartSegmentation, message, metadata=(("idempotency-key", "k1"),))
    assert status == grpc.StatusCode.FAILED_PRECONDITION
    message.request.precision = "int8"
    status, _, problem = refused(stub.StartSegmentation, message)
    assert (status, problem["pointer"]) == (INVALID, "/precision")


def test_an_image_too_large_for_a_request_runs_as_a_job(state: State, model: str, runner: None) -> None:
    small = State(
        settings=state.settings.model_copy(update={"max_image_pixels": 1000}),
        storage=state.storage,
        models=state.models,
        send=state.send,
        gate=state.gate,
    )
    with rpc_server(small) as address, grpc.insecure_channel(address) as channel:
        every, result, got = gathered(Stub(channel).Segment(chunks(artery(3)), timeout=DEADLINE_S))
    assert result.state == "succeeded"
    assert [e.progress.state for e in every if e.HasField("progress")][-1] == "succeeded"
    assert hashlib.sha256(got["mask.png"]).hexdigest() in {a.sha256 for a in result.artefacts}


HEADER = pb.SegmentChunk(header=pb.SegmentHeader(name="a.png", mpp=2.0, model="color-net"))
DATA = pb.SegmentChunk(data=b"x")


@pytest.mark.parametrize(
    ("messages", "status", "code"),
    [
        ([], INVALID, "missing_header"),
        ([DATA], INVALID, "missing_header"),
        ([pb.SegmentChunk()], INVALID, "missing_header"),
        ([HEADER], INVALID, "empty_file"),
        ([HEADER, pb.SegmentChunk(data=b"")], INVALID, "empty_file"),
        ([HEADER, HEADER], INVALID, "bad_chunk"),
        ([HEADER, DATA, pb.SegmentChunk()], INVALID, "bad_chunk"),
        ([HEADER, DATA], INVALID, None),
        ([HEADER, *[pb.SegmentChunk(data=b"x" * 1_000_000)] * 4], grpc.StatusCode.RESOURCE_EXHAUSTED, "too_large"),
    ],
)
def test_streams_that_are_no_image_are_refused(
    stub: Stub, messages: list[pb.SegmentChunk], status: grpc.StatusCode, code: str | None
) -> None:
    found, text, problem = refused(stub.Segment, iter(messages))
    assert found == status
    assert code in {None, problem["code"]}
    assert text


@pytest.mark.parametrize(
    ("header", "status", "pointer"),
    [
        ({"mpp": math.nan}, INVALID, "/mpp"),
        ({"mpp": -1.0}, INVALID, "/mpp"),
        ({"mpp": 1e9}, INVALID, "/mpp"),
        ({"model": "nobody"}, grpc.StatusCode.NOT_FOUND, ""),
        ({"model": ""}, INVALID, "/model"),
        ({"uncertainty": "voodoo"}, INVALID, "/uncertainty/sampler"),
        ({"uncertainty": "mc_dropout"}, INVALID, "/uncertainty/sampler"),
        ({"precision": "fp64"}, INVALID, "/precision"),
        ({"precision": "int8"}, INVALID, "/precision"),
        ({"subject": "x" * 201}, INVALID, "/subject"),
        ({"artefacts": ["../../etc/passwd"]}, grpc.StatusCode.NOT_FOUND, ""),
        ({"artefacts": ["mask.png"] * 33}, INVALID, "/artefacts"),
    ],
)
def test_headers_nobody_can_fulfil_are_refused(
    stub: Stub, header: dict[str, Any], status: grpc.StatusCode, pointer: str
) -> None:
    found, _, problem = refused(stub.Segment, chunks(artery(4), **header))
    assert (found, problem["pointer"]) == (status, pointer)


def test_a_missing_pixel_size_is_asked_for(stub: Stub) -> None:
    sent = [pb.SegmentChunk(header=pb.SegmentHeader(name="a.png", model="color-net")), pb.SegmentChunk(data=artery(5))]
    status, text, problem = refused(stub.Segment, iter(sent))
    assert (status, problem["code"]) == (INVALID, "missing_pixel_size")
    assert "mpp" in text


def test_what_is_not_there_is_not_found(stub: Stub) -> None:
    missing = grpc.StatusCode.NOT_FOUND
    assert refused(stub.GetSegmentation, pb.SegmentationRef(id="seg_0"))[0] == missing
    assert refused(stub.WatchSegmentation, pb.SegmentationRef(id="seg_0"))[0] == missing
    assert refused(stub.FetchArtefact, pb.ArtefactRef(segmentation="seg_0", name="mask.png"))[0] == missing
    message = pb.StartSegmentationRequest(slide="sld_0", request=pb.SegmentationRequest(model="color-net"))
    assert refused(stub.StartSegmentation, message)[0] == missing
    assert refused(stub.StartSegmentation, pb.StartSegmentationRequest(slide="sld_0"))[0] == INVALID


def test_a_silent_client_is_left(stub: Stub) -> None:
    release = threading.Event()

    def silent() -> Iterator[pb.SegmentChunk]:
        yield HEADER
        release.wait(DEADLINE_S)

    started = time.monotonic()
    status, text, _ = refused(stub.Segment, silent())
    release.set()
    assert status == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "No message for 2 s" in text
    assert time.monotonic() - started < 20


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Segmentations inside requests that take until the event is set, and report all the while."""
    go = threading.Event()

    def segment_slowly(*given: Any, report: Callable[[float, str], None], **more: Any) -> Any:
        deadline = time.monotonic() + DEADLINE_S
        while not go.wait(0.05):
            assert time.monotonic() < deadline
            report(0.5, "waits")
        return real(*given, report=report, **more)

    from services.api import segmenting

    real = segmenting.segment_slide
    monkeypatch.setattr(segmenting, "segment_slide", segment_slowly)
    yield go
    go.set()


def running(call: Iterator[pb.SegmentEvent]) -> pb.SegmentationProgress:
    return next(e.progress for e in call if e.HasField("progress") and e.progress.state == "running")


def ended(state: State, job: str, *, within_s: float = 20.0) -> str:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with state.storage.reading() as connection:
            view = ledger.read_job(connection, job)
        if view.state in {"succeeded", "failed", "canceled"}:
            return view.state
        time.sleep(0.05)
    return view.state


def test_a_caller_who_leaves_alone_cancels_the_job(stub: Stub, state: State, slow: threading.Event) -> None:
    call = stub.Segment(chunks(artery(6)), timeout=DEADLINE_S)
    progress = running(call)
    call.cancel()
    assert ended(state, progress.job) == "canceled"
    slow.set()
    _, result, _ = gathered(stub.Segment(chunks(artery(6)), timeout=DEADLINE_S))
    assert (result.state, result.id) == ("succeeded", progress.segmentation)
    assert result.job != progress.job


def test_a_caller_who_leaves_others_behind_cancels_nothing(
    stub: Stub, rest: TestClient, state: State, slow: threading.Event
) -> None:
    data = artery(7)
    call = stub.Segment(chunks(data), timeout=DEADLINE_S)
    slide = next(e.slide for e in call if e.HasField("slide"))
    progress = running(call)
    body = {"model": "color-net", "uncertainty": {"sampler": "none"}}
    joined = rest.post(f"/v1/slides/{slide.id}/segmentations", json=body).raise_for_status().json()
    assert joined["job"] == progress.job
    call.cancel()
    assert ended(state, progress.job, within_s=3.0) == "running"
    slow.set()
    assert ended(state, progress.job) == "succeeded"
    log = [e for e in rest.get(f"/v1/jobs/{progress.job}/logs").json() if e["type"] == "log"]
    said = [e["data"]["message"] for e in log]
    assert said == ["somebody else asked for it too", "one who asked for it does so no more"]


def test_a_caller_who_leaves_a_watcher_behind_cancels_nothing(stub: Stub, state: State, slow: threading.Event) -> None:
    call = stub.Segment(chunks(artery(11)), timeout=DEADLINE_S)
    progress = running(call)
    watched = stub.WatchSegmentation(pb.SegmentationRef(id=progress.segmentation), timeout=DEADLINE_S)
    assert next(watched).progress.job == progress.job
    call.cancel()
    assert ended(state, progress.job, within_s=3.0) == "running"
    slow.set()
    assert ended(state, progress.job) == "succeeded"
    watched.cancel()


def test_watching_what_has_ended_changes_nothing(stub: Stub, rest: TestClient, state: State) -> None:
    form = {"mpp": "2.0", "model": "color-net", "uncertainty": "none"}
    made = rest.post("/v1/segment", files={"file": ("a.png", artery(12))}, data=form).raise_for_status().json()
    before = rest.get(f"/v1/jobs/{made['job']}/logs").json()
    watched = stub.WatchSegmentation(pb.SegmentationRef(id=made["id"]), timeout=DEADLINE_S)
    assert next(watched).progress.state == "succeeded"
    assert rest.get(f"/v1/jobs/{made['job']}/logs").json() == before
    with state.storage.reading() as connection:
        assert ledger.is_alone(connection, made["job"])
    watched.cancel()


def test_two_callers_at_once_share_the_work(stub: Stub, state: State, slow: threading.Event) -> None:
    first = stub.Segment(chunks(artery(8)), timeout=DEADLINE_S)
    progress = running(first)
    results: list[pb.Segmentation] = []
    second = threading.Thread(
        target=lambda: results.append(gathered(stub.Segment(chunks(artery(8)), timeout=DEADLINE_S))[1])
    )
    second.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with state.storage.reading() as connection:
            if not ledger.is_alone(connection, progress.job):
                break
        time.sleep(0.05)
    first.cancel()
    slow.set()
    second.join()
    assert [r.job for r in results] == [progress.job]
    assert results[0].state == "succeeded"


def test_a_caller_of_a_job_who_leaves_alone_cancels_it(state: State, model: str) -> None:
    small = State(
        settings=state.settings.model_copy(update={"max_image_pixels": 1000}),
        storage=state.storage,
        models=state.models,
        send=state.send,
        gate=state.gate,
    )
    with rpc_server(small) as address, grpc.insecure_channel(address) as channel:
        call = Stub(channel).Segment(chunks(artery(9)), timeout=DEADLINE_S)
        progress = next(e.progress for e in call if e.HasField("progress"))
        assert progress.state == "queued"
        call.cancel()
        assert ended(state, progress.job) == "canceled"


def test_an_upload_that_breaks_off_stores_nothing(stub: Stub, rest: TestClient) -> None:
    before = len(rest.get("/v1/slides?page_size=1000").json()["items"])
    release = threading.Event()

    def half() -> Iterator[pb.SegmentChunk]:
        every = list(chunks(artery(10)))
        yield from every[:-1]
        release.wait(DEADLINE_S)

    call = stub.Segment(half(), timeout=DEADLINE_S)
    time.sleep(0.3)
    call.cancel()
    release.set()
    time.sleep(1.0)
    assert len(rest.get("/v1/slides?page_size=1000").json()["items"]) == before


def test_many_calls_at_once_give_the_same_mask(stub: Stub) -> None:
    found: list[str] = []

    def ask(seed: int) -> None:
        _, result, got = gathered(stub.Segment(chunks(artery(20 + seed % 3)), timeout=DEADLINE_S))
        assert result.state == "succeeded"
        found.append(hashlib.sha256(got["mask.png"]).hexdigest())

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_every_field_of_a_result_has_a_place_on_the_wire() -> None:
    summary = UncertaintySummary(
        sampler="ensemble",
        passes=2,
        mean_entropy=0.1,
        mean_disagreement=0.2,
        pairwise_dice=0.9,
        calibration="held out",
        temperature=1.25,
        expected_foreground_dice=0.875,
        expected_dice={"plaque": None, "lumen": 0.5},
        review=True,
        review_reason="low",
    )
    measure = Measure(name="a", value=1.0, unit="µm", interval=Interval(low=0.5, high=1.5), pass_sd=0.25)
    assert to_json(to_message(summary, pb.UncertaintySummary)) == summary.model_dump(mode="json")
    assert to_json(to_message(measure, pb.Measure)) == measure.model_dump(mode="json")
    bare = summary.model_copy(update={"expected_foreground_dice": None, "review": None, "expected_dice": {}})
    assert not to_message(bare, pb.UncertaintySummary).HasField("review")
    assert to_json(to_message(bare, pb.UncertaintySummary))["expected_dice"] == {}
