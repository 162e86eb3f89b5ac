"""Pods follow Pod Security's level `restricted`, have probes and settings, and stop in time."""

from typing import Any

import pytest

from tests.support import manifests
from tests.support.manifests import Manifest, containers, of_kind, pod, ray_groups, title, workloads
from unitrank_schemas.jobs.request import JobRequest
from unitrank_service.__main__ import GRACE_SECONDS
from unitrank_store.settings import Settings
from unitrank_worker.__main__ import _options
from unitrank_worker.process.watch import START_SECONDS

PODS = [*workloads(manifests.everything()), *ray_groups(manifests.everything())]
CONTAINERS = [(title(workload), container) for workload in PODS for container in containers(workload)]
WITH_DRIVER = [*CONTAINERS, ("node of the driver", containers(manifests.driver_patch())[0])]
WORKERS = [workload for workload in PODS if "unitrank_worker" in containers(workload)[-1].get("command", [])]
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
"""The kinds of volumes that the level `restricted` allows."""
OTHER_VARIABLES = {"OMP_NUM_THREADS", "POD_NAME", "REDISCLI_AUTH", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED"}


@pytest.mark.parametrize("workload", PODS, ids=title)
def test_pod_when_compared_with_the_level_restricted_then_is_allowed(workload: Manifest) -> None:
    security = pod(workload)["securityContext"]
    kinds = {kind for volume in pod(workload).get("volumes", []) for kind in volume.keys() - {"name"}}

    assert security["runAsNonRoot"] is True
    assert security.get("runAsUser") != 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert kinds <= VOLUMES
    assert {"hostNetwork", "hostPID", "hostIPC"} & pod(workload).keys() == set()


@pytest.mark.parametrize(("name", "container"), WITH_DRIVER, ids=[name for name, _ in WITH_DRIVER])
def test_container_when_compared_with_the_level_restricted_then_is_allowed(name: str, container: Manifest) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [port for port in container.get("ports", []) if "hostPort" in port] == []


@pytest.mark.parametrize("workload", PODS, ids=title)
def test_pod_when_started_then_gets_no_token_and_no_variables_of_services(workload: Manifest) -> None:
    assert pod(workload)["automountServiceAccountToken"] is False
    # A Service with the name `unitrank` would set UNITRANK_PORT to tcp://ADDRESS:8000.
    assert pod(workload)["enableServiceLinks"] is False


@pytest.mark.parametrize(("name", "container"), CONTAINERS, ids=[name for name, _ in CONTAINERS])
def test_container_when_started_then_has_probes_and_resources(name: str, container: Manifest) -> None:
    assert {"livenessProbe", "startupProbe"} <= container.keys()
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(("name", "container"), [*WITH_DRIVER, ("worker with Ray", containers(manifests.driver_patch())[1])])
def test_container_when_it_has_variables_then_each_is_a_setting(name: str, container: Manifest) -> None:
    settings = {f"UNITRANK_{field.upper()}" for field in Settings.model_fields}

    assert {variable["name"] for variable in container["env"]} <= settings | OTHER_VARIABLES


def test_settings_when_read_by_a_process_then_are_accepted_and_the_cache_fits_its_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in manifests.settings_map().items():
        monkeypatch.setenv(name, value)
    settings = Settings.read()
    volumes = [volume for each in PODS for volume in pod(each).get("volumes", []) if volume["name"] == "state"]

    assert manifests.settings_map().keys() <= {f"UNITRANK_{field.upper()}" for field in Settings.model_fields}
    assert settings.cache_bytes < min(_bytes(volume["emptyDir"]["sizeLimit"]) for volume in volumes)


@pytest.mark.parametrize("workload", WORKERS, ids=title)
def test_worker_when_stopped_then_a_job_may_use_its_whole_time_before_the_pod_is_killed(workload: Manifest) -> None:
    options, _ = _options(containers(workload)[-1]["command"][3:])
    longest = {
        "jobs": JobRequest.model_fields["timeout"].default,
        "inspections": Settings.model_fields["inspection_timeout"].default,
    }

    assert options.drain >= longest[options.queue]
    assert options.drain + 10 <= pod(workload)["terminationGracePeriodSeconds"] <= options.drain + 60


@pytest.mark.parametrize("workload", WORKERS, ids=title)
def test_worker_when_probed_then_has_the_name_that_the_probe_asks_for_and_time_to_start(workload: Manifest) -> None:
    container = containers(workload)[-1]
    startup, liveness = container["startupProbe"], container["livenessProbe"]

    assert container["command"][container["command"].index("--name") + 1] == "$(POD_NAME)"
    assert {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}} in container["env"]
    assert startup["exec"] == liveness["exec"] == {"command": ["python", "-m", "unitrank_worker.liveness"]}
    assert startup["periodSeconds"] * startup["failureThreshold"] > START_SECONDS


def test_service_when_probed_then_is_ready_without_workers_and_without_the_store() -> None:
    (service,) = [each for each in PODS if title(each) == "Deployment/unitrank-service"]
    (container,) = containers(service)
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])

    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert pod(service)["terminationGracePeriodSeconds"] >= pause + GRACE_SECONDS + 10


def test_autoscaled_deployments_when_applied_again_then_keep_their_number_of_pods() -> None:
    scaled = {
        each["spec"]["scaleTargetRef"]["name"]
        for each in of_kind(manifests.everything(), "HorizontalPodAutoscaler", "ScaledObject")
    }
    fixed = {each["metadata"]["name"] for each in PODS if "replicas" in each["spec"]}

    assert scaled == {"unitrank-service", "unitrank-cpu-worker", "unitrank-gpu-worker"}
    assert fixed == {"unitrank-inspector", "unitrank-valkey"}


def test_ray_when_its_pods_start_then_have_the_token_and_not_the_store() -> None:
    driver = manifests.driver_patch()
    members = [*ray_groups(manifests.everything()), driver]
    variables = [
        {variable["name"]: variable for variable in container["env"]} for each in members for container in containers(each)
    ]
    (cluster,) = of_kind(manifests.everything(), "RayCluster")
    start = containers(driver)[0]["command"]

    assert {str(each["RAY_AUTH_MODE"]["value"]) for each in variables} == {"token"}
    assert {str(each["RAY_AUTH_TOKEN"]["valueFrom"]) for each in variables} == {
        "{'secretKeyRef': {'name': 'unitrank-ray', 'key': 'token'}}"
    }
    assert not any("UNITRANK_REDIS_URL" in each for each in variables)
    # KubeRay gives this name to the Service of the head.
    address = f"{cluster['metadata']['name']}-head-svc:6379"
    assert variables[-1]["UNITRANK_RAY"]["value"] == address
    assert {f"--address={address}", "--num-cpus=0", "--num-gpus=0"} <= set(start)
    assert cluster["spec"]["headGroupSpec"]["rayStartParams"]["include-dashboard"] == "false"


def test_network_when_a_pod_needs_the_store_then_only_such_pods_reach_it() -> None:
    holders = {
        manifests.labels(each)["app.kubernetes.io/component"]
        for each in PODS
        if any(variable["name"] == "UNITRANK_REDIS_URL" for container in containers(each) for variable in container["env"])
    }
    policies = {title(each): each["spec"] for each in of_kind(manifests.everything(), "NetworkPolicy")}
    (rule,) = policies["NetworkPolicy/unitrank-valkey"]["ingress"]
    (peer,) = rule["from"]
    to_store = [policies[f"NetworkPolicy/unitrank-to-{store}"]["podSelector"] for store in ("valkey", "redis")]

    assert [_components(selector) for selector in (peer["podSelector"], *to_store)] == [holders] * 3
    assert policies["NetworkPolicy/unitrank-closed"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policies["NetworkPolicy/unitrank-workers"]


def _components(selector: dict[str, Any]) -> set[str]:
    (names,) = [set(each["values"]) for each in selector["matchExpressions"] if each["key"] == "app.kubernetes.io/component"]
    return names


def _bytes(size: str) -> int:
    assert size.endswith("Gi")
    return int(size.removesuffix("Gi")) << 30
