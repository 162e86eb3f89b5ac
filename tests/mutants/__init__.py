"""Valid files with random changes, for the fuzz tests.

A mutator takes a random generator and the bytes of a file, and returns other bytes. The same seed
gives the same bytes.
"""

from collections.abc import Callable
from random import Random

Mutator = Callable[[Random, bytes], bytes]
