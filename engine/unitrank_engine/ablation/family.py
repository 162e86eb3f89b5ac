"""The family of a job's rankings: those of all layers and classes are judged together."""

from collections.abc import Mapping, Sequence

from unitrank_engine.ablation.statistics.judgement import Judge, Judgement, RankingTest, Tested
from unitrank_engine.ablation.study import Judged, Measured, Study


def judge_family(studies: Sequence[Study], measured: Sequence[Measured]) -> list[Judged]:
    """Judge the rankings of all studies of a job as one family: those of all layers and classes.

    `measured`: of each study.
    """
    main = _judge_all(studies, 0, [each.rankings for each in measured])
    checked = _judge_all(studies, 1, [each.checked for each in measured])
    return [Judged(*each) for each in zip(main, checked, strict=True)]


def _judge_all(studies: Sequence[Study], number: int, rankings: Sequence[Mapping[str, Tested]]) -> list[dict[str, Judgement]]:
    """Return the judgements of each study's rankings. `number`: of the fill test."""
    tests, uncounted = dict[tuple[int, str], RankingTest](), set[tuple[int, str]]()
    for index, (study, of_study) in enumerate(zip(studies, rankings, strict=True)):
        tests |= {(index, name): test for name, test in study.family_tests(number, of_study).items()}
        uncounted |= {(index, name) for name in study.noise(of_study)}
    judgements = Judge(studies[0].request.level).of(tests, uncounted)
    return [{name: judgements[index, name] for name in of_study} for index, of_study in enumerate(rankings)]
