"""Queries of single events: expressions and WHERE, alone, united, and with a static table.

Also what needs no second engine: the rows of `WHERE p`, `WHERE NOT p` and `WHERE p IS NULL` are together
all rows, and each is where p, selected as a value, says.
"""

from cases import Case, named
from nodes import leaf
from program import Query

ID = leaf("bigint", "id")


def leaves(data, stream="s", alias=None, without=()):
    """The stream's columns; `gap` and `id` are there for other things."""
    columns = data.streams[stream].columns
    prefix = f"{alias}." if alias else ""
    return [
        leaf(type, prefix + name) for name, type in columns.items() if name not in ("gap", "id", *without)
    ]


class Rows(Case):
    kind = "rows"

    def sql(self, dialect):
        return f"SELECT {self.select(dialect)} FROM {self.stream}{self.clause(dialect, 'WHERE', 'where')}"


def rows(random, maker, data):
    trees = [maker.any(random.choice([1, 2, 3])) for _ in range(random.choice([1, 2, 4]))]
    where = maker.predicate(random.choice([1, 2, 3])) if random.random() < 0.6 else None
    return Rows({"columns": [("id", ID), *named(trees)], "where": where}, stream=random.choice(["s", "r"]))


class Union(Case):
    kind = "union"

    def sql(self, dialect):
        one = f"SELECT 's' AS who, {self.select(dialect)} FROM s{self.clause(dialect, 'WHERE', 'where')}"
        two = f"SELECT 'r' AS who, {self.select(dialect)} FROM r{self.clause(dialect, 'WHERE', 'having')}"
        return f"{one} UNION ALL {two}"

    def output(self):
        return [("who", leaf("string", "who")), *self.parts["columns"]]


def union(random, maker, data):
    trees = [maker.any(1) for _ in range(2)]
    where, having = maker.predicate(2), maker.predicate(1)
    return Union({"columns": [("id", ID), *named(trees)], "where": where, "having": having})


class Partition(Case):
    """Five queries of one predicate: three of rows, the value, and counts by FILTER. `id` tells rows apart."""

    kind = "predicate"

    def queries(self, name):
        text = self.predicate.text("tide")
        columns = {"id": "bigint"}
        asked = [text, f"NOT ({text})", f"({text}) IS NULL"]
        queries = [Query(f"{name}_{which}", f"SELECT id FROM s WHERE {condition}", columns)
                   for which, condition in zip(("yes", "no", "null"), asked)]  # fmt: skip
        value = f"SELECT id, {text} AS p FROM s"
        counts = ", ".join(
            f"COUNT(*) FILTER (WHERE {condition}) AS c{which}" for which, condition in enumerate(asked)
        )
        filtered = (
            f"SELECT {counts} FROM TUMBLE(s, ts, INTERVAL '7 seconds') GROUP BY window_start, window_end"
        )
        return [*queries, Query(f"{name}_filter", filtered, {"c0": "bigint", "c1": "bigint", "c2": "bigint"}),
                Query(f"{name}_value", value, {"id": "bigint", "p": "boolean"})]  # fmt: skip

    def duck_text(self):
        return "nothing: its results are compared with each other"

    def judge(self, results, duck, data):
        wrong = []
        value = {row["id"]: row["p"] for row in results[4]}
        for place, truth in enumerate((True, False, None)):
            rows = results[place]
            got = sorted(row["id"] for row in rows)
            want = sorted(number for number, p in value.items() if p is truth)
            if got != want:
                missing, extra = [i for i in want if i not in got], [i for i in got if i not in want]
                wrong.append(f"of rows where p is {truth} WHERE loses ids {missing} and has too many {extra}")
            counted = sum(row[f"c{place}"] for row in results[3])
            if counted != len(want):
                wrong.append(f"FILTER counts {counted} rows where p is {truth}, of {len(want)}")
        if sorted(value) != sorted(row["id"] for row in data.streams["s"].rows) or len(value) != len(
            results[4]
        ):
            wrong.append("p as a value is not there once for each row")
        return "\n".join(wrong) or None


def partition(random, maker, data):
    return Partition({"predicate": maker.predicate(random.choice([2, 3, 4]))})


class Lookup(Case):
    """A stream with a static table: inner, left, semi and anti."""

    kind = "lookup"

    def sql(self, dialect):
        on = " AND ".join(f"s.{left} = t.{right}" for left, right in self.on)
        columns, where = self.select(dialect), self.parts["where"]
        condition = where.text(dialect) if where is not None else "TRUE"
        if self.join in ("JOIN", "LEFT JOIN"):
            extra = self.clause(dialect, "AND", "extra")
            return f"SELECT {columns} FROM s {self.join} t ON {on}{extra} WHERE {condition}"
        left, right = self.on[0]
        if self.join == "MAX":
            return f"SELECT {columns} FROM s WHERE {condition} AND s.m > (SELECT MAX(v) FROM t)"
        if "OR" in self.join:
            return f"SELECT {columns} FROM s WHERE {condition} {self.join} (SELECT {right} FROM t)".replace(
                "<left>", f"s.{left}"
            )
        if "IN" in self.join:
            return (
                f"SELECT {columns} FROM s WHERE {condition} AND s.{left} {self.join} (SELECT {right} FROM t)"
            )
        extra = self.clause(dialect, "AND", "extra")
        return (
            f"SELECT {columns} FROM s WHERE {condition} AND {self.join} (SELECT 1 FROM t WHERE {on}{extra})"
        )


def lookup(random, maker, data):
    on = random.choice([[("k", "tk")], [("g", "tg")], [("k", "tk"), ("g", "tg")], [("x", "tx")]])
    join = random.choice(
        [
            "JOIN",
            "LEFT JOIN",
            "LEFT JOIN",
            "IN",
            "NOT IN",
            "EXISTS",
            "NOT EXISTS",
            "OR <left> IN",
            "OR <left> NOT IN",
            "MAX",
        ]
    )
    left = type(maker)(random, leaves(data, alias="s"))
    table = [leaf(type, f"t.{name}") for name, type in data.tables["t"].columns.items()]
    trees = [left.any(1)]
    both = type(maker)(random, leaves(data, alias="s") + table)
    if join in ("JOIN", "LEFT JOIN"):
        trees += [random.choice(table), both.any(2)]
    where = (both if join in ("JOIN", "LEFT JOIN") else left).predicate(1) if random.random() < 0.5 else None
    extra = both.predicate(1) if random.random() < 0.3 else None
    columns = [("id", leaf("bigint", "s.id")), *named(trees)]
    return Lookup({"columns": columns, "where": where, "extra": extra}, on=on, join=join)
