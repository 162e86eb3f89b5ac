"""The manifests of deploy/kustomize as Python objects, read from the files or rendered."""

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[2]
KUSTOMIZE = ROOT / "deploy" / "kustomize"
OVERLAYS = sorted(folder.name for folder in (KUSTOMIZE / "overlays").iterdir())
COMPONENTS = sorted(folder.name for folder in (KUSTOMIZE / "components").iterdir())

VERSIONS = ("1.29", kubernetes_validate.latest_version().rpartition(".")[0])
"""The oldest version of Kubernetes that docs/kubernetes.md names, and the newest with a schema."""
CUSTOM = {"ScaledObject", "TriggerAuthentication", "RayCluster"}
"""Kinds that operators add to Kubernetes."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C, where PyYAML has it: all files are read by many tests."""

Manifest = dict[str, Any]
"""An object of Kubernetes, as its YAML file has it."""


def kustomization(folder: Path) -> Manifest:
    """The file kustomization.yaml of a folder."""
    content: Manifest = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return content


def resources(folder: Path) -> list[Manifest]:
    """The objects in the files that a folder's kustomization lists; patches are not applied."""
    files = [folder / name for name in kustomization(folder).get("resources", []) if (folder / name).is_file()]
    return [manifest for file in files for manifest in yaml.load_all(file.read_text(), LOADER)]


def check_schema(manifest: Manifest, version: str) -> None:
    """Raises kubernetes_validate.ValidationError, also for unknown fields."""
    kubernetes_validate.validate(manifest, version, strict=True)


def base() -> list[Manifest]:
    return resources(KUSTOMIZE / "base")


def component(name: str) -> list[Manifest]:
    return resources(KUSTOMIZE / "components" / name)


def components_of(overlay: str) -> list[str]:
    """The names of an overlay's components, in order."""
    return [Path(path).name for path in kustomization(KUSTOMIZE / "overlays" / overlay)["components"]]


def driver_patch() -> Manifest:
    """The part of a worker's Deployment that the component `ray` adds."""
    patch: Manifest = yaml.safe_load((KUSTOMIZE / "components" / "ray" / "driver.yaml").read_text())
    return patch


def overlay(name: str) -> list[Manifest]:
    """The objects of an overlay; patches are not applied."""
    return [*base(), *(manifest for part in components_of(name) for manifest in component(part))]


def everything() -> list[Manifest]:
    """The objects of the base and of all components."""
    return [*base(), *(manifest for name in COMPONENTS for manifest in component(name))]


def title(manifest: Manifest) -> str:
    """The kind and the name of an object: `Deployment/unitrank-service`."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


PROGRAM = shutil.which("kustomize") or shutil.which("kubectl")
"""The program that renders kustomizations; None where it is not installed."""


def rendered(folder: Path) -> list[Manifest]:
    """The objects that kustomize makes of a folder, with all patches."""
    words = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    done = subprocess.run([*words, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def composed(folder: Path, *components: str) -> list[Manifest]:
    """The objects of the base with these components, rendered in a copy of the files."""
    copy = folder / "kustomize"
    shutil.copytree(KUSTOMIZE, copy)
    (copy / "overlays" / "own").mkdir()
    content = {"resources": ["../../base"], "components": [f"../../components/{name}" for name in components]}
    (copy / "overlays" / "own" / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return rendered(copy / "overlays" / "own")


def workloads(manifests: Iterable[Manifest]) -> list[Manifest]:
    """The objects of Kubernetes' own kinds that start pods."""
    return of_kind(manifests, "Deployment", "StatefulSet")


def ray_groups(manifests: Iterable[Manifest]) -> list[Manifest]:
    """The groups of a RayCluster's pods, with the shape of workloads."""
    groups = []
    for cluster in of_kind(manifests, "RayCluster"):
        for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
            name = group["template"]["spec"]["containers"][0]["name"]
            groups.append({"kind": "RayCluster", "metadata": {"name": name}, "spec": {"template": group["template"]}})
    return groups


def pod(workload: Manifest) -> Manifest:
    """The specification of a workload's pods."""
    specification: Manifest = workload["spec"]["template"]["spec"]
    return specification


def labels(workload: Manifest) -> dict[str, str]:
    """The labels of a workload's pods."""
    pairs: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return pairs


def containers(workload: Manifest) -> list[Manifest]:
    """The containers of a workload's pods, with those that run before the others."""
    return [*pod(workload).get("initContainers", []), *pod(workload)["containers"]]


def selects(selector: Manifest, pairs: dict[str, str]) -> bool:
    """Whether a selector with `matchLabels` and `matchExpressions` (`In`) selects these labels."""
    exact = selector.get("matchLabels", {}).items() <= pairs.items()
    return exact and all(pairs.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", []))


def settings_map() -> dict[str, str]:
    """The variables of the ConfigMap of the base."""
    (settings,) = of_kind(base(), "ConfigMap")
    data: dict[str, str] = settings["data"]
    return data


def secret_keys(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """The name of each Secret that a workload or a TriggerAuthentication reads, and the key."""
    if manifest["kind"] == "RayCluster" and "template" not in manifest["spec"]:
        for group in ray_groups([manifest]):
            yield from secret_keys(group)
    specification = manifest.get("spec", {})
    for reference in specification.get("secretTargetRef", []):
        yield reference["name"], reference["key"]
    if "template" in specification:
        for container in containers(manifest):
            for variable in container.get("env", []):
                if secret := variable.get("valueFrom", {}).get("secretKeyRef"):
                    yield secret["name"], secret["key"]
