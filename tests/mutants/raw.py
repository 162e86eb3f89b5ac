"""What can go wrong in any file: some bytes are others, a piece is missing, doubled or elsewhere."""

from random import Random

# Where counters overflow, change their sign, or mean something else.
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
    """One to six bytes, often in the last kilobyte, where a zip describes itself, or in the first, where others do."""
    found = bytearray(content)
    for _ in range(random.randint(1, 6)):
        first, last = random.choice([(0, len(found)), (0, min(1024, len(found))), (max(0, len(found) - 1024), len(found))])
        found[random.randrange(first, last)] = random.randrange(256)
    return bytes(found)


def a_piece(random: Random, content: bytes) -> bytes:
    """A piece of any length is taken out, doubled, put elsewhere or blanked, or all that follows it is missing."""
    begin, end = sorted((random.randint(0, len(content)), random.randint(0, len(content))))
    before, piece, after = content[:begin], content[begin:end], content[end:]
    rest = before + after
    place = random.randint(0, len(rest))
    moved = rest[:place] + piece + rest[place:]
    return random.choice([rest, before + piece + piece + after, moved, before + bytes(len(piece)) + after, before + piece])
