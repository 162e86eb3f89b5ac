"""Mutators of any file: bytes are replaced; a piece is removed, repeated, moved or set to zero."""

from random import Random

# Numbers at which counters overflow, change their sign or have a special meaning.
NUMBERS = [
    0,
    1,
    2,
    8,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    1 << 31,
    0xFFFFFFFE,
    0xFFFFFFFF,
    1 << 48,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
]


def some_bytes(random: Random, content: bytes) -> bytes:
    """Replace one to six bytes, often in the first or the last kilobyte.

    Most formats have their header in the first one, and a zip its directory in the last one.
    """
    changed = bytearray(content)
    for _ in range(random.randint(1, 6)):
        first, last = random.choice([(0, len(changed)), (0, min(1024, len(changed))), (max(0, len(changed) - 1024), len(changed))])
        changed[random.randrange(first, last)] = random.randrange(256)
    return bytes(changed)


def a_piece(random: Random, content: bytes) -> bytes:
    """Remove, repeat or move a piece of any length, set it to zero, or cut the file after it."""
    begin, end = sorted((random.randint(0, len(content)), random.randint(0, len(content))))
    before, piece, after = content[:begin], content[begin:end], content[end:]
    rest = before + after
    place = random.randint(0, len(rest))
    moved = rest[:place] + piece + rest[place:]
    return random.choice([rest, before + piece + piece + after, moved, before + bytes(len(piece)) + after, before + piece])
