"""Honest files with something wrong in them, as chance or an attacker would have it.

A mutator takes a source of chance and a file, and gives another file; the same chance gives the same file.
"""

from collections.abc import Callable
from random import Random

Mutator = Callable[[Random, bytes], bytes]
