"""The manifests are valid, and every name in them leads to an object."""

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support import manifests
from tests.support.manifests import (
    CUSTOM,
    KUSTOMIZE,
    OVERLAYS,
    ROOT,
    VERSIONS,
    Manifest,
    containers,
    labels,
    of_kind,
    pod,
    ray_groups,
    title,
    workloads,
)

FOLDERS = sorted(file.parent for file in KUSTOMIZE.rglob("kustomization.yaml"))


@pytest.mark.parametrize("version", [pytest.param(VERSIONS[0], marks=pytest.mark.check), VERSIONS[1]])
@pytest.mark.parametrize("manifest", [each for each in manifests.everything() if each["kind"] not in CUSTOM], ids=title)
def test_manifest_when_compared_with_the_schema_of_its_kind_then_is_valid(manifest: Manifest, version: str) -> None:
    manifests.check_schema(manifest, version)


@pytest.mark.parametrize("version", [pytest.param(VERSIONS[0], marks=pytest.mark.check), VERSIONS[1]])
@pytest.mark.parametrize("group", ray_groups(manifests.everything()), ids=title)
def test_pods_of_ray_when_compared_with_the_schema_of_pods_then_are_valid(group: Manifest, version: str) -> None:
    template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "ray"}, "template": group["spec"]["template"]}

    manifests.check_schema(template, version)


def test_manifest_when_a_field_is_misspelt_then_the_schema_rejects_it() -> None:
    wrong = workloads(manifests.base())[0]
    pod(wrong)["terminationGraceSeconds"] = 5

    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGraceSeconds"):
        manifests.check_schema(wrong, VERSIONS[-1])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(KUSTOMIZE)))
def test_kustomization_when_it_names_a_file_then_the_file_exists_and_each_file_is_named(folder: Path) -> None:
    content = manifests.kustomization(folder)
    patches = [patch["path"] for patch in content.get("patches", []) if "path" in patch]
    names = [*content.get("resources", []), *content.get("components", []), *patches]

    assert [name for name in names if not (folder / name).exists()] == []
    assert {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"} <= set(names)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_when_read_then_its_images_have_the_version_of_the_project(overlay: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    replaced = {image["name"]: image["newTag"] for image in manifests.kustomization(KUSTOMIZE / "overlays" / overlay)["images"]}
    ours = {
        container["image"]
        for workload in workloads(manifests.overlay(overlay))
        for container in containers(workload)
        if container["image"].startswith("unitrank-")
    }

    assert replaced == {"unitrank-service": version, "unitrank-worker": version}
    assert ours == {f"unitrank-service:{version}", f"unitrank-worker:{version}"}


def test_valkey_when_compared_with_docker_compose_then_has_its_image_and_options() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["valkey"]
    (container,) = containers(workloads(manifests.component("valkey"))[0])
    options = _pairs(compose["command"][1:]) | {"--maxmemory": "1gb"}

    assert container["image"] == compose["image"]
    assert options.items() <= _pairs(container["command"][1:]).items()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_when_objects_name_others_then_these_exist(overlay: str) -> None:
    objects = manifests.overlay(overlay)
    names = {title(each) for each in objects}
    accounts = {
        f"ServiceAccount/{pod(each)['serviceAccountName']}" for each in workloads(objects) if "serviceAccountName" in pod(each)
    }
    maps = {
        f"ConfigMap/{source['configMapRef']['name']}"
        for each in workloads(objects)
        for container in containers(each)
        for source in container.get("envFrom", [])
        if "configMapRef" in source
    }
    targets = {
        f"{target.get('kind', 'Deployment')}/{target['name']}"
        for each in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
        for target in [each["spec"]["scaleTargetRef"]]
    }
    authentications = {
        f"TriggerAuthentication/{trigger['authenticationRef']['name']}"
        for each in of_kind(objects, "ScaledObject")
        for trigger in each["spec"]["triggers"]
    }

    assert accounts | maps | targets | authentications <= names
    assert len(names) == len(objects)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_when_objects_select_pods_then_there_are_such_pods(overlay: str) -> None:
    objects = manifests.overlay(overlay)
    pods = [labels(each) for each in (*workloads(objects), *ray_groups(objects))]
    budgets = {title(each): each["spec"]["selector"] for each in of_kind(objects, "PodDisruptionBudget")}
    policies = {title(each): each["spec"]["podSelector"] for each in of_kind(objects, "NetworkPolicy")}
    peers = {
        f"{title(each)} {way}": peer["podSelector"]
        for each in of_kind(objects, "NetworkPolicy")
        for way, side in (("ingress", "from"), ("egress", "to"))
        for rule in each["spec"].get(way, [])
        for peer in rule.get(side, [])
        if "podSelector" in peer
    }

    assert {name: _count(selector, pods) for name, selector in budgets.items()} == dict.fromkeys(budgets, 1)
    assert [name for name, selector in (policies | peers).items() if not _count(selector, pods)] == []
    for workload in workloads(objects):
        assert manifests.selects(workload["spec"]["selector"], labels(workload))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_when_a_service_or_a_policy_names_a_port_then_a_container_has_it(overlay: str) -> None:
    objects = manifests.overlay(overlay)
    for service in of_kind(objects, "Service"):
        (workload,) = [each for each in workloads(objects) if service["spec"]["selector"].items() <= labels(each).items()]
        ports = {port["name"]: port["containerPort"] for each in containers(workload) for port in each.get("ports", [])}

        assert [(port["targetPort"] in ports, ports[port["targetPort"]]) for port in service["spec"]["ports"]] == [
            (True, service["spec"]["ports"][0]["port"])
        ]
    for policy in of_kind(objects, "NetworkPolicy"):
        reached = {port["port"] for rule in policy["spec"].get("ingress", []) for port in rule.get("ports", [])}
        own = {
            port["containerPort"]
            for each in workloads(objects)
            if manifests.selects(policy["spec"]["podSelector"], labels(each))
            for container in containers(each)
            for port in container.get("ports", [])
        }

        assert reached <= own
    for ingress in of_kind(objects, "Ingress"):
        backends = [path["backend"]["service"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]

        assert backends == [{"name": "unitrank", "port": {"name": "http"}}]


@pytest.mark.parametrize("workload", [*workloads(manifests.everything()), *ray_groups(manifests.everything())], ids=title)
def test_workload_when_it_mounts_a_volume_then_the_volume_exists_and_each_is_used(workload: Manifest) -> None:
    volumes = {volume["name"] for volume in pod(workload).get("volumes", [])}
    claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}

    assert {mount["name"] for each in containers(workload) for mount in each["volumeMounts"]} == volumes | claims


def test_secrets_when_read_then_the_page_makes_each_of_their_keys() -> None:
    read: dict[str, set[str]] = {}
    for manifest in manifests.everything():
        for name, key in manifests.secret_keys(manifest):
            read.setdefault(name, set()).add(key)
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    commands = re.findall(r"create secret generic (\S+)((?: \\\n|[^\n])*)", page)
    created = {name: set(re.findall(r"--from-literal=(\w+)=", options)) for name, options in commands}

    assert read.keys() >= {"unitrank-store", "unitrank-metrics"}
    assert {name: keys for name, keys in read.items() if not keys <= created.get(name, set())} == {}


def _pairs(options: list[str]) -> dict[str, str]:
    return dict(zip(options[::2], options[1::2], strict=True))


def _count(selector: Manifest, pods: list[dict[str, Any]]) -> int:
    return sum(manifests.selects(selector, each) for each in pods)
