"""Ids: 26 characters that sort by time."""

import re
import time
from threading import Thread

from unitrank_store.jobs.ids import new_id

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def test_ids_when_made_one_after_another_then_each_is_greater_than_the_last() -> None:
    ids = [new_id() for _ in range(2000)]

    assert ids == sorted(set(ids))


def test_id_when_made_then_is_base_32_and_begins_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    id = new_id()
    number = sum(ALPHABET.index(letter) << 5 * place for place, letter in enumerate(reversed(id)))

    assert re.fullmatch(f"[{ALPHABET}]{{26}}", id)
    assert before <= number >> 80 <= time.time_ns() // 1_000_000


def test_ids_when_threads_make_them_then_none_comes_twice() -> None:
    ids: list[str] = []
    threads = [Thread(target=lambda: ids.extend(new_id() for _ in range(500))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(ids)) == 4000
