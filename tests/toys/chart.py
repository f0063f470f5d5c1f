"""The Helm chart rendered by the real engine, in the test's process and without a cluster."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="no Helm engine (pip install helm-python-sdk)")

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "intima"
VALUES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
"""Whole examples by name."""
Manifest = dict[str, Any]


class NoDuplicates(yaml.SafeLoader):
    """YAML in which a key stands once: the last of two would win in silence."""


def _mapping(loader: NoDuplicates, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]  # type: ignore[no-untyped-call]
    assert len(keys) == len(set(keys)), f"a key stands twice: {keys}{node.start_mark}"
    return loader.construct_mapping(node, deep=True)


NoDuplicates.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def values_of(name: str, **more: Any) -> dict[str, Any]:
    """Return the values of an example with some parts changed; parts are merged one level deep."""
    found: dict[str, Any] = yaml.safe_load(VALUES[name].read_text())
    for key, value in more.items():
        found[key] = {**found.get(key, {}), **value} if isinstance(value, Mapping) else value
    return found


def render_texts(values: Mapping[str, Any], *, chart: Path = CHART, release: str = "demo") -> dict[str, str]:
    with helm.Chart.load(str(chart)) as loaded:
        return {Path(k).name: v for k, v in loaded.render(dict(values), name=release, namespace="lab").items()}


def render(values: Mapping[str, Any], **more: Any) -> list[Manifest]:
    """Return every manifest. Raises what the engine raises."""
    return list(_manifests(render_texts(values, **more)))


def _manifests(texts: Mapping[str, str]) -> Iterator[Manifest]:
    for name, text in texts.items():
        if name.endswith(".yaml"):
            yield from (m for m in yaml.load_all(text, NoDuplicates) if m is not None)


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [m for m in manifests if m["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name]
    return found


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return every pod and pod template (metadata and spec) by its component."""
    found = [m["spec"]["template"] for m in of_kind(manifests, "Deployment", "StatefulSet")] + of_kind(manifests, "Pod")
    found += [m["spec"]["jobTemplate"]["spec"]["template"] for m in of_kind(manifests, "CronJob")]
    return {pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod for pod in found}


def environment(pod: Manifest) -> dict[str, str]:
    return {e["name"]: e.get("value", "") for e in pod["spec"]["containers"][0].get("env", [])}
