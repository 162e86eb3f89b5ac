"""The error of confinement."""


class NotConfined(Exception):
    """Raised if the kernel, or a missing library, does not allow a limit."""
