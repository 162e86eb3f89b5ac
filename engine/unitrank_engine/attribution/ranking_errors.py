"""An error in one ranking names this ranking, and tells how to get the finished rankings.

One failed ranking ends the whole job. The client can then repeat the request without this ranking.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor

from unitrank_engine.errors import EngineError

Key = TypeVar("Key", bound=Hashable)


def all_scores(makers: Mapping[Key, Callable[[], Tensor]], keys: Mapping[str, Key]) -> dict[Key, Tensor]:
    """Call every function of `makers`; return the scores by their keys.

    `keys`: id of a ranking → the key of its scores.

    Raises the EngineError of the first ranking that fails, with the ids of all finished rankings.
    Every function is called before the error is raised, so that the list of finished rankings is
    complete.
    """
    scores: dict[Key, Tensor] = {}
    failed: dict[Key, EngineError] = {}
    for key, make in makers.items():
        try:
            scores[key] = make()
        except EngineError as error:
            failed[key] = error
    for id, key in keys.items():
        if key in failed:
            finished = [ranking for ranking, its_key in keys.items() if its_key in scores]
            raise failed[key].for_ranking(id, finished) from failed[key]
    return scores


@contextmanager
def advise_without(part: str, finished: Sequence[str]) -> Iterator[None]:
    """Add to an EngineError inside the context: the same request without `part` returns the scores.

    `part`: the request's field that failed, `ablation` or `fidelity`.
    `finished`: ids of the rankings whose scores are complete and finite.
    """
    try:
        yield
    except EngineError as error:
        detail = f"{error.detail}; the scores themselves are finite: repeat the request with `{part}: null` to get them"
        raise EngineError(error.code, detail, retryable=error.retryable, finished=finished) from error
