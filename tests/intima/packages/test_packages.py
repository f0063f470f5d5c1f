"""A package brings the same model to another store; an altered one brings nothing."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from intima.contracts.evidence import Residual
from intima.contracts.model import ModelCard
from intima.errors import Invalid
from intima.inference import load_model
from intima.packages import import_package, reading, write_package
from intima.packages.layout import sums_text
from intima.registry import list_models, resolve
from intima.store.storage import Storage, open_storage
from tests.builders import COLORS, color_net, evidence, publish_color_model, rings

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Storage:
    storage = open_storage(tmp_path_factory.mktemp("origin"))
    yield storage
    storage.close()


@pytest.fixture
def other(tmp_path) -> Storage:
    storage = open_storage(tmp_path / "other")
    yield storage
    storage.close()


@pytest.fixture(scope="module")
def ref(origin) -> str:
    return publish_color_model(origin, name="color-net", mpp=2.0, members=1, precisions=("fp32", "fp16"))


def packed(storage: Storage, ref: str) -> bytes:
    out = io.BytesIO()
    write_package(storage, resolve(storage, ref).card, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def package(origin, ref) -> bytes:
    return packed(origin, ref)


def files_of(package: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(package)) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def bundle_of(files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    return out.getvalue()


def resealed(files: Files) -> Files:
    """Files with sums that fit again, as an attacker would write them."""
    hashes = {n: hashlib.sha256(d).hexdigest() for n, d in files.items() if n != "SHA256SUMS"}
    return {**files, "SHA256SUMS": sums_text(hashes)}


def with_network(files: Files, network: bytes) -> Files:
    """Files whose first network is another one, in the card and in the sums too."""
    card = json.loads(files["card.json"])
    new = {"sha256": hashlib.sha256(network).hexdigest(), "bytes": len(network)}
    card["members"][0] |= {"onnx_sha256": new["sha256"], "bytes": new["bytes"]}
    card["variants"][0]["members"][0] = new
    return resealed({**files, "card.json": json.dumps(card).encode(), "member-0-fp32.onnx": network})


def with_card(files: Files, edit: Callable[[dict], None]) -> Files:
    card = json.loads(files["card.json"])
    edit(card)
    return resealed({**files, "card.json": json.dumps(card).encode()})


def bring(data: bytes, storage: Storage, folder: Path):
    path = folder / "package.zip"
    path.write_bytes(data)
    return import_package(path, storage)


def refusal(data: bytes, storage: Storage, folder: Path) -> Invalid:
    with pytest.raises(Invalid) as caught:
        bring(data, storage, folder)
    assert list_models(storage) == ()
    assert not [p for p in (storage.data_dir / "blobs").rglob("*") if p.is_file()]
    return caught.value


def test_a_round_trip_gives_the_same_version_the_same_mask_and_the_same_package(origin, other, ref, package, tmp_path):
    brought = bring(package, other, tmp_path)
    assert brought.ref == ref
    assert brought.card.imported
    assert not resolve(origin, ref).card.imported
    assert bring(package, other, tmp_path) == brought
    image = COLORS[rings()].astype(np.float32).transpose(2, 0, 1)[None] / 255
    for precision in ("fp32", "fp16"):
        here, there = (load_model(s, ref, precision=precision).nets[0].predict(image) for s in (origin, other))
        np.testing.assert_array_equal(here, there)
    assert packed(other, ref) == package == packed(origin, ref)


def test_a_package_keeps_what_held_out_subjects_say(origin, other, tmp_path):
    ref = publish_color_model(origin, name="color-known", mpp=2.0, members=1, known=evidence(temperature=1.4))
    version = bring(packed(origin, ref), other, tmp_path)
    assert version.ref == ref
    assert version.card.evidence == evidence(temperature=1.4)
    assert version.card.calibration == "out-of-fold, 9 subjects: ECE 0.1000 [0.0500, 0.1500] after temperature 1.40"


def test_a_card_from_before_there_was_evidence_is_taken(other, package, tmp_path):
    def older(card: dict) -> None:
        del card["evidence"]

    assert bring(bundle_of(with_card(files_of(package), older)), other, tmp_path).card.evidence is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("temperature", "value"), 1e-300),
        (("temperature", "value"), 0),
        (("temperature", "value"), 1e300),
        (("review", "threshold"), 7),
        (("residuals", 0, "base"), 1e300),
        (("residuals", 0, "factor"), -1),
        (("residuals", 0, "floor"), -5),
    ],
)
def test_evidence_that_serving_could_not_compute_with_is_refused(place, value, origin, other, tmp_path):
    residual = Residual(
        name="stenosis",
        scale="plain",
        floor=0,
        unit="%",
        subjects=9,
        sections=9,
        bias=0,
        sd=1,
        base=1,
        factor=1,
        reason="",
    )
    ref = publish_color_model(origin, name="color-spoiled", mpp=2.0, members=1, known=evidence(residual))

    def spoil(card: dict) -> None:
        inner = card["evidence"]
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value

    found = refusal(bundle_of(with_card(files_of(packed(origin, ref)), spoil)), other, tmp_path)
    assert found.code == "bad_card"


def test_a_package_explains_itself(package, tmp_path):
    files = files_of(package)
    assert list(files) == ["README.md", "SHA256SUMS", "card.json", "member-0-fp16.onnx", "member-0-fp32.onnx"]
    assert ModelCard.model_validate_json(files["card.json"]).name == "color-net"
    for line in files["SHA256SUMS"].decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(files[name]).hexdigest() == digest
    text = files["README.md"].decode()
    assert "Apache-2.0" in text
    assert "2 µm per pixel" in text
    code = text.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "member-0-fp32.onnx").write_bytes(files["member-0-fp32.onnx"])
    from PIL import Image

    Image.fromarray(COLORS[rings()]).save(tmp_path / "tile.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        scope: dict[str, object] = {}
        exec(code, scope)
    np.testing.assert_array_equal(scope["mask"], rings())


SPOILED: dict[str, tuple[str, Callable[[Files], Files]]] = {
    "altered network": ("wrong_hash", lambda f: {**f, "member-0-fp32.onnx": f["member-0-fp32.onnx"][::-1]}),
    "altered network, sums fit": (
        "wrong_hash",
        lambda f: resealed({**f, "member-0-fp32.onnx": f["member-0-fp16.onnx"]}),
    ),
    "longer network": ("wrong_hash", lambda f: {**f, "member-0-fp32.onnx": f["member-0-fp32.onnx"] + b"\0"}),
    "altered card": ("wrong_hash", lambda f: {**f, "card.json": f["card.json"].replace(b"none", b"nono")}),
    "altered readme": ("wrong_hash", lambda f: {**f, "README.md": b"run this"}),
    "no network": ("missing_file", lambda f: {n: d for n, d in f.items() if n != "member-0-fp16.onnx"}),
    "no card": ("missing_file", lambda f: {n: d for n, d in f.items() if n != "card.json"}),
    "no sums": ("missing_file", lambda f: {n: d for n, d in f.items() if n != "SHA256SUMS"}),
    "extra network": ("unexpected_file", lambda f: resealed({**f, "member-1-fp32.onnx": f["member-0-fp32.onnx"]})),
    "zip slip": ("unexpected_file", lambda f: resealed({**f, "../../member.onnx": b"x"})),
    "absolute name": ("unexpected_file", lambda f: resealed({**f, "/etc/cron.d/x": b"x"})),
    "external data beside": ("unexpected_file", lambda f: resealed({**f, "secret.bin": b"x" * 16})),
    "folder": ("unexpected_file", lambda f: {**f, "sub/": b""}),
    "bomb": ("too_large", lambda f: {**f, "zeros": b"\0" * (300 * 2**20 // 8)}),
    "too many files": ("too_large", lambda f: {**f, **{f"f{i}": b"" for i in range(reading.MAX_FILES)}}),
    "large card": ("too_large", lambda f: {**f, "card.json": b" " * (reading.MAX_TEXT_BYTES + 1)}),
    "no json": ("bad_card", lambda f: resealed({**f, "card.json": b"nothing"})),
    "unknown field": ("bad_card", lambda f: with_card(f, lambda c: c.update(run="rm -rf"))),
    "huge tile": ("bad_card", lambda f: with_card(f, lambda c: c.update(tile_px=10**9))),
    "wide halo": ("bad_card", lambda f: with_card(f, lambda c: c.update(halo_px=128))),
    "variant twice": ("bad_card", lambda f: with_card(f, lambda c: c["variants"].append(c["variants"][1]))),
    "other members": ("bad_card", lambda f: with_card(f, lambda c: c["members"][0].update(bytes=5))),
    "short variant": ("bad_card", lambda f: with_card(f, lambda c: c["members"].append(c["members"][0]))),
    "dropout that no network takes": ("bad_model", lambda f: with_card(f, lambda c: c.update(dropout_rate=0.2))),
    "no rate": ("bad_card", lambda f: with_card(f, lambda c: c.update(dropout_rate=1.0))),
    "class gap": ("invalid", lambda f: with_card(f, lambda c: c["classes"].pop(1))),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_package_is_refused_and_leaves_nothing(name, other, package, tmp_path):
    code, spoil = SPOILED[name]
    data = bundle_of(spoil(files_of(package))) if name != "bomb" else compressed(spoil(files_of(package)))
    assert refusal(data, other, tmp_path).code == code


def compressed(files: Files, *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_stored_and_deflated_files_are_unpacked(method, other, package, tmp_path, monkeypatch):
    """Python unpacks a chunk of bzip2 or LZMA whole, whatever size the entry states and however little is read."""
    files = {**files_of(package), "card.json": b" " * 2**19}
    bomb = compressed(files, method=method)
    cut = bomb.index(b"card.json") + 40
    monkeypatch.setattr(zipfile, "_get_decompressor", None)
    for data in (bomb, bomb[:cut] + bytes(20) + bomb[cut + 20 :]):
        assert refusal(data, other, tmp_path).code == "not_a_package"


def test_entries_that_cannot_be_are_refused(other, package, tmp_path):
    """Python opens these zips and raises IndexError and OSError when their entries are used."""
    end = package.rindex(b"PK\x05\x06")
    first = int.from_bytes(package[end + 16 : end + 20], "little")
    no_name = package[: first + 28] + bytes(2) + package[first + 28 : first + 30] + package[first + 32 :]
    before_start = package[: end + 16] + (first + 2**24).to_bytes(4, "little") + package[end + 20 :]
    for data in (no_name, before_start):
        assert refusal(data, other, tmp_path).code in {"not_a_package", "unexpected_file"}


def test_links_and_doubled_names_are_refused(other, package, tmp_path):
    files = files_of(package)
    out = io.BytesIO(bundle_of({n: d for n, d in files.items() if n != "member-0-fp32.onnx"}))
    with zipfile.ZipFile(out, "a") as bundle:
        link = zipfile.ZipInfo("member-0-fp32.onnx")
        link.external_attr = 0o120777 << 16
        bundle.writestr(link, "/etc/passwd")
    assert refusal(out.getvalue(), other, tmp_path).code == "unexpected_file"
    out = io.BytesIO(package)
    with zipfile.ZipFile(out, "a") as bundle, pytest.warns(UserWarning, match="Duplicate"):
        bundle.writestr("card.json", files["card.json"])
    assert refusal(out.getvalue(), other, tmp_path).code == "unexpected_file"


@pytest.mark.parametrize("data", [b"PK\x05\x06", b"not a zip", b"\x80\x02}q\x00."])
def test_other_files_are_refused(data, other, tmp_path):
    assert refusal(data, other, tmp_path).code == "not_a_package"


def test_a_damaged_zip_is_refused(other, package, tmp_path):
    middle = package.index(color_net()) + 40
    damaged = package[:middle] + bytes([package[middle] ^ 1]) + package[middle + 1 :]
    assert refusal(damaged, other, tmp_path).code in {"not_a_package", "wrong_hash"}


def hungry() -> bytes:
    """A net that passes the gate and asks for 4 TiB."""
    model = onnx.load_from_string(color_net())
    size = numpy_helper.from_array(np.array([2**40], np.int64), "size")
    model.graph.initializer.append(size)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["size"], ["much"]))
    model.graph.node.insert(1, helper.make_node("ReduceSum", ["much"], ["sum"], keepdims=0))
    model.graph.node[2].output[0] = "plain"
    model.graph.node.append(helper.make_node("Add", ["plain", "sum"], ["logits"]))
    return model.SerializeToString()


def three_classes() -> bytes:
    """A net whose file says nothing of classes and gives three."""
    model = onnx.load_from_string(color_net())
    for tensor, kept in ((model.graph.initializer[0], 3), (model.graph.initializer[1], 3)):
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[:kept], tensor.name))
    model.graph.output[0].type.tensor_type.shape.dim[1].Clear()
    return model.SerializeToString()


def external() -> bytes:
    model = onnx.load_from_string(color_net())
    bias = model.graph.initializer[1]
    bias.ClearField("raw_data")
    bias.data_location = onnx.TensorProto.EXTERNAL
    bias.external_data.add(key="location", value="secret.bin")
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("network", "code"), [(hungry, "bad_model"), (three_classes, "bad_model"), (external, "unsafe_model")]
)
def test_networks_are_tried_in_a_child_before_they_are_stored(network, code, other, package, tmp_path):
    data = bundle_of(with_network(files_of(package), network()))
    refused = refusal(data, other, tmp_path)
    assert refused.code == code
    assert "member-0-fp32.onnx" in refused.message
