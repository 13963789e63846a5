"""What must come out of the example, computed from its files alone: no SQL, no Tidemill."""

import collections
import csv
import io
import json

import zstandard

from .folders import EVENTS, EXAMPLE

WINDOW_MS = 10_000
# What reaches the year 2100 is more than `max_future` ahead of any arrival.
FUTURE_MS = 4_000_000_000_000


class Expected:
    """`views` by (campaign, start of the window, ms), `dead_letters` by reason, `records`."""

    def __init__(self):
        with (EXAMPLE / "campaigns.csv").open() as file:
            campaign_of = {row["ad_id"]: row["campaign_id"] for row in csv.DictReader(file)}
        self.views: collections.Counter = collections.Counter()
        self.dead_letters: collections.Counter = collections.Counter()
        self.records = 0
        for line in _lines():
            self.records += 1
            self._count(line, campaign_of)

    def _count(self, line, campaign_of):
        try:
            event = json.loads(line)
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

    def windows(self) -> list[int]:
        return sorted({window for _, window in self.views})


def _lines():
    with EVENTS.open("rb") as file:
        with zstandard.ZstdDecompressor().stream_reader(file) as plain:
            yield from io.TextIOWrapper(plain, encoding="utf-8")
