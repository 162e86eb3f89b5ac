"""Random streams depend on their seed, their work and their name alone."""

import numpy as np

from unitrank_engine.job.random_streams import RandomStreams

WORK = ("sha256:m", "conv1", "output", "neuron", "sha256:d", {"by": "all", "limit": None})


def drawn(streams: RandomStreams, *name: str | int) -> list[int]:
    return streams.generator(*name).integers(2**62, size=3).tolist()


def test_generator_when_made_twice_then_both_give_the_same_numbers() -> None:
    streams = RandomStreams.of(0, *WORK)

    assert drawn(streams, "order", 3) == drawn(streams, "order", 3) == drawn(RandomStreams.of(0, *WORK), "order", 3)


def test_generator_when_name_seed_or_work_differ_then_so_does_the_stream() -> None:
    names = [("order", 0), ("order", 1), ("order", "1"), ("ties", "a"), ("split", "a"), ("noise", "a"), ("resample", 0), ("order",)]
    streams = [drawn(RandomStreams.of(0, *WORK), *name) for name in names] + [drawn(RandomStreams.of(1, *WORK), "order", 0)]
    for index in range(len(WORK)):
        changed = (*WORK[:index], "another", *WORK[index + 1 :])
        streams.append(drawn(RandomStreams.of(0, *changed), "order", 0))

    assert len({tuple(each) for each in streams}) == len(names) + 1 + len(WORK)


def test_of_when_the_work_is_described_in_another_order_then_it_is_the_same() -> None:
    first, second = RandomStreams.of(0, {"by": "all", "limit": 3}), RandomStreams.of(0, {"limit": 3, "by": "all"})

    assert first == second


def test_key_when_clusters_name_many_rows_then_it_stays_short() -> None:
    members = {"by": "members", "members": {str(name): list(range(1000)) for name in range(100)}}

    assert len(RandomStreams.of(0, members).key) == len(RandomStreams.of(0).key) == 64


def test_generator_when_it_draws_then_the_numbers_are_numpys_for_all_time() -> None:
    # Recorded with numpy 2.4 from the sha256 of '["k", "order", 0]'. A change here would change
    # each published verdict.
    assert isinstance(RandomStreams("k").generator("order", 0).bit_generator, np.random.PCG64)
    assert RandomStreams("k").generator("order", 0).permutation(8).tolist() == [2, 0, 7, 6, 3, 4, 1, 5]
