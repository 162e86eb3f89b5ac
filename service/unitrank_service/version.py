"""The version of the installed package `unitrank`.

A result or an inspection of another version is not reused.
"""

from importlib.metadata import version

VERSION = version("unitrank")
