"""Units of size, in bytes."""

MiB = 1024 * 1024
GiB = 1024 * MiB
