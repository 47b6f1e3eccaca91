"""The shipped manifests as plain objects, with the few look-ups that tests need."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"

Manifest = dict[str, Any]


def kustomization() -> Manifest:
    """Return what `kubectl apply -k` reads first."""
    loaded: Manifest = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    return loaded


def manifests() -> list[Manifest]:
    """Return every object of every resource file, in order."""
    objects: list[Manifest] = []
    for name in kustomization()["resources"]:
        objects += yaml.safe_load_all((MANIFESTS / name).read_text())
    return objects


def of_kind(*kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests() if manifest["kind"] in kinds]


def workloads() -> list[Manifest]:
    """Return whatever makes pods."""
    return of_kind("Deployment", "StatefulSet", "Job")


def pod(workload: Manifest) -> Manifest:
    """Return the pod's spec."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Manifest) -> Manifest:
    """Return the only container."""
    (only,) = pod(workload)["containers"]
    found: Manifest = only
    return found


def labels(workload: Manifest) -> dict[str, str]:
    """Return the labels of the pods."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def ports(workload: Manifest) -> dict[str, int]:
    """Return the container's ports by name."""
    return {port["name"]: port["containerPort"] for port in container(workload).get("ports", [])}


def selected(selector: dict[str, str]) -> list[Manifest]:
    """Return the workloads whose pods the labels select."""
    return [workload for workload in workloads() if selector.items() <= labels(workload).items()]


def walk(value: Any, key: str) -> Iterator[Any]:
    """Yield every value that stands under `key`, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from walk(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner, key)
