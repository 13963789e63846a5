"""Makes a failing pipeline smaller while it fails in the same way: queries, rows, clauses, result columns,
expressions, and columns of the data.

What is tried is either taken or not; the order of trials is such that what removes most comes first. It
ends when nothing smaller fails, or when its time is over.
"""

import dataclasses
import re
import time

import check
from cases import NEEDED, OPTIONAL
from nodes import Node, smaller


class Shrinker:
    def __init__(self, binary, failure, seconds, plant=None):
        self.binary = binary
        self.failure = failure
        self.plant = plant
        self.seconds = seconds
        self.ends = time.monotonic() + seconds

    def shrunk(self, pipeline):
        """The smallest pipeline, and its failure."""
        if not self.seconds:
            return pipeline, self.failure
        alone = dataclasses.replace(pipeline, cases=[pipeline.cases[self.failure.place]])
        best = alone if self.fails(alone) else self.fewer_queries(pipeline)
        while time.monotonic() < self.ends:
            smaller_one = self.step(best)
            if smaller_one is None:
                break
            best = smaller_one
        return best, self.failure

    def fails(self, pipeline):
        if time.monotonic() > self.ends:
            return False
        for failure in check.failures(self.binary, pipeline, self.failure.shards, self.plant):
            if failure.sign == self.failure.sign:
                self.failure = failure
                return True
        return False

    def fewer_queries(self, pipeline):
        """It takes several queries to fail."""
        place = len(pipeline.cases) - 1
        while place >= 0 and len(pipeline.cases) > 1:
            cases = pipeline.cases[:place] + pipeline.cases[place + 1 :]
            tried = dataclasses.replace(pipeline, cases=cases)
            pipeline = tried if self.fails(tried) else pipeline
            place -= 1
        return pipeline

    def step(self, pipeline):
        """One pass over all that can be taken away; None when nothing could."""
        before = pipeline
        pipeline = self.fewer_columns(pipeline)
        for place in range(len(pipeline.cases)):
            pipeline = self.smaller_case(pipeline, place)
        pipeline = self.fewer_columns(pipeline)
        pipeline = self.fewer_rows(pipeline)
        return None if pipeline is before else pipeline

    # Rows.

    def fewer_rows(self, pipeline):
        for which, name in [("streams", name) for name in pipeline.data.streams] + [
            ("tables", name) for name in pipeline.data.tables
        ]:
            count = len(getattr(pipeline.data, which)[name].rows)
            size = count
            while size >= 1:
                start = 0
                while start < len(getattr(pipeline.data, which)[name].rows):
                    tried = without_rows(pipeline, which, name, start, start + size)
                    if tried is not None and self.fails(tried):
                        pipeline = tried
                    else:
                        start += size
                size //= 2
        for stream in pipeline.data.streams.values():
            plain = dataclasses.replace(stream, blocks=[0] * len(stream.rows), time_type="timestamp_ms")
            if plain != stream:
                tried = with_part(pipeline, "streams", plain)
                pipeline = tried if self.fails(tried) else pipeline
        return pipeline

    # Clauses and expressions.

    def smaller_case(self, pipeline, place):
        taken = True
        while taken and time.monotonic() < self.ends:
            taken = False
            for parts in smaller_parts(pipeline.cases[place].parts):
                case = pipeline.cases[place].with_parts(parts)
                cases = pipeline.cases[:place] + [case] + pipeline.cases[place + 1 :]
                tried = dataclasses.replace(pipeline, cases=cases)
                if self.fails(tried):
                    pipeline, taken = tried, True
                    break
        return pipeline

    # Columns, streams and tables that no query names. What is there is a name's text alone: if that is not
    # enough, the program says so, and the trial is not taken.

    def fewer_columns(self, pipeline):
        texts = " ".join(query.sql for _, queries in pipeline.named() for query in queries)
        named = set(re.findall(r"[a-z_0-9]+", texts)) | {"id", "ts"}
        data = pipeline.data
        streams = {name: part for name, part in data.streams.items() if name in named} or data.streams
        tables = {name: part for name, part in data.tables.items() if name in named}
        data = dataclasses.replace(data, streams=only(streams, named), tables=only(tables, named))
        if data == pipeline.data:
            return pipeline
        tried = dataclasses.replace(pipeline, data=data)
        return tried if self.fails(tried) else pipeline


def only(parts, named):
    """The streams or tables with the columns that are named, or all of them if none is."""
    made = {}
    for name, part in parts.items():
        columns = {column: type for column, type in part.columns.items() if column in named}
        made[name] = dataclasses.replace(part, columns=columns or part.columns)
    return made


def smaller_parts(parts):
    """Each way to make one of a case's parts smaller, as all its parts."""
    for name, part in parts.items():
        if name in OPTIONAL and part is not None:
            yield {**parts, name: None}
    for name, part in parts.items():
        if isinstance(part, list):
            for place in reversed(range(len(part))):
                if len(part) > (name in NEEDED):
                    yield {**parts, name: part[:place] + part[place + 1 :]}
    for name, part in parts.items():
        if isinstance(part, Node):
            yield from ({**parts, name: tree} for tree in smaller(part))
        elif isinstance(part, list):
            for place, (alias, tree) in enumerate(part):
                for other in smaller(tree):
                    yield {**parts, name: part[:place] + [(alias, other)] + part[place + 1 :]}


def without_rows(pipeline, which, name, start, end):
    part = getattr(pipeline.data, which)[name]
    rows = part.rows[:start] + part.rows[end:]
    # An input without any record is a stream without an end of its own.
    if which == "streams" and not rows:
        return None
    changed = dataclasses.replace(part, rows=rows)
    if which == "streams":
        changed = dataclasses.replace(changed, blocks=part.blocks[:start] + part.blocks[end:])
    return with_part(pipeline, which, changed)


def with_part(pipeline, which, part):
    parts = {**getattr(pipeline.data, which), part.name: part}
    return dataclasses.replace(pipeline, data=dataclasses.replace(pipeline.data, **{which: parts}))
