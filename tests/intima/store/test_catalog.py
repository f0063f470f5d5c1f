"""The catalog: what is stored twice is one thing; lists page without gaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_jobs import plan, submit

from intima.contracts.benchmark import ArchitectureSpec, ArchitectureWish, BenchmarkSpec, LeaveOneOut
from intima.contracts.dataset import ClassSpec, Dataset, StoredCase
from intima.contracts.model import Latency, Member, ModelCard
from intima.contracts.segmentation import SegmentPayload, SlideInfo, UncertaintySpec
from intima.errors import Conflict, Invalid, NotFound
from intima.store import catalog, models, reviewing
from intima.store.keys import canonical_json, check_id, new_id, segmentation_id
from intima.store.paging import page_of
from intima.store.requests import claim_key, free_key, recall_response, remember_response, settle_key
from intima.store.storage import Storage
from intima.store.tables import slides

SHA = "ab" * 32
INFO = SlideInfo(format="tiff", width=10, height=20, levels=1, mpp=0.5, vendor=None)


def make_dataset(version: str = SHA) -> Dataset:
    case = StoredCase(
        case="a", subject="m1", block=None, section=None, mpp=0.5, width=1, height=1, image_sha256=SHA, mask_sha256=SHA
    )
    classes = (
        ClassSpec(index=0, name="background", color="#000000"),
        ClassSpec(index=1, name="lumen", color="#ffffff"),
    )
    return Dataset(id=new_id("ds"), version=version, name="nine µm", licence="CC0", classes=classes, cases=(case,))


def make_card(name: str = "unet", notes: str = "") -> ModelCard:
    return ModelCard(
        name=name,
        architecture=ArchitectureSpec(name="unet"),
        classes=make_dataset().classes,
        mpp=0.5,
        pixel_scale=1.0,
        tile_px=256,
        halo_px=32,
        members=(Member(seed=0, onnx_sha256=SHA, bytes=1),),
        parameters={"rate": 1e-3},
        encoder_weights="random",
        weights_licence="Apache-2.0",
        dataset="ds",
        dataset_version=SHA,
        dataset_licence="CC0",
        synthetic=True,
        benchmark=None,
        scores=(),
        parity_max_abs=0.0,
        parameter_count=1,
        intima_version="0",
        notes=notes,
    )


def test_a_dataset_of_known_content_is_the_known_dataset(store: Storage) -> None:
    first, again, other = make_dataset(), make_dataset(), make_dataset("cd" * 32)
    with store.writing() as conn:
        assert catalog.add_dataset(conn, first) == first
        assert catalog.add_dataset(conn, again) == first
        assert catalog.add_dataset(conn, other) == other
    with store.reading() as conn:
        assert catalog.get_dataset(conn, first.id) == first
        assert {d.id for d in catalog.list_datasets(conn).items} == {first.id, other.id}
        with pytest.raises(NotFound):
            catalog.get_dataset(conn, again.id)


def test_a_slide_is_known_by_content_name_pixel_size_and_subject(store: Storage) -> None:
    with store.writing() as conn:
        first = catalog.add_slide(conn, sha256=SHA, name="a.svs", info=INFO)
        assert catalog.add_slide(conn, sha256=SHA, name="a.svs", info=INFO).id == first.id
        others = [
            catalog.add_slide(conn, sha256=SHA, name="b.svs", info=INFO),
            catalog.add_slide(conn, sha256=SHA, name="a.svs", info=INFO, mpp=0.25),
            catalog.add_slide(conn, sha256=SHA, name="a.svs", info=INFO, subject="m1"),
        ]
        assert len({s.id for s in [first, *others]}) == 4
        assert catalog.get_slide(conn, first.id) == first
        assert first.info == INFO
        assert first.created_at.endswith("Z")


def test_benchmarks_and_segmentations_point_at_their_jobs(store: Storage) -> None:
    job = submit(store, [plan("a")])
    spec = BenchmarkSpec(
        dataset="ds", architectures=(ArchitectureWish(name="unet"),), protocols=(LeaveOneOut(kind="loocv"),)
    )
    payload = SegmentPayload(
        segmentation="seg_" + "0" * 32,
        slide="sld",
        slide_sha256=SHA,
        slide_name="a.svs",
        subject=None,
        mpp=None,
        model="unet@1",
        region=None,
        uncertainty=UncertaintySpec(),
    )
    with store.writing() as conn:
        bench = catalog.add_benchmark(conn, benchmark_id=new_id("bench"), job_id=job, dataset="ds", spec=spec)
        assert catalog.get_benchmark(conn, bench.id).spec == spec
        assert catalog.find_segmentation(conn, payload.segmentation) is None
        add = {"segmentation_id": payload.segmentation, "slide": "sld", "payload": payload}
        first = catalog.add_segmentation(conn, job_id=job, **add)
        again = catalog.add_segmentation(conn, job_id="job_later", **add)
        assert (first.job_id, again.job_id) == (job, "job_later")
        assert catalog.get_segmentation(conn, payload.segmentation) == again
        assert [s.id for s in reviewing.list_segmentations(conn).items] == [payload.segmentation]


def test_models_are_found_by_version_alias_and_name(store: Storage) -> None:
    with store.writing() as conn:
        first = models.add_model(conn, make_card(notes="first"))
        second = models.add_model(conn, make_card(notes="second"))
        assert models.add_model(conn, make_card(notes="first")) == first
        assert first.version != second.version
        assert models.get_model(conn, first.ref) == first
        assert models.set_alias(conn, name="unet", alias="best", version=first.version).aliases == ("best",)
        assert models.get_model(conn, "unet@best").version == first.version
        models.set_alias(conn, name="unet", alias="best", version=second.version)
        assert models.get_model(conn, "unet@best").version == second.version
        assert models.get_model(conn, first.ref).aliases == ()
        assert {m.ref for m in models.list_models(conn)} == {first.ref, second.ref}
    with store.reading() as conn:
        assert models.get_model(conn, "unet").version in {first.version, second.version}


@pytest.mark.parametrize("ref", ["", "@", "unet", "unet@", "unet@best", "unet@0123", "a@b@c", "'; DROP TABLE models"])
def test_an_unknown_model_is_not_found(store: Storage, ref: str) -> None:
    with store.reading() as conn, pytest.raises(NotFound):
        models.get_model(conn, ref)


def test_an_alias_points_at_a_version_and_looks_like_none(store: Storage) -> None:
    with store.writing() as conn:
        model = models.add_model(conn, make_card())
        for alias in ("", "a@b", "x" * 101, model.version):
            with pytest.raises(Invalid):
                models.set_alias(conn, name="unet", alias=alias, version=model.version)
        with pytest.raises(NotFound):
            models.set_alias(conn, name="unet", alias="best", version="0" * 12)


def test_an_idempotency_key_gives_the_first_answer_again(store: Storage) -> None:
    key = {"key": "k" * 255, "route": "create_job"}
    with store.writing() as conn:
        assert recall_response(conn, **key, body_sha256=SHA) is None
        remember_response(conn, **key, body_sha256=SHA, status=202, response={"id": "job"})
    with store.reading() as conn:
        known = recall_response(conn, **key, body_sha256=SHA)
        assert known is not None
        assert (known.status, known.response) == (202, {"id": "job"})
        assert recall_response(conn, key=key["key"], route="other", body_sha256=SHA) is None
        with pytest.raises(Conflict):
            recall_response(conn, **key, body_sha256="0" * 64)


def test_a_claimed_key_stands_for_one_body_until_it_is_freed(store: Storage) -> None:
    key = {"key": "k", "route": "compare"}
    with store.writing() as conn:
        claim_key(conn, **key, body_sha256=SHA)
        claim_key(conn, **key, body_sha256=SHA)
        with pytest.raises(Conflict):
            claim_key(conn, **key, body_sha256="0" * 64)
        free_key(conn, **key)
        claim_key(conn, **key, body_sha256="0" * 64)
        settle_key(conn, **key)
        free_key(conn, **key)
        with pytest.raises(Conflict):
            claim_key(conn, **key, body_sha256=SHA)


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 100])
def test_pages_hold_every_row_once_newest_first(store: Storage, page_size: int) -> None:
    with store.writing() as conn:
        made = [catalog.add_slide(conn, sha256=SHA, name=f"{i}.svs", info=INFO).id for i in range(7)]
    seen: list[str] = []
    token = ""
    with store.writing() as conn:
        while True:
            page = catalog.list_slides(conn, page_size=page_size, page_token=token)
            seen += [s.id for s in page.items]
            catalog.add_slide(conn, sha256=SHA, name=f"later{len(seen)}", info=INFO)
            token = page.next_page_token
            if not token:
                break
    assert sorted(seen) == sorted(made)


@pytest.mark.parametrize("token", ["x", "!!!", "e30=", "WzEsMl0=", "bnVsbA==", "\udc80"])
def test_a_bad_page_token_is_invalid(store: Storage, token: str) -> None:
    with store.reading() as conn, pytest.raises(Invalid):
        catalog.list_slides(conn, page_token=token)


@pytest.mark.parametrize("size", [0, -1, 1001])
def test_a_bad_page_size_is_invalid(store: Storage, size: int) -> None:
    with store.reading() as conn, pytest.raises(Invalid):
        page_of(conn, slides, page_size=size, page_token="")


def test_ids_are_random_and_checked() -> None:
    one, two = new_id("job"), new_id("job")
    assert one != two
    assert check_id(one, prefix="job") == one
    for bad in ("job_", "job_" + "g" * 32, "../" + one, one + "\n", one.upper(), new_id("sld"), ""):
        with pytest.raises(NotFound):
            check_id(bad, prefix="job")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(parts=st.dictionaries(st.text(max_size=5), json_values, max_size=4), seed=st.randoms())
def test_a_segmentations_identity_ignores_the_order_of_fields(parts: dict[str, object], seed: object) -> None:
    items = list(parts.items())
    seed.shuffle(items)  # type: ignore[attr-defined]
    assert canonical_json(dict(items)) == canonical_json(parts)
    if "\ud800" not in str(parts):
        ids = {segmentation_id(slide_sha256=SHA, model="m@1", parameters=p) for p in (parts, dict(items))}
        assert len(ids) == 1
        assert check_id(ids.pop(), prefix="seg")


def test_a_segmentations_identity_follows_everything_that_changes_pixels() -> None:
    base = {"slide_sha256": SHA, "model": "m@1", "parameters": {"mpp": 0.5}}
    changed = [{"slide_sha256": "0" * 64}, {"model": "m@2"}, {"parameters": {"mpp": 0.25}}, {"parameters": {}}]
    ids = [segmentation_id(**(base | c)) for c in [{}, *changed]]  # type: ignore[arg-type]
    assert len(set(ids)) == 5


def test_what_differs_between_two_publications_is_no_part_of_the_version():
    latency = Latency(precision="fp32", provider="CPUExecutionProvider", threads=1, median_ms=1.5, runs=3)
    made = make_card()
    assert models.model_version(made.model_copy(update={"latency": (latency,), "imported": True})) == (
        models.model_version(made)
    )
    assert models.model_version(made.model_copy(update={"notes": "other"})) != models.model_version(made)
    old = ModelCard.model_validate_json(made.model_dump_json(exclude={"variants", "left_out", "cost", "latency"}))
    assert models.model_version(old) == models.model_version(made)
    assert old.precisions == ("fp32",)
