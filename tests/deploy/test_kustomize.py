"""kustomize renders each overlay, and each component works with the others.

Without kustomize or kubectl these tests are skipped.
"""

from pathlib import Path

import pytest

from tests.support import manifests
from tests.support.manifests import (
    CUSTOM,
    KUSTOMIZE,
    OVERLAYS,
    PROGRAM,
    VERSIONS,
    Manifest,
    composed,
    containers,
    of_kind,
    pod,
    rendered,
    title,
    workloads,
)

pytestmark = [pytest.mark.check, pytest.mark.skipif(PROGRAM is None, reason="neither kustomize nor kubectl is on PATH")]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_when_rendered_then_has_the_objects_of_its_files_and_each_is_valid(overlay: str) -> None:
    objects = rendered(KUSTOMIZE / "overlays" / overlay)

    assert {title(each) for each in objects} == {title(each) for each in manifests.overlay(overlay)}
    assert {each["metadata"].get("namespace") for each in objects if each["kind"] != "Namespace"} == {"unitrank"}
    for each in objects:
        if each["kind"] not in CUSTOM:
            manifests.check_schema(each, VERSIONS[-1])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_when_rendered_then_takes_images_from_the_registry(overlay: str) -> None:
    objects = rendered(KUSTOMIZE / "overlays" / overlay)
    images = {container["image"] for each in workloads(objects) for container in containers(each)} - {"valkey/valkey:9-alpine"}

    assert all(image.startswith("registry.example.org/unitrank-") for image in images)


def test_shared_volume_when_added_then_every_pod_with_blobs_mounts_the_claim(tmp_path: Path) -> None:
    objects = composed(tmp_path, "valkey", "cpu-workers", "gpu-workers", "shared-volume")
    (settings,) = of_kind(objects, "ConfigMap")
    states = {title(each): _state(each) for each in of_kind(objects, "Deployment")}

    assert "UNITRANK_BLOBS" not in settings["data"]
    assert len(states) == 4
    assert set(map(str, states.values())) == {str({"persistentVolumeClaim": {"claimName": "unitrank-state"}})}
    assert {pod(each)["securityContext"]["fsGroup"] for each in of_kind(objects, "Deployment")} == {10001}


def test_openshift_when_added_then_no_pod_names_a_user_or_a_group(tmp_path: Path) -> None:
    objects = composed(tmp_path, "valkey", "cpu-workers", "shared-volume", "openshift")

    for workload in workloads(objects):
        assert pod(workload)["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_ingress_when_added_then_the_service_accepts_its_host_and_that_of_keda(tmp_path: Path) -> None:
    objects = composed(tmp_path, "ingress")
    (settings,) = of_kind(objects, "ConfigMap")
    (ingress,) = of_kind(objects, "Ingress")

    assert settings["data"]["UNITRANK_HOSTS"].split(",") == [ingress["spec"]["rules"][0]["host"], "unitrank.unitrank.svc"]


def _state(workload: Manifest) -> Manifest:
    (volume,) = [volume for volume in pod(workload)["volumes"] if volume["name"] == "state"]
    return {name: value for name, value in volume.items() if name != "name"}
