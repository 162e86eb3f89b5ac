"""Clusters and the main pass, and the parts of results: what need not be computed, and what is left for later jobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from unitrank_engine.attribution.main_pass import needs_of, squared
from unitrank_engine.attribution.scores import Attribution, EarlierScores, Errors, PerExample, Scored, score_key
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.batch_size import rows_at_once
from unitrank_engine.job.clusters.finders import ClusterRows, find_clusters
from unitrank_engine.job.clusters.forward import Forward
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_engine.methods.batch import Notes
from unitrank_engine.reuse.fingerprints import PartStore, Shelf, fingerprint, machine, usable
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import MethodBase
from unitrank_tables import Table
from unitrank_tables.part import Part


def known_clusters(
    request: JobRequest, table: Table, forward: Forward, streams: RandomStreams, parts: PartStore
) -> list[ClusterRows]:
    """As `find_clusters`; those that take passes are looked for, and kept."""
    if not request.clusters.reads_model:
        return find_clusters(request, table, forward, streams)
    program = forward.program
    read = request.model_dump(mode="json", include={"inputs", "preprocess"}) | {"output": forward.output}
    print_ = fingerprint("clusters", machine(program.device), rows_at_once(program), streams.key, read)
    known: list[ClusterRows] | None = usable(parts.get([print_]).get(print_), _clusters)
    if known is not None:
        return known
    clusters = find_clusters(request, table, forward, streams)
    parts.put({print_: _of_clusters(clusters)})
    return clusters


def _of_clusters(clusters: list[ClusterRows]) -> Part:
    rows = [cluster.rows for cluster in clusters]
    arrays = {"rows": np.concatenate(rows), "sizes": np.array([len(each) for each in rows], np.int64)}
    return Part(arrays, {"names": [cluster.name for cluster in clusters]})


def _clusters(part: Part) -> list[ClusterRows]:
    rows = np.split(part.arrays["rows"], np.cumsum(part.arrays["sizes"])[:-1])
    return [ClusterRows(name, each) for name, each in zip(part.says["names"], rows, strict=True)]


@dataclass(frozen=True)
class ScoreCache:
    """What a job's methods leave, part by part: their sums, the examples that are kept, and how they predicted ablations."""

    context: JobContext
    shelf: Shelf
    entries: list[MethodBase]

    def find(self) -> EarlierScores:
        """A method is known where all is there that this job needs of it."""
        asked = [self._examples, *(print_ for prints in self._prints.values() for print_ in prints.values())]
        found = self.shelf.find(asked)
        scored, errors = {}, {}
        for key, entry in {score_key(entry): entry for entry in self.entries}.items():
            parts = {kind: found.get(print_) for kind, print_ in self._prints[key].items()}
            one = usable(parts["scores"], partial(_scored, entry=entry, context=self.context))
            kept = usable(parts["kept"], _kept) if "kept" in parts else {}
            missed = usable(parts["errors"], _errors) if "errors" in parts else Errors(np.zeros(0), np.zeros(0))
            if one is not None and kept is not None and missed is not None:
                one.kept.update(kept)
                scored[key], errors[key] = one, missed
        return EarlierScores(scored, usable(found.get(self._examples), _examples), errors)

    def keep(self, found: Attribution, known: EarlierScores, errors: Mapping[str, Errors]) -> None:
        """What was computed now."""
        parts = {} if known.examples else {self._examples: _of_examples(found.examples)}
        for key, prints in self._prints.items():
            if key not in known.scored:
                parts |= {print_: MAKERS[kind](found.scored[key], errors.get(key)) for kind, print_ in prints.items()}
        self.shelf.keep(parts)

    @cached_property
    def _prints(self) -> dict[str, dict[str, str]]:
        """Of each method's scores the fingerprints of all that this job needs of them."""
        request, fourth = self.context.request, squared(self.entries)
        prints = {}
        for key in map(score_key, self.entries):
            prints[key] = {"scores": self.shelf.fingerprint("scores", key, key in fourth)}
            if request.keep_examples:
                prints[key]["kept"] = self.shelf.fingerprint("kept", key, request.keep_examples)
            if request.fidelity:
                prints[key]["errors"] = self.shelf.fingerprint("errors", key, request.fidelity.model_dump(mode="json"))
        return prints

    @cached_property
    def _examples(self) -> str:
        return self.shelf.fingerprint("examples", needs_of(self.entries)[1.0])


def _of_examples(found: PerExample) -> Part:
    arrays = {name: getattr(found, name) for name in ("f", "f_baseline", "classes", "flat", "at_baseline")}
    return Part(arrays if found.right is None else arrays | {"right": found.right})


def _examples(part: Part) -> PerExample:
    arrays = dict(part.arrays)
    return PerExample(right=arrays.pop("right", None), **arrays)


def _of_scored(scored: Scored) -> Part:
    notes = scored.notes
    says = {
        "warnings": [list(warning) for warning in notes.warnings],
        "lists": {name: sorted(values) for name, values in notes.lists.items()},
        "numbers": notes.numbers,
    }
    sums = scored.sums
    return Part({"sums": sums.sums.cpu().numpy(), "counts": sums.counts, "totals": scored.totals}, says)


def _scored(part: Part, entry: MethodBase, context: JobContext) -> Scored:
    arrays, says = part.arrays, part.says
    sums = Sums(0, context.units.count, context.device)
    # a copy: what a part holds may not be written to
    sums.sums, sums.counts = torch.tensor(arrays["sums"], device=context.device), arrays["counts"]
    warnings = dict.fromkeys((code, detail) for code, detail in says["warnings"])
    notes = Notes(warnings, {name: set(values) for name, values in says["lists"].items()}, says["numbers"])
    return Scored(entry, sums, arrays["totals"], notes=notes)


def _of_kept(scored: Scored) -> Part:
    clusters = [cluster for cluster, rows in scored.kept.items() for _ in rows]
    rows = [row for rows in scored.kept.values() for row in rows]
    return Part({"clusters": np.array(clusters, np.int64), "rows": torch.stack(rows).numpy()})


def _kept(part: Part) -> dict[int, list[torch.Tensor]]:
    kept: dict[int, list[torch.Tensor]] = {}
    for cluster, row in zip(part.arrays["clusters"].tolist(), torch.tensor(part.arrays["rows"]), strict=True):
        kept.setdefault(cluster, []).append(row)
    return kept


def _of_errors(errors: Errors | None) -> Part:
    assert errors is not None
    return Part({"predicted": errors.predicted, "actual": errors.actual})


def _errors(part: Part) -> Errors:
    return Errors(part.arrays["predicted"], part.arrays["actual"])


MAKERS: dict[str, Callable[[Scored, Errors | None], Part]] = {
    "scores": lambda scored, errors: _of_scored(scored),
    "kept": lambda scored, errors: _of_kept(scored),
    "errors": lambda scored, errors: _of_errors(errors),
}
