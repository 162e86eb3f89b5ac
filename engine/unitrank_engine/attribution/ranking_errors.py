"""Which ranking failed: one of several must not take the others with it unsaid, nor the study of them all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor

from unitrank_engine.errors import EngineError


def all_scores(makers: Mapping[str, Callable[[], Tensor]], keys: Mapping[str, str]) -> dict[str, Tensor]:
    """The scores of each maker by its key; `keys`: ranking → the key of its scores.

    Raises the first EngineError, as that of its ranking and with those that have not failed: that is known only when all have
    been tried.
    """
    scores: dict[str, Tensor] = {}
    failed: dict[str, EngineError] = {}
    for key, make in makers.items():
        try:
            scores[key] = make()
        except EngineError as error:
            failed[key] = error
    for id, key in keys.items():
        if key in failed:
            raise failed[key].of(id, [other for other, its in keys.items() if its in scores]) from failed[key]
    return scores


@contextmanager
def judging(part: str, finished: Sequence[str]) -> Iterator[None]:
    """Errors in here leave the scores alone, and say how to have them without this part of the request."""
    try:
        yield
    except EngineError as error:
        detail = f"{error.detail}; the scores themselves are finite: with `{part}: null` the same request gives them"
        raise EngineError(error.code, detail, retryable=error.retryable, finished=finished) from error
