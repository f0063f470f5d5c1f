"""Embeddings of a frozen encoder: the same from the cache and without it, and made once."""

import numpy as np
import pytest
import torch

from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureSpec
from intima.errors import Invalid
from intima.store.cache import Cache
from intima.training.data import TrainingCase
from intima.training.embeddings import Views, embed_views
from intima.training.loop import fit
from intima.training.presets import LoopSettings

FROZEN = ArchitectureSpec(name="unet_small", encoder_training="frozen")
VIEWS = Views(per_case=3, crop_px=64, strength=0.7, classes=3)
SETTINGS = LoopSettings(steps=3, batch=2, crop_px=64, norm_steps=1, views=3)


def case(seed: int) -> TrainingCase:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (6, 6), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    return TrainingCase(image=rng.integers(0, 255, (96, 96, 3), dtype=np.uint8), mask=mask)


CASES = [case(s) for s in range(2)]


def frozen(seed: int = 0, spec: ArchitectureSpec = FROZEN):
    return build_net(spec, classes=3, parameters={}, seed=seed).eval()


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(tmp_path / "cache", floor_bytes=0)


def source_of(net, cases=CASES, *, cache=None, start=0, views=VIEWS, **options):
    told: list[tuple[int, int]] = []
    source = embed_views(net, cases, views=views, cache=cache, start=start, tell=lambda *t: told.append(t), **options)
    assert told == [(i + 1, source.count) for i in range(source.count)]
    return source


def embed(net, cases=CASES, **options):
    source = source_of(net, cases, **options)
    return [source.read(number) for number in range(source.count)]


def same(one, two) -> bool:
    pairs = [(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x.features, y.features, strict=True)]
    return all(torch.equal(a, b) for a, b in pairs) and all(
        torch.equal(x.target, y.target) for x, y in zip(one, two, strict=True)
    )


def entries(cache: Cache) -> int:
    return len(list(cache.root.glob("*/*")))


def test_cold_warm_and_no_cache_give_the_same_whatever_the_start(cache):
    net = frozen()
    without, cold, warm = embed(net), embed(net, cache=cache, start=5), embed(net, cache=cache, start=123_456)
    assert same(without, cold)
    assert same(without, warm)
    assert entries(cache) == 6


def test_an_embedding_is_what_the_encoder_makes_of_the_view():
    net = frozen()
    features = embed(net)[0].features
    logits = net.decode([f[None].float() for f in features])
    assert logits.shape == (1, 3, 64, 64)
    assert features[1].dtype == torch.float16


def test_a_warm_cache_never_asks_the_encoder(cache, monkeypatch):
    net = frozen()
    embed(net, cache=cache)
    monkeypatch.setattr(type(net), "embed", lambda *_: pytest.fail("the encoder ran"))
    embed(net, cache=cache)


@pytest.mark.parametrize(
    "change",
    [
        {"net": frozen(spec=ArchitectureSpec(name="unet_small", encoder_training="frozen", weights="random"))},
        {"cases": [case(7), case(8)]},
        {"views": Views(per_case=3, crop_px=96, strength=0.7, classes=3)},
        {"views": Views(per_case=3, crop_px=64, strength=0.1, classes=3)},
    ],
    ids=["encoder", "cases", "size", "strength"],
)
def test_anything_else_is_another_entry(cache, change):
    embed(frozen(), cache=cache)
    embed(**({"net": frozen()} | change), cache=cache)
    assert entries(cache) == 12


def test_equal_weights_dilated_are_another_encoder(cache):
    spec = ArchitectureSpec(name="unet", encoder="resnet18", weights="random", encoder_training="frozen")
    plain, dilated = frozen(spec=spec), frozen(spec=spec.model_copy(update={"name": "deeplabv3plus"}))
    assert all(torch.equal(a, b) for a, b in zip(plain.encoder.parameters(), dilated.encoder.parameters(), strict=True))
    embed(plain, cache=cache)
    embed(dilated, cache=cache)
    assert entries(cache) == 12


def test_a_decoder_seed_shares_the_embeddings(cache):
    embed(frozen(seed=0), cache=cache)
    embed(frozen(seed=1), cache=cache)
    assert entries(cache) == 6


def test_more_views_add_to_those_there_are(cache):
    embed(frozen(), cache=cache)
    embed(frozen(), cache=cache, views=Views(per_case=5, crop_px=64, strength=0.7, classes=3))
    assert entries(cache) == 10


def test_a_trained_encoder_has_no_embeddings():
    with pytest.raises(Invalid, match="frozen"):
        embed(build_net(ArchitectureSpec(name="unet_small"), classes=3, parameters={}, seed=0))


def test_features_beyond_float16_are_refused():
    net = frozen()
    net.body.encoder = _Scaled(net.encoder)
    with pytest.raises(Invalid, match="float16") as caught:
        embed(net)
    assert caught.value.code == "embedding_overflow"


class _Scaled(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return [feature * 1e6 for feature in self.inner(images)]


def train(cache: Cache | None, seed: int = 4):
    net = build_net(FROZEN, classes=3, parameters={}, seed=seed)
    before = {k: v.clone() for k, v in net.encoder_state().items()}
    fit(
        net,
        CASES,
        classes=3,
        settings=SETTINGS,
        parameters={"learning_rate": 1e-2},
        seed=seed,
        watch=lambda *_: None,
        cache=cache,
    )
    assert all(torch.equal(before[k], v) for k, v in net.encoder_state().items())
    return net.state_dict()


def test_training_changes_the_decoder_only_and_is_the_same_with_a_cold_and_a_warm_cache(cache):
    start = build_net(FROZEN, classes=3, parameters={}, seed=4).state_dict()
    without, cold, warm = train(None), train(cache), train(cache)
    assert all(torch.equal(without[k], cold[k]) and torch.equal(cold[k], warm[k]) for k in without)
    assert any(not torch.equal(without[k], start[k]) for k in start if "decoder" in k)


def test_memory_holds_a_bounded_number_of_views(cache, monkeypatch):
    net = frozen()
    every = embed(net, cache=cache)
    source = source_of(net, cache=cache, held_bytes=2 * every[0].bytes)
    read: list[str] = []
    honest = Cache.read
    monkeypatch.setattr(Cache, "read", lambda cache, key: read.append(key) or honest(cache, key))
    for number, reads in ((0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)):
        assert same([source.read(number)], [every[number]])
        assert len(read) == reads


def test_a_view_that_has_left_the_cache_is_made_again_when_drawn(cache):
    net = frozen()
    every = embed(net, cache=cache)
    source = source_of(net.train(), cache=cache, held_bytes=0)
    damaged, *gone = cache.root.glob("*/*")
    damaged.write_bytes(b"damaged")
    for path in gone:
        path.unlink()
    assert same([source.read(number) for number in range(source.count)], every)
    assert entries(cache) == 6


@pytest.mark.parametrize("floor_bytes", [0, 2**62], ids=["room", "no room"])
def test_training_is_the_same_where_memory_holds_nothing(cache, monkeypatch, floor_bytes):
    whole = train(None)
    monkeypatch.setitem(embed_views.__kwdefaults__, "held_bytes", 0)
    bounded = train(Cache(cache.root, floor_bytes=floor_bytes))
    assert all(torch.equal(whole[k], bounded[k]) for k in whole)
