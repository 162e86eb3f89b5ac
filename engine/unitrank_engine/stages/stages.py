"""The stages of a job after its preparation, for all its layers."""

from collections.abc import Mapping, Sequence

from unitrank_engine.ablation.family import judge_family
from unitrank_engine.attribution.scores import Attribution
from unitrank_engine.job.baselines import Baselines, find_baselines
from unitrank_engine.job.batch_size import rows_at_once
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import Fills
from unitrank_engine.result.outcome import TargetOutcome
from unitrank_engine.reuse.main_pass import CachedMainPass
from unitrank_engine.reuse.parts import JobParts, PartStore
from unitrank_engine.reuse.shared_controls import SharedControls
from unitrank_engine.reuse.study import CachedStudy
from unitrank_engine.stages.joint import JointTarget
from unitrank_engine.stages.shared_passes import with_shared_passes
from unitrank_engine.stages.target import TargetStages, counted_as
from unitrank_schemas.results import JOINT
from unitrank_tables import Table


class LayerStages:
    """The targets of one layer, or of all layers' units together.

    `targets`: one for each explained class, or the only one.
    `controls`: the controls that several studies share; None with one study or without any.
    """

    def __init__(self, targets: Sequence[TargetStages] | Sequence[JointTarget], fills: Fills) -> None:
        self.targets = targets
        self.controls = _shared_controls([target.study for target in targets if target.study], fills)

    def plan(self) -> None:
        """Announce the rows of the stages to the progress meter."""
        if self.controls:
            self.controls.plan()
        for target in self.targets:
            target.plan()

    def run_controls(self) -> None:
        """Run the controls that the studies share."""
        if self.controls:
            self.controls.run([str(entry.id) for target in self.targets for entry in target.entries])

    def reused(self) -> list[str]:
        """Return the names of the results that earlier jobs left, each once.

        `controls` is named where all targets reuse them.
        """
        reused = [target.reused() for target in self.targets]
        of_all = set.intersection(*map(set, reused))
        return list(dict.fromkeys(name for names in reused for name in names if name != "controls" or name in of_all))


class Stages:
    """The main pass of a job, and the studies of each of its layers and targets.

    `contexts`: one for each layer, and at the end that of their units together, if there is one.
    """

    def __init__(self, contexts: Sequence[JobContext], store: PartStore, further: Mapping[str, Table]) -> None:
        batch = rows_at_once(contexts[0].program)
        baselines = find_baselines(contexts[0], batch)
        of_layers = with_shared_passes([context for context in contexts if not context.joint], baselines, batch)
        self.layers = {context.request.one_layer: _of_layer(context, baselines, batch, store, further) for context in of_layers}
        scored = [[target for target in layer.targets if isinstance(target, TargetStages)] for layer in self.layers.values()]
        for joint in contexts[len(of_layers) :]:
            self.layers[JOINT] = _of_joint(joint, scored, baselines, batch, store)
        self._scored = [target for targets in scored for target in targets]
        self.main_pass = CachedMainPass([target.scores for target in self._scored])

    def plan(self) -> None:
        """Announce the rows of every stage to the progress meter."""
        self.main_pass.plan()
        for layer in self.layers.values():
            layer.plan()

    def attributions(self) -> list[Attribution]:
        """Return the scores of all rankings, for each target of each layer, then for joint ones."""
        computed = self.main_pass.run([target.fidelity for target in self._scored])
        by_target = {target: target.with_brought(each) for target, each in zip(self._scored, computed, strict=True)}
        joint = [target for layer in self.layers.values() for target in layer.targets if isinstance(target, JointTarget)]
        return [*by_target.values(), *(target.joined([by_target[part] for part in target.parts]) for target in joint)]

    def outcomes(self, attributions: Sequence[Attribution]) -> dict[str, list[TargetOutcome]]:
        """Run the studies of all targets, whose rankings are judged as one family.

        Return the outcomes of each layer. `attributions`: those that `attributions` returned.
        """
        pairs = list(zip((target for layer in self.layers.values() for target in layer.targets), attributions, strict=True))
        for layer in self.layers.values():
            layer.run_controls()
        measured = [target.measure(attribution) for target, attribution in pairs]
        studies = [target.study.study for target, _ in pairs if target.study]
        judged = iter(judge_family(studies, [each for each in measured if each]) if studies else [])
        outcomes = iter(
            [
                target.outcome(attribution, each, next(judged) if each else None)
                for (target, attribution), each in zip(pairs, measured, strict=True)
            ]
        )
        return {name: [next(outcomes) for _ in layer.targets] for name, layer in self.layers.items()}

    def reused(self) -> list[str]:
        """Return the names of the results that earlier jobs left.

        With several layers, the name of the layer precedes them.
        """
        if len(self.layers) == 1:
            return next(iter(self.layers.values())).reused()
        return [f"{layer}/{name}" for layer, stages in self.layers.items() for name in stages.reused()]


def _of_layer(context: JobContext, baselines: Baselines, batch: int, store: PartStore, further: Mapping[str, Table]) -> LayerStages:
    contexts, fills = context.of_targets(), Fills(context, baselines, batch)
    parts = [JobParts.of(store, each, batch=batch) for each in contexts]
    targets = [TargetStages(of_target, fills.for_target(each), further) for each, of_target in zip(contexts, parts, strict=True)]
    return LayerStages(targets, fills.for_target(contexts[0]))


def _of_joint(
    context: JobContext, layers: Sequence[Sequence[TargetStages]], baselines: Baselines, batch: int, store: PartStore
) -> LayerStages:
    """`layers`: the targets of each layer."""
    contexts, fills = context.of_targets(), Fills(context, baselines, batch)
    targets = [
        JointTarget(JobParts.of(store, each, batch=batch), fills.for_target(each), parts)
        for each, parts in zip(contexts, zip(*layers, strict=True), strict=True)
    ]
    return LayerStages(targets, fills.for_target(contexts[0]))


def _shared_controls(studies: Sequence[CachedStudy], fills: Fills) -> SharedControls | None:
    request = fills.context.request
    if len(studies) < 2 or request.ablation is None:
        return None
    return SharedControls(studies, counted_as(len(studies), fills), request.ablation)
