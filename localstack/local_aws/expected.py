"""What must come out of the example's events, computed from them alone: no SQL, no Tidemill."""

import collections
import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator

import zstandard

from .folders import EVENTS, EXAMPLE

WINDOW_MS = 10_000
# What reaches the year 2100 is more than `max_future` ahead of any arrival.
FUTURE_MS = 4_000_000_000_000


class Expected:
    """`views` by (campaign, start of the window, ms), `dead_letters` by reason, `records`."""

    def __init__(self, records: Iterable[str]):
        with (EXAMPLE / "campaigns.csv").open() as file:
            campaign_of = {row["ad_id"]: row["campaign_id"] for row in csv.DictReader(file)}
        self.views: collections.Counter = collections.Counter()
        self.dead_letters: collections.Counter = collections.Counter()
        self.records = 0
        for record in records:
            self.records += 1
            self._count(record, campaign_of)

    def _count(self, record: str, campaign_of: dict[str, str]) -> None:
        try:
            event = json.loads(record)
        except ValueError:
            self.dead_letters["undecodable"] += 1
            return
        at = event.get("event_time")
        if at is None:
            self.dead_letters["no_event_time"] += 1
        elif at > FUTURE_MS:
            self.dead_letters["future"] += 1
        elif event["event_type"] == "view" and event["ad_id"] in campaign_of:
            self.views[campaign_of[event["ad_id"]], at - at % WINDOW_MS] += 1


def first_records(count: int) -> list[str]:
    """The first of the example's records, each with the end of its line."""
    return list(itertools.islice(_lines(), count))


def _lines() -> Iterator[str]:
    with EVENTS.open("rb") as file:
        with zstandard.ZstdDecompressor().stream_reader(file) as plain:
            yield from io.TextIOWrapper(plain, encoding="utf-8")
