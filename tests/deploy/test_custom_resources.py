"""The objects of KEDA have the fields that its documentation names, and read a real metric."""

import re

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from tests.support import manifests
from tests.support.manifests import Manifest, of_kind, title
from unitrank_service.observability.metrics import Metrics
from unitrank_store.jobs.job_store import JobStore

SCALED = of_kind(manifests.everything(), "ScaledObject")
# https://keda.sh/docs/2.17/reference/scaledobject-spec/
SPEC = {
    "scaleTargetRef",
    "pollingInterval",
    "cooldownPeriod",
    "initialCooldownPeriod",
    "idleReplicaCount",
    "minReplicaCount",
    "maxReplicaCount",
    "fallback",
    "advanced",
    "triggers",
}
TRIGGER = {"type", "metadata", "name", "useCachedMetrics", "authenticationRef", "metricType"}
# https://keda.sh/docs/2.17/scalers/metrics-api/
METADATA = {
    "url",
    "format",
    "valueLocation",
    "targetValue",
    "activationTargetValue",
    "unsafeSsl",
    "aggregateFromKubeServiceEndpoints",
    "aggregationType",
    "authMode",
    "method",
    "keyParamName",
}
# https://ray-project.github.io/kuberay/reference/api/
RAY_CLUSTER = {
    "headGroupSpec",
    "workerGroupSpecs",
    "rayVersion",
    "authOptions",
    "enableInTreeAutoscaling",
    "autoscalerOptions",
    "suspend",
}
HEAD_GROUP = {"template", "headService", "enableIngress", "rayStartParams", "serviceType"}
WORKER_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template", "scaleStrategy", "numOfHosts"}
# `ray start --help`, without the leading hyphens.
RAY_START = {"num-cpus", "num-gpus", "object-store-memory", "include-dashboard", "node-manager-port"}


@pytest.mark.parametrize("scaled", SCALED, ids=title)
def test_scaled_object_when_compared_with_kedas_documentation_then_has_only_its_fields(scaled: Manifest) -> None:
    specification = scaled["spec"]
    (trigger,) = specification["triggers"]

    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert specification.keys() <= SPEC
    assert specification["fallback"].keys() == {"failureThreshold", "replicas", "behavior"}
    assert specification["advanced"].keys() == {"horizontalPodAutoscalerConfig"}
    assert trigger.keys() <= TRIGGER
    assert trigger["metadata"].keys() <= METADATA
    # KEDA reads the values of `metadata` as texts.
    assert all(isinstance(value, str) for value in trigger["metadata"].values())


@pytest.mark.parametrize("scaled", SCALED, ids=title)
def test_scaled_object_when_no_job_is_left_then_scales_to_zero_and_keeps_workers_without_an_answer(scaled: Manifest) -> None:
    assert scaled["spec"]["minReplicaCount"] == 0
    assert scaled["spec"]["fallback"]["behavior"] == "currentReplicas"


@pytest.mark.parametrize("scaled", SCALED, ids=title)
def test_scaled_object_when_jobs_wait_and_run_then_its_metric_counts_both(scaled: Manifest, connection: redis.Redis) -> None:
    jobs = JobStore(connection)
    running, _ = (jobs.create({"model": "m"}) for _ in range(2))
    jobs.start(running.id, "w")
    (trigger,) = scaled["spec"]["triggers"]
    page = Metrics(connection).page().decode()

    assert trigger["metadata"]["format"] == "prometheus"
    assert _value(page, trigger["metadata"]["valueLocation"]) == 2


@pytest.mark.parametrize("scaled", SCALED, ids=title)
def test_scaled_object_when_it_asks_the_service_then_names_its_address_and_sends_a_key(scaled: Manifest) -> None:
    (trigger,) = scaled["spec"]["triggers"]
    names = {title(each): each for each in manifests.everything()}
    authentication = names[f"TriggerAuthentication/{trigger['authenticationRef']['name']}"]
    service, namespace = names["Service/unitrank"], manifests.kustomization(manifests.KUSTOMIZE / "base")["namespace"]
    address = f"{service['metadata']['name']}.{namespace}.svc:{service['spec']['ports'][0]['port']}"

    assert trigger["metadata"]["url"] == f"http://{address}/metrics"
    assert trigger["metadata"]["authMode"] == "bearer"
    assert [reference["parameter"] for reference in authentication["spec"]["secretTargetRef"]] == ["token"]


def test_ray_cluster_when_compared_with_kuberays_reference_then_has_only_its_fields() -> None:
    (cluster,) = of_kind(manifests.everything(), "RayCluster")
    head, (workers,) = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
    parameters = head["rayStartParams"] | workers["rayStartParams"]

    assert cluster["apiVersion"] == "ray.io/v1"
    assert cluster["spec"].keys() <= RAY_CLUSTER
    assert head.keys() <= HEAD_GROUP
    assert workers.keys() <= WORKER_GROUP
    assert parameters.keys() <= RAY_START
    # KubeRay reads the values as texts.
    assert all(isinstance(value, str) for value in parameters.values())
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def _value(page: str, location: str) -> float:
    """The value of the sample with this name and these labels, as KEDA finds it."""
    match = re.fullmatch(r'(\w+)\{(\w+)="(\w+)"\}', location)
    assert match is not None
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples if sample.name == match[1]]
    return next(sample.value for sample in samples if sample.labels == {match[2]: match[3]})
