"""JSON Pointers (RFC 6901) name the place of a value in a JSON document."""


def pointer(*steps: str | int) -> str:
    """The pointer made of these keys and indices: `/methods/0/steps`."""
    return "".join(f"/{escaped(str(step))}" for step in steps)


def escaped(step: str) -> str:
    """The step with `~` as `~0` and `/` as `~1`."""
    return step.replace("~", "~0").replace("/", "~1")


def steps(pointer: str) -> list[str]:
    """The keys and indices of a pointer, as text."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
