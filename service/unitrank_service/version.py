"""The version of Unitrank: inspections and results depend on it, besides their inputs."""

from importlib.metadata import version

VERSION = version("unitrank")
