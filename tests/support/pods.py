"""Starts the containers of manifests as processes of this machine, as a pod would.

It needs root and util-linux. Each process has a random user, a read-only root file system with the
volumes of its pod, and the pod's name as host name. All processes share a network of their own, in
which the names of Services lead to them. Nothing outside of the processes changes.

`/tmp` may hold the code under test, so that its volume has another path here: `PLACE`.
"""

import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.manifests import Manifest, containers, settings_map
from tests.support.restricted_user import USER
from unitrank_store.redis import embedded

PLACE = "/mnt"
"""The path of the pod's last volume. The volume `state` has its own path."""
NETWORK = """\
import fcntl, socket, struct, sys
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
print("up", flush=True)
sys.stdin.read()
"""
ASK = """\
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
connection.request("GET", sys.argv[2], headers=dict([sys.argv[3].split(": ")] if len(sys.argv) > 3 else []))
answer = connection.getresponse()
print(answer.read().decode())
sys.exit(answer.status != 200)
"""
MOUNTS = f"""\
set -e
name=$1 state=$2 place=$3 hosts=$4 interpreter=$5 closed=$6
shift 6
mount --make-rprivate /
hostname "$name"
mount --bind "$hosts" /etc/hosts
mount --bind "$place" {PLACE}
mount -t tmpfs none /opt
mkdir /opt/state /opt/interpreter
mount --bind "$state" /opt/state
if [ -n "$closed" ]; then
  mount --bind "$interpreter" /opt/interpreter
  mount -t tmpfs -o mode=755 none "$closed"
  mkdir -p "$interpreter"
  mount --move /opt/interpreter "$interpreter"
fi
mount -t tmpfs -o mode=755 none /var/lib
mkdir /var/lib/unitrank
mount --move /opt/state /var/lib/unitrank
umount /opt
for folder in / /tmp /var/tmp /dev/shm /var/lib; do
  if mountpoint -q "$folder"; then mount -o remount,bind,ro "$folder"; fi
done
exec setpriv --reuid {USER} --regid 0 --clear-groups --no-new-privs "$@"
"""


class PodNetwork:
    """A network in which processes of containers run. `folder`: for volumes and programs."""

    def __init__(self, folder: Path, secrets: Mapping[str, Mapping[str, str]], services: Sequence[str]) -> None:
        self._folder = folder
        self._secrets = secrets
        self._hosts = folder / "hosts"
        self._hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *services)))
        self._programs = {
            "python": sys.executable,
            "unitrank": str(Path(sys.executable).parent / "unitrank"),
            "valkey-server": str(embedded.find_server()),
        }
        self._holder: subprocess.Popen[str]

    @contextmanager
    def open(self) -> Iterator["PodNetwork"]:
        words = ["unshare", "--net", sys.executable, "-I", "-c", NETWORK]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as self._holder:
            assert self._holder.stdin is not None
            assert self._holder.stdout is not None
            try:
                assert self._holder.stdout.readline() == "up\n"
                yield self
            finally:
                self._holder.stdin.close()

    def start(self, workload: Manifest, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start the command of a workload's container."""
        (container,) = containers(workload)
        return subprocess.Popen(
            self._words(workload, container["command"]),
            env=self._environment(workload, environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
        )

    def run(self, workload: Manifest, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command in a workload's container, as `kubectl exec` does."""
        return subprocess.run(
            self._words(workload, command),
            env=self._environment(workload, environment),
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )

    def ask(self, port: int, path: str, header: str = "") -> subprocess.CompletedProcess[str]:
        """GET a path from a port of the network. The status is 0 only if the answer is 200."""
        words = [*self._inside(), sys.executable, "-I", "-c", ASK, str(port), path, *([header] if header else [])]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def probe(self, workload: Manifest, name: str, environment: Mapping[str, str]) -> bool:
        """Whether a probe of a workload's container succeeds."""
        (container,) = containers(workload)
        probe = container[name]
        if "exec" in probe:
            return self.run(workload, probe["exec"]["command"], environment).returncode == 0
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        return self.ask(ports[probe["httpGet"]["port"]], probe["httpGet"]["path"]).returncode == 0

    def _inside(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]

    def _words(self, workload: Manifest, command: Sequence[str]) -> list[str]:
        name = workload["metadata"]["name"]
        (container,) = containers(workload)
        paths = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] != "state"]
        folders = [self._volume(name, "state"), self._volume(name, "place")]
        interpreter = Path(sys.base_prefix)
        closed = [folder for folder in interpreter.parents if not folder.stat().st_mode & stat.S_IXOTH]
        mounts = [name, *folders, str(self._hosts), str(interpreter), str(closed[-1] if closed else "")]
        program = self._programs.get(command[0]) or shutil.which(command[0]) or command[0]
        arguments = [PLACE if word in paths else _filled(word, self._own(workload)) for word in command[1:]]
        return [*self._inside(), "unshare", "--mount", "--uts", "sh", "-c", MOUNTS, "sh", *mounts, program, *arguments]

    def _volume(self, name: str, kind: str) -> str:
        folder = self._folder / name / kind
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o2777)
        return str(folder)

    def _own(self, workload: Manifest) -> dict[str, str]:
        """The variables of a workload's container."""
        (container,) = containers(workload)
        variables = {}
        for source in container.get("envFrom", []):
            variables |= settings_map() if "configMapRef" in source else self._secrets.get(source["secretRef"]["name"], {})
        for variable in container["env"]:
            variables[variable["name"]] = _value(variable, workload, self._secrets)
        return variables

    def _environment(self, workload: Manifest, environment: Mapping[str, str]) -> dict[str, str]:
        return {**environment, "HOME": "/var/lib/unitrank", "TMPDIR": PLACE, **self._own(workload)}


def _value(variable: Manifest, workload: Manifest, secrets: Mapping[str, Mapping[str, str]]) -> str:
    """The value that Kubernetes would give to a variable."""
    if "value" in variable:
        return str(variable["value"])
    source = variable["valueFrom"]
    if "secretKeyRef" in source:
        return secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]
    (container,) = containers(workload)
    facts = {"metadata.name": workload["metadata"]["name"], "limits.cpu": container["resources"]["limits"].get("cpu", "1")}
    return str(facts[source.get("fieldRef", {}).get("fieldPath") or source["resourceFieldRef"]["resource"]])


def _filled(word: str, variables: Mapping[str, str]) -> str:
    """The word with the values of `$(NAME)`, as Kubernetes fills them in."""
    return re.sub(r"\$\((\w+)\)", lambda match: variables.get(match[1], match[0]), word)
