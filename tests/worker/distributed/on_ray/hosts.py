"""Hosts as network namespaces of this machine, each with a cable to one switch.

The switch is a namespace, too, so this machine's own network stays as it is. Needs root and `ip`.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress

NETWORK = "10.213.7"
"""The addresses exist only inside of the namespaces."""


def missing() -> str | None:
    """Why this machine cannot have such hosts; None if it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need `ip` (Debian's iproute2)"
    probe = f"unitrank-{os.getpid()}-probe"
    adding = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if adding.returncode:
        return f"this machine makes no network namespaces: {adding.stderr.strip()}"
    _ip("netns", "delete", probe)
    return None


class Hosts:
    """Some hosts. Host `n` has the address `address(n)`."""

    def __init__(self, count: int) -> None:
        self._switch = f"unitrank-{os.getpid()}-switch"
        self._names = [f"unitrank-{os.getpid()}-{number}" for number in range(count)]
        try:
            self._connect()
        except BaseException:
            self.end()
            raise

    def address(self, host: int) -> str:
        return f"{NETWORK}.{host + 1}"

    def inside(self, host: int) -> Sequence[str]:
        """The beginning of a command that runs on the host."""
        return ["ip", "netns", "exec", self._names[host]]

    def cut(self, host: int) -> None:
        """Pull the host's cable out of the switch."""
        _ip("-n", self._switch, "link", "set", f"port{host}", "down")

    def plug(self, host: int) -> None:
        """Put the host's cable back."""
        _ip("-n", self._switch, "link", "set", f"port{host}", "up")

    def end(self) -> None:
        """Delete the namespaces. Their processes must have ended."""
        for name in [*self._names, self._switch]:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", name)

    def _connect(self) -> None:
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")
        for number, name in enumerate(self._names):
            port = f"port{number}"
            _ip("netns", "add", name)
            _ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", "name", "cable", "netns", name)
            _ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")
            _ip("-n", name, "address", "add", f"{self.address(number)}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
