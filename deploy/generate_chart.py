"""Writes the Helm chart deploy/helm/unitrank from the manifests in deploy/kustomize.

    python deploy/generate_chart.py

Each file becomes a template of the same text, in which the rules below replace some lines by values
of the chart. A rule whose line is missing is an error, so that a change of a manifest is noticed.
"""

import json
import shutil
import textwrap
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DEPLOY = Path(__file__).parent
CHART = DEPLOY / "helm" / "unitrank"


class Source(NamedTuple):
    """`condition`: the value of the chart that switches the file on; empty: always."""

    file: str
    template: str
    condition: str = ""


GPU, CPU, AUTOSCALE = ".Values.workers.gpu.enabled", ".Values.workers.cpu.enabled", ".Values.workers.autoscale"
SOURCES = [
    Source("base/settings.yaml", "settings.yaml"),
    Source("base/service-account.yaml", "service-account.yaml"),
    Source("base/service.yaml", "service.yaml"),
    Source("base/inspector.yaml", "inspector.yaml"),
    Source("base/network.yaml", "network.yaml"),
    Source("components/valkey/valkey.yaml", "valkey.yaml", ".Values.store.valkey"),
    Source("components/external-redis/network.yaml", "external-redis.yaml", "not .Values.store.valkey"),
    Source("components/gpu-workers/workers.yaml", "gpu-workers.yaml", GPU),
    Source("components/cpu-workers/workers.yaml", "cpu-workers.yaml", CPU),
    Source("components/autoscale-gpu/scaling.yaml", "autoscale-gpu.yaml", f"and {GPU} {AUTOSCALE}"),
    Source("components/autoscale-cpu/scaling.yaml", "autoscale-cpu.yaml", f"and {CPU} {AUTOSCALE}"),
    Source("components/shared-volume/claim.yaml", "claim.yaml", ".Values.blobs.volume"),
    Source("components/ray/cluster.yaml", "ray-cluster.yaml", ".Values.ray.enabled"),
    Source("components/ray/network.yaml", "ray-network.yaml", ".Values.ray.enabled"),
    Source("components/ingress/ingress.yaml", "ingress.yaml", ".Values.ingress.host"),
]

STATE = "        - name: state\n          emptyDir:\n            sizeLimit: 20Gi\n"
EVERYWHERE = {
    "image: unitrank-service:VERSION": 'image: "{{ .Values.image.registry }}/unitrank-service:{{ .Values.image.tag }}"',
    "image: unitrank-worker:VERSION": 'image: "{{ .Values.image.registry }}/unitrank-worker:{{ .Values.image.tag }}"',
    "name: unitrank-store\n": "name: {{ .Values.store.secret }}\n",
    "name: unitrank-blobs\n": "name: {{ .Values.blobs.secret }}\n",
    "name: unitrank-metrics\n": "name: {{ .Values.workers.metricsSecret }}\n",
    "unitrank.unitrank.svc": "unitrank.{{ .Release.Namespace }}.svc",
    STATE: """\
        - name: state
          {{- if .Values.blobs.volume }}
          persistentVolumeClaim:
            claimName: unitrank-state
          {{- else }}
          emptyDir:
            sizeLimit: 20Gi
          {{- end }}
""",
    "        runAsNonRoot: true\n        seccompProfile:": """\
        runAsNonRoot: true
        {{- if and .Values.blobs.volume (not .Values.openshift) }}
        fsGroup: 10001
        {{- end }}
        seccompProfile:""",
}
"""Text of the manifests → text of the templates, in every file. VERSION is that of the project."""


def _with_ray(part: Any, spaces: int) -> str:
    """A part of the patch of the component `ray`, which the chart adds if Ray is enabled."""
    text = textwrap.indent(yaml.safe_dump(part, sort_keys=False, width=200), " " * spaces)
    return f"{' ' * spaces}{{{{- if .Values.ray.enabled }}}}\n{text}{' ' * spaces}{{{{- end }}}}\n"


def _workers(kind: str) -> dict[str, str]:
    """The rules for the Deployment of one kind of workers, `gpu` or `cpu`."""
    patch = yaml.safe_load((DEPLOY / "kustomize" / "components" / "ray" / "driver.yaml").read_text())["spec"]["template"]["spec"]
    (worker,) = patch["containers"]
    selector = "  selector:\n    matchLabels: *labels\n  strategy:"
    number = f"  {{{{- if not {AUTOSCALE} }}}}\n  replicas: {{{{ .Values.workers.{kind}.max }}}}\n  {{{{- end }}}}\n"
    return {
        selector: number + selector,
        "      containers:\n": _with_ray({"initContainers": patch["initContainers"]}, 6) + "      containers:\n",
        "          env:\n": "          env:\n" + _with_ray(worker["env"], 12),
        "          volumeMounts:\n": "          volumeMounts:\n" + _with_ray(worker["volumeMounts"], 12),
        "      volumes:\n": "      volumes:\n" + _with_ray(patch["volumes"], 8),
    }


def _scaling(kind: str) -> dict[str, str]:
    """The rules for the ScaledObject of one kind of workers."""
    ends = {"minReplicaCount: 0": "min", "maxReplicaCount: 8" if kind == "gpu" else "maxReplicaCount: 10": "max"}
    return {old: f"{old.partition(':')[0]}: {{{{ .Values.workers.{kind}.{end} }}}}" for old, end in ends.items()}


CLASS = "{{- with .Values.storageClass }}\nINDENTstorageClassName: {{ . }}\nINDENT{{- end }}\n"
RULES: dict[str, dict[str, str]] = {
    "base/service.yaml": {
        "minReplicas: 2": "minReplicas: {{ .Values.service.min }}",
        "maxReplicas: 6": "maxReplicas: {{ .Values.service.max }}",
    },
    "components/valkey/valkey.yaml": {
        "        # Valkey's image names no user.\n": """\
        {{- if not .Values.openshift }}
        # Valkey's image names no user.
""",
        "        fsGroup: 10001\n": "        fsGroup: 10001\n        {{- end }}\n",
        "        accessModes: [ReadWriteOnce]\n": "        accessModes: [ReadWriteOnce]\n        "
        + CLASS.replace("INDENT", " " * 8),
        "storage: 10Gi": "storage: {{ .Values.store.storage }}",
    },
    "components/external-redis/network.yaml": {
        "cidr: 10.0.0.0/8": "cidr: {{ .Values.store.network }}",
        "port: 6379": "port: {{ .Values.store.port }}",
    },
    "components/gpu-workers/workers.yaml": _workers("gpu"),
    "components/cpu-workers/workers.yaml": _workers("cpu"),
    "components/autoscale-gpu/scaling.yaml": _scaling("gpu"),
    "components/autoscale-cpu/scaling.yaml": _scaling("cpu"),
    "components/ray/cluster.yaml": {
        "replicas: 2": "replicas: {{ .Values.ray.nodes }}",
        "minReplicas: 2": "minReplicas: {{ .Values.ray.nodes }}",
        "maxReplicas: 2": "maxReplicas: {{ .Values.ray.nodes }}",
    },
    "components/shared-volume/claim.yaml": {
        "  accessModes: [ReadWriteMany]\n": "  accessModes: [ReadWriteMany]\n  " + CLASS.replace("INDENT", "  "),
        "storage: 100Gi": "storage: {{ .Values.blobs.storage }}",
    },
    "components/ingress/ingress.yaml": {
        "spec:\n": "spec:\n  {{- with .Values.ingress.class }}\n  ingressClassName: {{ . }}\n  {{- end }}\n",
        "rank.example.org": "{{ .Values.ingress.host }}",
        "secretName: unitrank-tls": "secretName: {{ .Values.ingress.tlsSecret }}",
    },
}
"""File → text of the manifest → text of the template. Each text must be in its file."""

SETTINGS = """\
  {{- if not .Values.blobs.volume }}
  UNITRANK_BLOBS: {{ .Values.blobs.url | quote }}
  {{- end }}
  {{- if .Values.ingress.host }}
  # The second name is that of KEDA.
  UNITRANK_HOSTS: "{{ .Values.ingress.host }},unitrank.{{ .Release.Namespace }}.svc"
  UNITRANK_TRUSTED_PROXIES: {{ .Values.ingress.proxies | quote }}
  {{- end }}
  {{- range $name, $value := .Values.settings }}
  {{ $name }}: {{ $value | quote }}
  {{- end }}
"""
GENERATED = "deploy/generate_chart.py writes this file."


def chart() -> dict[str, str]:
    """The path of each file of the chart, and its text. Raises ValueError if a rule has no text."""
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    values = (DEPLOY / "chart_values.yaml").read_text().replace("VERSION", version)
    defaults = yaml.safe_load(values)
    templates = {f"templates/{source.template}": _template(source, version) for source in SOURCES}
    return {
        "Chart.yaml": _chart_file(version),
        "values.yaml": f"# {GENERATED}\n{values}",
        "values.schema.json": json.dumps(_schema(defaults), indent=2) + "\n",
        **templates,
    }


def _chart_file(version: str) -> str:
    description = "Which units of a neural network matter for a group of inputs, and can you trust the answer?"
    content = {"apiVersion": "v2", "name": "unitrank", "description": description, "type": "application"}
    content |= {"version": version, "appVersion": version, "kubeVersion": ">=1.29.0-0"}
    return f"# {GENERATED}\n" + yaml.safe_dump(content, sort_keys=False, width=100)


def _template(source: Source, version: str) -> str:
    text = (DEPLOY / "kustomize" / source.file).read_text()
    if source.file == "base/settings.yaml":
        text = text.partition("\ndata:\n")[0] + "\ndata:\n" + SETTINGS
    for old, new in RULES.get(source.file, {}).items():
        if old not in text:
            raise ValueError(f"deploy/kustomize/{source.file} lacks a text that a rule replaces: {old!r}; change the rule")
        text = text.replace(old, new)
    for old, new in EVERYWHERE.items():
        text = text.replace(old.replace("VERSION", version), new)
    body = f"# {GENERATED}\n{text}"
    return f"{{{{- if {source.condition} }}}}\n{body}{{{{- end }}}}\n" if source.condition else body


def _schema(value: Any, name: str = "") -> dict[str, Any]:
    """A JSON schema of values with the types of these defaults, which rejects other names."""
    if name == "settings":
        return {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    if isinstance(value, dict):
        properties = {key: _schema(item, key) for key, item in value.items()}
        # Helm gives the values of a chart that includes this chart as `global`.
        allowed = properties if name else {**properties, "global": {"type": "object"}}
        return {"type": "object", "additionalProperties": False, "properties": allowed}
    return {"type": {bool: "boolean", int: "integer", str: "string"}[type(value)]}


def main() -> None:
    """Replace the chart in deploy/helm/unitrank."""
    shutil.rmtree(CHART, ignore_errors=True)
    for path, text in chart().items():
        (CHART / path).parent.mkdir(parents=True, exist_ok=True)
        (CHART / path).write_text(text)


if __name__ == "__main__":
    main()
