"""A main pass that computes only the scores that no earlier job left, and keeps the scores that it computes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from unitrank_engine.attribution.fidelity import FidelityObserver
from unitrank_engine.attribution.main_pass import MainPass, needs_of, squared
from unitrank_engine.attribution.scores import Attribution, Errors, PerExample, Scored, score_key
from unitrank_engine.errors import EngineError
from unitrank_engine.job.clusters.membership import Membership
from unitrank_engine.job.fills import Fills
from unitrank_engine.reuse import score_parts
from unitrank_engine.reuse.parts import JobParts, read_part
from unitrank_schemas.methods import MethodBase
from unitrank_tables.part import Part


@dataclass(frozen=True)
class EarlierScores:
    """What earlier jobs left of this job's main pass; `scored` and `errors` by the key of the scores."""

    scored: Mapping[str, Scored]
    examples: PerExample | None
    errors: Mapping[str, Errors]


class CachedMainPass:
    """Wraps a main pass over the methods that have no complete parts."""

    def __init__(self, parts: JobParts, fills: Fills, entries: list[MethodBase]) -> None:
        self.context = fills.context
        self.parts = parts
        self.entries = entries
        self.earlier = self._find()
        fresh = [entry for entry in entries if not self.reuses(entry)]
        # the flat gradients are found for the whole job, unless an earlier job left them
        needs = needs_of(entries if self.earlier.examples is None else fresh)
        self._main = MainPass(fills, fresh, needs)
        self._complete = not fresh and self.earlier.examples is not None

    @property
    def membership(self) -> Membership:
        return self._main.membership

    def reuses(self, entry: MethodBase) -> bool:
        """Whether the method's scores are an earlier job's."""
        return score_key(entry) in self.earlier.scored

    def plan(self) -> None:
        """Announces the stage, if anything is left to compute."""
        if not self._complete:
            self._main.plan()

    def run(self, observer: FidelityObserver | None = None) -> Attribution:
        """As `MainPass.run`; the observer gets the errors of the earlier scores as well."""
        scored, examples = dict(self.earlier.scored), self.earlier.examples
        if not self._complete:
            computed = self._run(observer)
            scored |= computed.scored
            examples = examples or computed.examples
            if not self._main.halved:
                self._keep(computed, observer.errors if observer else {})
        if observer:
            observer.errors |= self.earlier.errors
        assert examples is not None
        return Attribution(self.membership, scored, examples)

    def _run(self, observer: FidelityObserver | None) -> Attribution:
        """A ranking's error names the earlier scores too among those that are finished."""
        try:
            return self._main.run(observer)
        except EngineError as error:
            cause = error.__cause__
            if error.ranking is None or not isinstance(cause, EngineError):
                raise
            names = [(entry.id or entry.name, self.reuses(entry)) for entry in self.entries]
            raise cause.of(error.ranking, [name for name, reused in names if reused or name in error.finished]) from cause

    def _find(self) -> EarlierScores:
        """The earlier scores of each method of which every part that this job needs was kept."""
        fingerprints = [self._examples_key, *(key for keys in self._keys.values() for key in keys.values())]
        parts = self.parts.find(fingerprints)
        scored, errors = {}, {}
        for name, entry in {score_key(entry): entry for entry in self.entries}.items():
            by_kind = {kind: parts.get(key) for kind, key in self._keys[name].items()}
            sums = read_part(by_kind["scores"], partial(score_parts.scored_from, entry=entry, context=self.context))
            kept = read_part(by_kind["kept"], score_parts.kept_from) if "kept" in by_kind else {}
            missed = (
                read_part(by_kind["errors"], score_parts.errors_from) if "errors" in by_kind else Errors(np.zeros(0), np.zeros(0))
            )
            if sums is not None and kept is not None and missed is not None:
                sums.kept.update(kept)
                scored[name], errors[name] = sums, missed
        return EarlierScores(scored, read_part(parts.get(self._examples_key), score_parts.examples_from), errors)

    def _keep(self, computed: Attribution, errors: Mapping[str, Errors]) -> None:
        """Leaves what was computed now for later jobs."""
        parts: dict[str, Part] = {}
        if self.earlier.examples is None:
            parts[self._examples_key] = score_parts.of_examples(computed.examples)
        for name, scored in computed.scored.items():
            for kind, key in self._keys[name].items():
                parts[key] = score_parts.MAKERS[kind](scored, errors.get(name))
        self.parts.keep(parts)

    @cached_property
    def _keys(self) -> dict[str, dict[str, str]]:
        """Key of the scores → the fingerprints of all their parts that this job needs."""
        request, fourth = self.context.request, squared(self.entries)
        keys = {}
        for name in map(score_key, self.entries):
            keys[name] = {"scores": self.parts.fingerprint("scores", name, name in fourth)}
            if request.keep_examples:
                keys[name]["kept"] = self.parts.fingerprint("kept", name, request.keep_examples)
            if request.fidelity:
                keys[name]["errors"] = self.parts.fingerprint("errors", name, request.fidelity.model_dump(mode="json"))
        return keys

    @cached_property
    def _examples_key(self) -> str:
        return self.parts.fingerprint("examples", needs_of(self.entries)[1.0])
