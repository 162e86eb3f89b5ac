"""Finds the jobs of a tenant that a filter selects, in pages.

A filter that has no index of its own reads the listing of one job after the other, a chunk of them
in each round trip. One call reads at most `MOST_READ` jobs: its page may then have few jobs, or
none, and a cursor with which the next call goes on.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, cast

import redis

from unitrank_schemas.base import Json
from unitrank_store.jobs.listing.edits import edit_request
from unitrank_store.jobs.listing.job_filter import JobFilter
from unitrank_store.jobs.listing.listing import listing_of, words_of
from unitrank_store.jobs.records import RecordTable
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text, texts
from unitrank_store.redis.scripts import LuaScript

CHUNK = 1000
"""Jobs that one round trip reads, in some milliseconds of the store's time."""
MOST_READ = 20_000
"""Jobs that one call reads."""
_MATCH = LuaScript("unitrank_store.jobs.listing", "match_jobs.lua")
_BY_AREA = re.compile(r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?):(.*)", re.DOTALL)
"""A cursor in the order of areas: area and id. Other cursors are ids."""


class Hit(NamedTuple):
    """A job of a list. `cursor`: the list goes on after this job."""

    id: str
    cursor: str


class Matches(NamedTuple):
    """The answer of `match_jobs.lua`: ids of jobs, see there.

    `read`: the last job, and the number of jobs as text.
    """

    matching: Sequence[str]
    missing: Sequence[str]
    unlisted: Sequence[str]
    read: Sequence[str]


class JobSearch:
    """The search in one tenant's jobs."""

    def __init__(self, connection: redis.Redis, records: RecordTable, tenant: str) -> None:
        self._redis = connection
        self._records = records
        self._kind = records.kind
        self._tenant = tenant
        self._all = keyspace.all_records(self._kind, tenant)
        self._areas = keyspace.areas(self._kind, tenant)

    def page(self, filter: JobFilter, limit: int, after: str | None) -> tuple[list[Hit], str | None]:
        """Return at most `limit` jobs, and the cursor after them; None on the last page.

        `after`: the cursor that the previous page returned.
        """
        hits: list[Hit] = []
        read = 0
        for chunk in self._chunks(filter, after, limit + 1 if _has_index(filter) else CHUNK):
            hits += chunk.matching
            after, read = chunk.cursor, read + chunk.read
            if len(hits) > limit:
                return hits[:limit], hits[limit - 1].cursor
            if read >= MOST_READ:
                return hits, after
        return hits, None

    def _chunks(self, filter: JobFilter, after: str | None, count: int) -> Iterator["_Chunk"]:
        """Yield the matching jobs of one chunk after the other, in the filter's order."""
        if filter.sort == "area":
            ranked = _BY_AREA.fullmatch(after or "")
            if ranked or not after:
                for hits in self._by_area(filter, (float(ranked[1]), ranked[2]) if ranked else None, count):
                    yield self._matching(filter, hits, unranked=False)
                after = None
            filter = replace(filter, ascending=False)
        # All scores are 0, so that Redis sorts the ids as text, and thus by their time.
        first, last = ("-", "+") if filter.ascending else ("+", "-")
        while True:
            start = f"({after}" if after else first
            jobs = {"from": start, "to": last, "count": str(count), "ascending": filter.ascending}
            matches = self._checked(filter, jobs, unranked=filter.sort == "area")
            after, read = matches.read
            if read == "0":
                return
            yield _Chunk([Hit(id, id) for id in matches.matching], after, int(read))

    def _by_area(self, filter: JobFilter, after: tuple[float, str] | None, count: int) -> Iterator[list[Hit]]:
        """Yield the jobs that have an area, in the order of area and id."""
        # Any: redis-py types bounds as numbers, also those of scores
        start: Any = after[0] if after else "-inf" if filter.ascending else "+inf"
        end: Any = "+inf" if filter.ascending else "-inf"
        offset = 0
        while True:
            entries = self._redis.zrange(
                self._areas, start, end, desc=not filter.ascending, byscore=True, withscores=True, offset=offset, num=count
            )
            # cast: redis-py types the reply as a union
            pairs = [(float(area), text(id)) for id, area in cast(list[Any], entries)]
            if not pairs:
                return
            offset += len(pairs)
            # Jobs with the area of the cursor were listed up to the cursor's id.
            later = [pair for pair in pairs if after is None or (pair > after if filter.ascending else pair < after)]
            if later:
                yield [Hit(id, f"{area!r}:{id}") for area, id in later]

    def _matching(self, filter: JobFilter, hits: Sequence[Hit], *, unranked: bool) -> "_Chunk":
        matches = self._checked(filter, {"ids": [hit.id for hit in hits]}, unranked=unranked)
        matching = set(matches.matching)
        return _Chunk([hit for hit in hits if hit.id in matching], hits[-1].cursor, len(hits))

    def _checked(self, filter: JobFilter, jobs: Json, *, unranked: bool) -> Matches:
        """Return the jobs that match, and mend the index and the listings of the others."""
        matches = self._match(filter, jobs, unranked)
        if matches.missing:
            # Redis expires records, but not their ids in an index.
            self._redis.zrem(self._index(filter), *matches.missing)
            self._redis.zrem(self._all, *matches.missing)
            self._redis.zrem(self._areas, *matches.missing)
        if matches.unlisted:
            for id in matches.unlisted:
                self._add_listing(id)
            # `missing` ids have left the index, so another range would be read.
            again = [*matches.matching, *matches.unlisted]
            read = matches.read
            ordered = sorted(again, reverse=not filter.ascending) if "ids" not in jobs else again
            matches = self._match(filter, {"ids": ordered}, unranked)._replace(read=read)
        return matches

    def _match(self, filter: JobFilter, jobs: Json, unranked: bool) -> Matches:
        reply = _MATCH(
            self._redis,
            [self._areas, self._index(filter)],
            **jobs,
            record=keyspace.record(self._kind, ""),
            unranked=unranked,
            conditions=filter.arguments(),
        )
        return Matches(*(texts(each) for each in reply))

    def _add_listing(self, id: str) -> None:
        """Add the listing to a record of an older version.

        Only one record is read at a time, because its request may contain a dataset.
        """
        for record in self._records.read([id]):
            # A forged record must not prevent the search in the other records.
            with suppress(ValueError, TypeError, AttributeError):
                listing = listing_of(record.request)
                fields = {"listing": listing, "words": words_of(id, listing)}
                edit_request(self._redis, self._records.key(id), record.request_text, fields)

    def _index(self, filter: JobFilter) -> str:
        if filter.status is not None:
            return keyspace.records_by_status(self._kind, filter.status, self._tenant)
        if filter.model_name is not None:
            return keyspace.records_by_model(self._kind, self._tenant, filter.model_name)
        return self._all


class _Chunk(NamedTuple):
    """The matching jobs of a chunk, the cursor after the chunk, and the number of jobs read."""

    matching: list[Hit]
    cursor: str
    read: int


def _has_index(filter: JobFilter) -> bool:
    """Return whether an index has exactly the jobs that the filter selects."""
    every = JobFilter(sort=filter.sort, ascending=filter.ascending)
    indexed = (replace(every, status=filter.status), replace(every, model=filter.model_name))
    return filter == every or (filter.sort == "created_at" and filter in indexed)
