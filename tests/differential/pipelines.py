"""A pipeline of about 20 random queries over random data, made from a seed alone."""

import dataclasses
import random

import count_cases
import data
import exact
import join_cases
import over_cases
import rows_cases
import window_cases
from expressions import Maker

QUERIES = 20
ROWS = 60
# How often each kind is made, and by what.
KINDS = {
    "rows": (4, rows_cases.rows),
    "predicate": (2, rows_cases.partition),
    "lookup": (2, rows_cases.lookup),
    "union": (1, rows_cases.union),
    "windows": (7, window_cases.windowed),
    "distinct": (1, window_cases.distinct),
    "best": (2, window_cases.best),
    "below": (2, window_cases.below),
    "counted": (1, count_cases.counted),
    "over-within": (2, count_cases.within),
    "over": (4, over_cases.over),
    "first": (1, over_cases.first_of_key),
    "over-results": (1, over_cases.over_results),
    "interval": (2, join_cases.interval),
    "as-of": (1, join_cases.as_of),
    "within": (1, join_cases.within),
    "sides": (1, join_cases.aggregates),
    "quotients": (1, exact.quotients),
    "means": (1, exact.means),
    "stages": (1, join_cases.stages),
}


@dataclasses.dataclass
class Pipeline:
    """`seed` is what it was made from, also when it was made smaller since."""

    seed: int
    data: data.Data
    cases: list

    def named(self):
        """Each case with its queries, which have the names of its place."""
        return [(case, case.queries(f"q{place}")) for place, case in enumerate(self.cases)]

    def count(self):
        return sum(len(queries) for _, queries in self.named())


def make(seed, kinds=()):
    """`kinds` are those to choose from: all, if it is empty."""
    chance = random.Random(seed)
    made = data.make(chance, ROWS)
    weights = {kind: weight for kind, (weight, _) in KINDS.items() if not kinds or kind in kinds}
    pipeline = Pipeline(seed, made, [])
    while pipeline.count() < QUERIES:
        # The same query twice is two queries.
        if pipeline.cases and chance.random() < 0.05:
            pipeline.cases.append(chance.choice(pipeline.cases))
            continue
        kind = chance.choices(list(weights), weights.values())[0]
        maker = Maker(chance, rows_cases.leaves(made))
        pipeline.cases.append(KINDS[kind][1](chance, maker, made))
    return pipeline
