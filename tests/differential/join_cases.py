"""Joins of two streams: within a range of times, with the latest version, within windows, semi and anti."""

from cases import Case, named
from expressions import Maker
from nodes import leaf
from rows_cases import leaves
from window_cases import window

KEYS = [["k"], ["g"], ["f"], ["k", "g"], ["x"], ["y"], ["d"], ["b", "k"], ["dt"]]
PAIR = [("lid", leaf("bigint", "l.id")), ("rid", leaf("bigint", "q.id"))]


def sides(random, data):
    return Maker(random, leaves(data, "s", "l")), Maker(random, leaves(data, "r", "q"))


def both(random, data):
    return Maker(random, leaves(data, "s", "l") + leaves(data, "r", "q"))


def near(random):
    """Two bounds of `q.ts` around `l.ts`, as signed milliseconds."""
    one, two = sorted(
        random.choice([-60_000, -5000, -1000, -500, 0, 0, 1000, 2500, 30_000]) for _ in range(2)
    )
    return one, two


def moved(name, ms):
    return name if not ms else f"{name} {'+' if ms > 0 else '-'} INTERVAL '{abs(ms)} milliseconds'"


class Interval(Case):
    kind = "interval join"

    def on(self, dialect):
        low, high = self.bounds
        keys = " AND ".join(f"l.{key} = q.{key}" for key in self.keys)
        between = f"q.ts {self.words[0]} {moved('l.ts', low)} AND q.ts {self.words[1]} {moved('l.ts', high)}"
        return f"{keys} AND {between}{self.clause(dialect, 'AND', 'extra')}"

    def sql(self, dialect):
        columns, where = self.select(dialect), self.parts["where"]
        left = "s" if where is None else f"(SELECT * FROM s WHERE {where.text(dialect)})"
        if self.join == "EXISTS" or self.join == "NOT EXISTS":
            return f"SELECT {columns} FROM {left} l WHERE {self.join} (SELECT 1 FROM r q WHERE {self.on(dialect)})"
        join = (
            self.join
            if dialect == "tide"
            else self.join.replace("LEFT SEMI", "SEMI").replace("LEFT ANTI", "ANTI")
        )
        return f"SELECT {columns} FROM {left} l {join} JOIN r q ON {self.on(dialect)}"


def interval(random, maker, data):
    join = random.choice(["INNER", "LEFT", "RIGHT", "FULL", "LEFT SEMI", "LEFT ANTI", "EXISTS", "NOT EXISTS"])
    left, right = sides(random, data)
    one_sided = "SEMI" in join or "ANTI" in join or "EXISTS" in join
    columns = PAIR[:1] if one_sided else PAIR
    trees = [left.any(1)] if one_sided else [random.choice([left, right, both(random, data)]).any(1)]
    extra = both(random, data).predicate(1) if random.random() < 0.3 else None
    where = maker.predicate(1) if random.random() < 0.25 else None
    words = random.choice([(">=", "<="), (">=", "<="), (">", "<"), (">=", "<")])
    return Interval({"columns": [*columns, *named(trees)], "extra": extra, "where": where},
                    keys=random.choice(KEYS), bounds=near(random), words=words, join=join)  # fmt: skip


class AsOf(Case):
    """The latest version at or before each row. DuckDB takes the last of all that could be it."""

    kind = "as-of join"

    def sql(self, dialect):
        keys = " AND ".join(f"l.{key} = q.{key}" for key in self.keys)
        age = f" AND q.ts >= l.ts - INTERVAL '{self.age} milliseconds'" if self.age else ""
        left = "LEFT " if self.left else ""
        where = self.parts["where"]
        versions = "r" if where is None else f"(SELECT * FROM r WHERE {where.text(dialect)})"
        select = self.select(dialect)
        if dialect == "tide":
            return f"SELECT {select} FROM s l ASOF {left}JOIN {versions} q MATCH_CONDITION (l.ts {self.word} q.ts) ON {keys}{age}"
        return (f"SELECT {select} FROM s l {left}JOIN {versions} q ON {keys}{age} AND l.ts {self.word} q.ts"
                " QUALIFY row_number() OVER (PARTITION BY l.id ORDER BY q.ts DESC) = 1")  # fmt: skip

    def options(self):
        return {} if self.age else {"keep": "forever"}


def as_of(random, maker, data):
    """Of versions of the same time the last in the stream's order counts, which DuckDB does not know."""
    if data.ties:
        return interval(random, maker, data)
    where = maker.predicate(1) if random.random() < 0.3 else None
    trees = [both(random, data).any(1)]
    return AsOf({"columns": [*PAIR, *named(trees)], "where": where}, keys=random.choice(KEYS), left=random.random() < 0.5,
                word=random.choice([">=", ">"]), age=random.choice([0, 1000, 5000, 60_000]))  # fmt: skip


class Within(Case):
    """Rows of two streams in the same window."""

    kind = "window join"

    def sql(self, dialect):
        equal = [f"l.{name} = q.{name}" for name in (*self.keys, "window_start", "window_end")]
        on = " AND ".join(equal) + self.clause(dialect, "AND", "extra")
        left, right = (getattr(self.window, dialect)(stream) for stream in ("s", "r"))
        where = self.parts["where"]
        condition = f" WHERE {where.text(dialect)}" if where is not None else ""
        if "EXISTS" in self.join:
            condition = condition + " AND " if condition else " WHERE "
            return f"SELECT {self.select(dialect)} FROM {left} l{condition}{self.join} (SELECT 1 FROM {right} q WHERE {on})"
        join = (
            self.join
            if dialect == "tide"
            else self.join.replace("LEFT SEMI", "SEMI").replace("LEFT ANTI", "ANTI")
        )
        return f"SELECT {self.select(dialect)} FROM {left} l {join} JOIN {right} q ON {on}{condition}"


def within(random, maker, data):
    join = random.choice(["INNER", "LEFT", "RIGHT", "FULL", "LEFT SEMI", "LEFT ANTI", "EXISTS", "NOT EXISTS"])
    one_sided = "SEMI" in join or "ANTI" in join or "EXISTS" in join
    columns = PAIR[:1] if one_sided else PAIR
    columns = [*columns, ("ws", leaf("timestamp", "l.window_start"))]
    left, _ = sides(random, data)
    trees = [left.any(1) if one_sided else both(random, data).any(1)]
    extra = both(random, data).predicate(1) if random.random() < 0.3 else None
    where = left.predicate(1) if random.random() < 0.25 and join not in ("RIGHT", "FULL") else None
    return Within({"columns": [*columns, *named(trees)], "extra": extra, "where": where}, keys=random.choice(KEYS),
                  join=join, window=window(random, ("TUMBLE", "TUMBLE", "HOP")))  # fmt: skip


class Sides(Case):
    """Two aggregates of the same windows, joined or united."""

    kind = "join of aggregates"

    def sql(self, dialect):
        texts = []
        for stream in ("s", "r"):
            source = getattr(self.window, dialect)(stream)
            where = self.clause(dialect, "WHERE", "where" if stream == "s" else "inner_where")
            texts.append(f"SELECT {self.key} AS k0, window_start, window_end, COUNT(*) AS n, MAX(m) AS most FROM {source}"
                         f"{where} GROUP BY {self.key}, window_start, window_end")  # fmt: skip
        if self.join == "UNION":
            return f"SELECT {self.select(dialect)} FROM ({texts[0]} UNION ALL {texts[1]}) l"
        on = "l.k0 = q.k0 AND l.window_start = q.window_start AND l.window_end = q.window_end"
        return f"SELECT {self.select(dialect)} FROM ({texts[0]}) l {self.join} JOIN ({texts[1]}) q ON {on}"


def side_columns(alias, type):
    types = {
        "k0": type,
        "window_start": "timestamp",
        "window_end": "timestamp",
        "n": "bigint",
        "most": "bigint",
    }
    return [leaf(one, f"{alias}.{name}") for name, one in types.items()]


def aggregates(random, maker, data):
    key, type = random.choice([("k", "string"), ("g", "int"), ("b", "boolean")])
    join = random.choice(["INNER", "LEFT", "RIGHT", "FULL", "UNION"])
    shown = side_columns("l", type) + ([] if join == "UNION" else side_columns("q", type))
    trees = shown + [Maker(random, shown).any(2)]
    where = maker.predicate(1) if random.random() < 0.4 else None
    inner = maker.predicate(1) if random.random() < 0.4 else None
    return Sides({"columns": named(trees), "where": where, "inner_where": inner}, key=key, join=join,
                 window=window(random, ("TUMBLE", "HOP", "CUMULATE")))  # fmt: skip


class Stages(Case):
    """Windows over the results of windows, or a second aggregate over the same ones."""

    kind = "stages"

    def sql(self, dialect):
        source = getattr(self.window, dialect)("s")
        inner = (f"SELECT {self.key} AS k0, window_start, window_end, COUNT(*) AS n, MAX(m) AS most FROM {source}"
                 f"{self.clause(dialect, 'WHERE', 'where')} GROUP BY {self.key}, window_start, window_end")  # fmt: skip
        if not self.outer:
            return (f"SELECT window_start AS ws, window_end AS we, {self.select(dialect)} FROM ({inner}) i"
                    " GROUP BY window_start, window_end")  # fmt: skip
        if dialect == "tide":
            text = f"WITH inside AS ({inner}) SELECT window_start AS ws, window_end AS we, {self.select(dialect)}"
            return f"{text} FROM TUMBLE(inside, window_start, INTERVAL '{self.outer} milliseconds') GROUP BY window_start, window_end"
        start = f"epoch_ms(floor_to(epoch_ms(window_start), {self.outer}, 0))"
        return (f"SELECT {start} AS ws, {start} + INTERVAL '{self.outer} milliseconds' AS we, {self.select(dialect)}"
                f" FROM ({inner}) i GROUP BY ALL")  # fmt: skip

    def output(self):
        return [("ws", leaf("timestamp", "ws")), ("we", leaf("timestamp", "we")), *self.parts["columns"]]


def stages(random, maker, data):
    key, type = random.choice([("k", "string"), ("g", "int"), ("b", "boolean")])
    trees = [leaf("bigint", text, duck) for text, duck in [
        ("MAX(n)", "MAX(n)"), ("SUM(n)", "wrap64(SUM(n))"), ("COUNT(DISTINCT k0)", "COUNT(DISTINCT k0)"), ("MIN(most)", "MIN(most)"),
        ("COUNT(*)", "COUNT(*)"), ("COUNT(*) FILTER (WHERE n > 1)", "COUNT(*) FILTER (WHERE n > 1)")]]  # fmt: skip
    trees = random.sample(trees, 3)
    where = maker.predicate(1) if random.random() < 0.4 else None
    outer = random.choice([0, 10_000, 60_000])
    return Stages({"columns": named(trees), "where": where}, key=key, outer=outer,
                  window=window(random, ("TUMBLE", "HOP") if outer else ("TUMBLE", "HOP", "CUMULATE")))  # fmt: skip
