"""The pass of one target, which computes only the scores that no earlier job left in the store."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from unitrank_engine.attribution.examples.sums import ExampleSums
from unitrank_engine.attribution.fidelity import LEVEL, FidelityObserver
from unitrank_engine.attribution.grids import needs_of, squared
from unitrank_engine.attribution.open_spacing import PathsNotResolved, resolved
from unitrank_engine.attribution.projections import projected_statistics
from unitrank_engine.attribution.scores import Attribution, Drops, MethodScores, score_key
from unitrank_engine.attribution.target_pass import TargetPass
from unitrank_engine.job.clusters.membership import Membership, membership_of
from unitrank_engine.job.fills import Fills
from unitrank_engine.reuse import score_parts
from unitrank_engine.reuse.parts import JobParts, read_part
from unitrank_engine.reuse.settling import settled
from unitrank_schemas.checks import with_spacing
from unitrank_schemas.methods import MOST_POINT_BYTES, Method, MethodBase, PathMethod
from unitrank_tables.part import Part


@dataclass(frozen=True)
class EarlierScores:
    """The parts of this job's main pass that earlier jobs put into the store."""

    by_key: Mapping[str, MethodScores]
    """`score_key` → the method's scores."""
    examples: ExampleSums | None
    """None where this job must compute these values."""
    drops: Mapping[str, Drops]
    """`score_key` → the predicted and actual drops, for the fidelity."""


class CachedTargetPass:
    """Wraps the pass of one target over the methods whose parts are not all in the store.

    `entries`: all methods of the target, in the request's order. An entry without a spacing gets
        the default. Where the default does not resolve the paths of the first examples, it gets the
        spacing `adaptive`, at the latest in `finish`.
    """

    attribution: Attribution
    """All scores of the target; set by `finish`."""
    ended = False
    """Whether all scores are there."""
    target: TargetPass
    """Computes the scores that are not in the store."""

    def __init__(self, parts: JobParts, fills: Fills, entries: Sequence[Method]) -> None:
        self.context = fills.context
        self.parts = parts
        rounds = {str(entry.id): entry.rounds() for entry in entries}
        self._later_rounds = {id: later for id, (_, *later) in rounds.items() if later}
        """Id of a ranking that can stop early → its further entries."""
        self._computed = EarlierScores({}, None, {})
        """The scores of the rounds before."""
        self.entries: list[MethodBase] = [with_spacing(rounds[str(entry.id)][0], self.context.request) for entry in entries]
        self._fills = fills
        self._open = {str(entry.id) for entry in entries if self._can_be_adaptive(entry)}
        """Ids of the rankings whose spacing can still change."""
        decisions = {key: self._adaptive_key(key) for key in self._open_keys()}
        stored = self.parts.find(decisions.values()) if decisions else {}
        self._use_adaptive({key for key, decision in decisions.items() if decision in stored})
        self._prepare()

    def _prepare(self) -> None:
        """Look for the scores of earlier jobs, and prepare the pass for all others."""
        while True:
            self.earlier = self._find()
            unresolved = {key for key in self._open_keys() if not self._resolves_earlier(key)}
            if not unresolved and not self._begin_round(self.earlier.by_key):
                break
            self._use_adaptive(unresolved)
        computed = self._computed.by_key
        fresh = [entry for entry in self.entries if not self.reuses(entry) and score_key(entry) not in computed]
        # `ExampleSums.flat` needs the gradients of all methods, unless an earlier job left it.
        needs = needs_of(self.entries if self.earlier.examples is None else fresh)
        open_keys = [key for key in self._open_keys() if key not in self.earlier.by_key and key not in computed]
        self.target = TargetPass(self._fills, fresh, needs, open_keys)
        self._complete = not fresh and (self.earlier.examples or self._computed.examples) is not None

    def _can_be_adaptive(self, entry: MethodBase) -> bool:
        """Return whether the spacing is open, a gap can decide, and the points fit in memory."""
        if not isinstance(entry, PathMethod) or entry.spacing is not None or not self.context.split.cut:
            return False
        return (entry.steps + 1) * self.context.split.section_bytes <= MOST_POINT_BYTES

    def _open_keys(self) -> list[str]:
        """Return each key once, in the order of the request.

        All nodes of a job must ask for parts in the same order.
        """
        return list(dict.fromkeys(score_key(entry) for entry in self.entries if entry.id in self._open))

    def _resolves_earlier(self, key: str) -> bool:
        """Return False where an earlier job's scores show that the default does not suffice."""
        scores = self.earlier.by_key.get(key)
        return scores is None or resolved(scores.path_gaps)

    def _use_adaptive(self, keys: Collection[str]) -> None:
        """Give the open entries with these keys the spacing `adaptive`."""
        chosen = {entry.id for entry in self.entries if entry.id in self._open and score_key(entry) in keys}
        self._open -= chosen
        self.entries = [entry.model_copy(update={"spacing": "adaptive"}) if entry.id in chosen else entry for entry in self.entries]

    def _begin_round(self, by_key: Mapping[str, MethodScores]) -> bool:
        """Give each entry that is not settled the next round; return whether there is one.

        `by_key`: the scores of the rounds so far.
        """
        ablation, begun = self.context.request.ablation, False
        for index, entry in enumerate(self.entries):
            later, scores = self._later_rounds.get(str(entry.id)), by_key.get(score_key(entry))
            if not later or not scores or not entry.settled_units:
                continue
            if not settled(scores, entry.statistic, entry.settled_units, ablation.level if ablation else LEVEL):
                self.entries[index], begun = later.pop(0), True
        return begun

    def _adaptive_key(self, key: str) -> str:
        """Return the fingerprint of the decision that a method needs the spacing `adaptive`."""
        return self.parts.fingerprint("adaptive", key)

    @cached_property
    def membership(self) -> Membership:
        return membership_of(self.context, self._fills.baselines.grouped)

    def reuses(self, entry: MethodBase) -> bool:
        """Return True where the method's scores come from an earlier job."""
        return score_key(entry) in self.earlier.by_key

    @property
    def complete(self) -> bool:
        """Whether earlier jobs left everything that this job needs."""
        return self._complete

    def finish(self, outcome: Attribution | PathsNotResolved | None, observer: FidelityObserver | None, *, exact: bool) -> bool:
        """Take the outcome of the target's pass; return False where the pass must run again.

        `outcome`: None where nothing had to be computed.
        `exact`: whether the sums round as those of other jobs do; others are not stored.
        """
        if isinstance(outcome, PathsNotResolved):
            self.parts.keep({self._adaptive_key(key): Part({}) for key in outcome.keys})
            self._use_adaptive(outcome.keys)
            self._prepare()
            return self._complete and self.finish(None, observer, exact=exact)
        by_key, examples = {**self._computed.by_key, **self.earlier.by_key}, self._computed.examples or self.earlier.examples
        drops = {**self._computed.drops, **self.earlier.drops}
        if outcome is not None:
            by_key |= outcome.by_key
            examples = examples or outcome.examples
            drops |= observer.drops if observer else {}
            if exact:
                self._keep(outcome, drops)
        if self._begin_round(by_key):
            self._computed = EarlierScores(by_key, examples, drops)
            self._prepare()
            return self._complete and self.finish(None, observer, exact=exact)
        if observer:
            observer.drops = drops
        assert examples is not None
        self.attribution = Attribution(self.membership, by_key, examples)
        self.ended = True
        return True

    def _find(self) -> EarlierScores:
        """Read the scores of each method for which the store has every part that this job needs."""
        keys_of_methods = self._keys()
        fingerprints = [self._examples_key(), *(key for keys in keys_of_methods.values() for key in keys.values())]
        parts = self.parts.find(fingerprints)
        by_key, drops = {}, {}
        for name, entry in {score_key(entry): entry for entry in self.entries}.items():
            by_kind = {kind: parts.get(key) for kind, key in keys_of_methods[name].items()}
            scores = read_part(by_kind["scores"], partial(score_parts.scores_from, entry=entry, context=self.context))
            kept = read_part(by_kind["kept"], score_parts.kept_from) if "kept" in by_kind else {}
            of_method = (
                read_part(by_kind["errors"], score_parts.drops_from) if "errors" in by_kind else Drops(np.zeros(0), np.zeros(0))
            )
            projections = read_part(by_kind["projections"], score_parts.projections_from) if "projections" in by_kind else {}
            if scores is not None and kept is not None and of_method is not None and projections is not None:
                scores.kept.update(kept)
                scores.projections = projections
                by_key[name], drops[name] = scores, of_method
        return EarlierScores(by_key, read_part(parts.get(self._examples_key()), score_parts.examples_from), drops)

    def _keep(self, computed: Attribution, drops: Mapping[str, Drops]) -> None:
        """Put the scores that this job computed into the store, for later jobs."""
        parts: dict[str, Part] = {}
        keys_of_methods = self._keys()
        if self.earlier.examples is None:
            parts[self._examples_key()] = score_parts.of_examples(computed.examples)
        for name, scores in computed.by_key.items():
            for kind, key in keys_of_methods[name].items():
                parts[key] = score_parts.MAKERS[kind](scores, drops.get(name))
        self.parts.keep(parts)

    def _keys(self) -> dict[str, dict[str, str]]:
        """`score_key` → kind of part → fingerprint, for all parts that this job needs."""
        request, fourth = self.context.request, squared(self.entries)
        projected = projected_statistics(request.methods, self.entries)
        keys = {}
        for name in map(score_key, self.entries):
            keys[name] = {"scores": self.parts.fingerprint("scores", name, name in fourth)}
            if request.keep_examples:
                keys[name]["kept"] = self.parts.fingerprint("kept", name, request.keep_examples)
            if name in projected:
                keys[name]["projections"] = self.parts.fingerprint("projections", name, projected[name])
            if request.fidelity:
                keys[name]["errors"] = self.parts.fingerprint("errors", name, request.fidelity.model_dump(mode="json"))
        return keys

    def _examples_key(self) -> str:
        return self.parts.fingerprint("examples", needs_of(self.entries)[1.0])
