"""Aggregates over windows: TUMBLE, HOP, CUMULATE and SESSION, with keys, FILTER, DISTINCT, ORDER BY, HAVING,
grouping sets, the top n of each window, and SELECT DISTINCT.
"""

import dataclasses

from aggregates import Aggregates
from cases import Case, named
from expressions import Maker
from nodes import has_column, leaf, node

WINDOW = [("ws", leaf("timestamp", "window_start")), ("we", leaf("timestamp", "window_end"))]


@dataclasses.dataclass(frozen=True)
class Window:
    """Sizes are in milliseconds. `step` is the slide of HOP and the step of CUMULATE."""

    kind: str
    size: int
    step: int = 0
    offset: int = 0

    def tide(self, stream):
        def interval(ms):
            return f"INTERVAL '{ms} milliseconds'"

        sizes = {
            "TUMBLE": [self.size], "HOP": [self.step, self.size], "CUMULATE": [self.step, self.size],
            "SESSION": [self.size],
        }[self.kind]  # fmt: skip
        sizes = [interval(size) for size in sizes] + ([interval(self.offset)] if self.offset else [])
        if self.kind == "SESSION" and not self.size:
            sizes = ["gap"]
        return f"{self.kind}({stream}, ts, {', '.join(sizes)})"

    def duck(self, stream, keys=(), where=None):
        """A table of the stream's rows, one for each window that a row is in."""
        if self.kind == "SESSION":
            return self.sessions(stream, keys, where)
        ms, size, step, moved = "epoch_ms(ts)", self.size, self.step, self.offset
        start, end = {
            "TUMBLE": (f"floor_to({ms}, {size}, {moved})", f"floor_to({ms}, {size}, {moved}) + {size}"),
            "HOP": (f"unnest(range(floor_to({ms}, {step}, {moved}), {ms} - {size}, -{step}))", f"start_ms + {size}"),
            "CUMULATE": (
                f"floor_to({ms}, {size}, {moved})",
                f"unnest(range(floor_to({ms}, {step}, {moved}) + {step}, floor_to({ms}, {size}, {moved}) + {size} + 1, {step}))",
            ),
        }[self.kind]  # fmt: skip
        inner = f"SELECT *, {start} AS start_ms FROM {stream}"
        outer = f"SELECT *, {end} AS end_ms FROM ({inner})"
        return (
            f"(SELECT *, epoch_ms(start_ms) AS window_start, epoch_ms(end_ms) AS window_end FROM ({outer}))"
        )

    def sessions(self, stream, keys, where):
        """An event begins a session when it is behind the reach of all of its key before it."""
        reach = f"epoch_ms(ts) + {self.size}" if self.size else "epoch_ms(ts) + gap"
        named_keys = "".join(f", {key} AS part{place}" for place, key in enumerate(keys))
        parts = "".join(f"part{place}, " for place in range(len(keys)))
        by = f"PARTITION BY {parts}1"
        rows = f"SELECT *, {reach} AS reach{named_keys} FROM {stream}{f' WHERE {where}' if where else ''}"
        before = f"max(reach) OVER ({by} ORDER BY ts, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        begun = f"SELECT *, CASE WHEN epoch_ms(ts) <= {before} THEN 0 ELSE 1 END AS begins FROM ({rows})"
        islands = f"SELECT *, sum(begins) OVER ({by} ORDER BY ts, id ROWS UNBOUNDED PRECEDING) AS island FROM ({begun})"
        by = f"PARTITION BY {parts}island"
        return (f"(SELECT *, min(ts) OVER ({by}) AS window_start, epoch_ms(max(reach) OVER ({by})) AS window_end"
                f" FROM ({islands}))")  # fmt: skip


def window(random, kinds=("TUMBLE", "TUMBLE", "HOP", "CUMULATE", "SESSION")):
    kind = random.choice(kinds)
    if kind == "SESSION":
        return Window(kind, random.choice([0, 500, 1000, 2000, 7000, 30_000]))
    step = random.choice([1000, 2500, 10_000, 60_000])
    offset = random.choice([0, 0, 0, 300, -1000])
    if kind == "TUMBLE":
        return Window(kind, step, 0, offset)
    if kind == "CUMULATE":
        return Window(kind, step * random.choice([2, 5]), step, offset)
    return Window(kind, random.choice([step * 2, step * 3 + 500, step // 2]), step, offset)


def key_text(tree, dialect):
    """As GROUP BY has it; DuckDB shows a key's -0.0 as one of its rows has it."""
    text = tree.text(dialect)
    return f"one_zero({text})" if dialect == "duck" and tree.type in ("double", "float") else text


class Windowed(Case):
    """`sets`: how the keys are grouped: "" (by all of them), ROLLUP, CUBE or SETS."""

    kind = "windows"

    def sql(self, dialect):
        select = ", ".join(f"{self.shown(tree, alias, dialect)} AS {alias}" for alias, tree in self.output())
        where = self.clause(dialect, "WHERE", "where")
        having = self.clause(dialect, "HAVING", "having")
        return f"SELECT {select} FROM {self.source(dialect)}{where} GROUP BY {self.grouping(dialect)}{having}{self.top(dialect)}"

    def shown(self, tree, alias, dialect):
        return key_text(tree, dialect) if (alias, tree) in self.parts["keys"] else tree.text(dialect)

    def source(self, dialect):
        if dialect == "tide":
            return self.window.tide(self.stream)
        where = self.parts["where"]
        keys = [key_text(tree, "duck") for _, tree in self.parts["keys"]]
        return self.window.duck(self.stream, keys, where.text("duck") if where is not None else None)

    def grouping(self, dialect):
        keys = [key_text(tree, dialect) for _, tree in self.parts["keys"]]
        start = ["window_start", "window_end"]
        if not keys or not self.sets:
            return ", ".join(start + keys)
        listed = ", ".join(keys)
        sets = {"ROLLUP": f"ROLLUP ({listed})", "CUBE": f"CUBE ({listed})",
                "SETS": f"GROUPING SETS (({listed}), ({keys[0]}), ())"}[self.sets]  # fmt: skip
        return ", ".join(start + [sets])

    def top(self, dialect):
        """The best n of each window, by an aggregate and then by the keys."""
        if not self.best:
            return ""
        first = self.parts["columns"][0][1].text(dialect)
        order = [f"{first} {self.best[1]} NULLS LAST"]
        order += [f"{key_text(tree, dialect)} ASC NULLS FIRST" for _, tree in self.parts["keys"]]
        by = f"PARTITION BY window_start, window_end ORDER BY {', '.join(order)}"
        if dialect == "tide" and self.best[2] == "LIMIT":
            return f" ORDER BY {', '.join(order)} LIMIT {self.best[0]}"
        return f" QUALIFY ROW_NUMBER() OVER ({by}) <= {self.best[0]}"

    def output(self):
        return [*WINDOW, *self.parts["keys"], *self.parts["columns"]]


def windowed(random, maker, data):
    chosen = window(random)
    stream = random.choice(["s", "r"])
    keys = [key(random, maker) for _ in range(random.choice([0, 1, 1, 2]))]
    # Sessions are those of each set's own keys: see differences.md.
    grouped = keys and chosen.kind != "SESSION" and random.random() < 0.3
    sets = random.choice(["ROLLUP", "CUBE", "SETS"]) if grouped else ""
    best = None
    if keys and not sets and random.random() < 0.25:
        words = ["QUALIFY"] if chosen.kind == "SESSION" else ["QUALIFY", "LIMIT"]
        best = (random.choice([1, 2, 3]), random.choice(["ASC", "DESC"]), random.choice(words))
        if chosen.kind == "SESSION":
            best = None
    aggregates = Aggregates(random, maker, data.ties)
    trees = [aggregates.any() for _ in range(random.choice([1, 2, 4, 6]))]
    if best:
        trees[0] = aggregates.ordered_by()
    having = None
    if random.random() < 0.3:
        having = Maker(random, [aggregates.plain() for _ in range(3)]).predicate(1)
    where = maker.predicate(2) if random.random() < 0.5 else None
    if random.random() < 0.3 and not best:
        summed = [tree for tree in trees if tree.exact]
        if summed:
            trees.append(Maker(random, summed + [aggregates.plain()]).any(2))
    if sets and random.random() < 0.6:
        text = "CAST(GROUPING({0}) AS BIGINT)"
        trees.append(
            node(
                "bigint",
                text,
                keys[0],
                duck=text.format("one_zero({0})") if keys[0].type in ("double", "float") else None,
            )
        )
    parts = {"columns": named(trees, "a"), "keys": named(keys, "k"), "where": where, "having": having}
    return Windowed(parts, window=chosen, stream=stream, sets=sets, best=best)


def key(random, maker):
    """A column with few values, mostly, or an expression over them."""
    few = [column for column in maker.columns if column.tide in ("k", "g", "b")]
    some = [column for column in maker.columns if column.tide in ("x", "y", "f", "d", "dt", "txt", "m")]
    if random.random() < 0.65:
        return random.choice(few)
    if random.random() < 0.6:
        return random.choice(some)
    made = Maker(random, few + some).make(random.choice(["string", "boolean", "bigint"]), 2)
    return made if has_column(made) else random.choice(few)


class Distinct(Case):
    kind = "distinct"

    def sql(self, dialect):
        shown = ", ".join(f"{key_text(tree, dialect)} AS {alias}" for alias, tree in self.parts["columns"])
        source = self.window.tide(self.stream) if dialect == "tide" else self.window.duck(self.stream)
        return f"SELECT DISTINCT window_start AS ws, window_end AS we, {shown} FROM {source}{self.clause(dialect, 'WHERE', 'where')}"

    def output(self):
        return [*WINDOW, *self.parts["columns"]]


def distinct(random, maker, data):
    keys = [key(random, maker) for _ in range(random.choice([1, 2]))]
    where = maker.predicate(1) if random.random() < 0.5 else None
    return Distinct({"columns": named(keys, "k"), "where": where}, stream="s",
                    window=window(random, ("TUMBLE", "HOP", "CUMULATE")))  # fmt: skip


class Best(Case):
    """The best n rows of each window and key."""

    kind = "top n of rows"

    def sql(self, dialect):
        source = self.window.tide("s") if dialect == "tide" else self.window.duck("s")
        keys = "".join(f", {key_text(tree, dialect)}" for _, tree in self.parts["keys"])
        order = f"{self.parts['order'].text(dialect)} {self.way}, id"
        over = f"OVER (PARTITION BY window_start, window_end{keys} ORDER BY {order})"
        text = f"SELECT window_start AS ws, window_end AS we, id, {self.select(dialect)} FROM {source}"
        return f"{text}{self.clause(dialect, 'WHERE', 'where')} QUALIFY {self.word}() {over} <= {self.most}"

    def output(self):
        return [*WINDOW, ("id", leaf("bigint", "id")), *self.parts["columns"]]


def best(random, maker, data):
    keys = [key(random, maker) for _ in range(random.choice([0, 1, 1]))]
    order = maker.make(random.choice(["bigint", "double", "string", "timestamp", "decimal(10,2)", "tame"]), 1)
    order = order if has_column(order) else leaf("bigint", "m")
    where = maker.predicate(1) if random.random() < 0.4 else None
    way = random.choice(["ASC NULLS FIRST", "DESC NULLS LAST", "ASC NULLS LAST", "DESC NULLS FIRST"])
    return Best({"columns": named([maker.any(1)]), "keys": named(keys, "k"), "order": order, "where": where}, way=way,
                word=random.choice(["ROW_NUMBER", "ROW_NUMBER", "RANK"]), most=random.choice([1, 2, 3]),
                window=window(random, ("TUMBLE", "TUMBLE", "HOP", "CUMULATE")))  # fmt: skip


class Below(Case):
    """An aggregate over windows of a stream with a static table, or of two streams united."""

    kind = "joined or united below windows"

    def sql(self, dialect):
        window = getattr(self.window, dialect)
        where = self.clause(dialect, "WHERE", "where")
        if self.join == "UNION":
            columns = ", ".join(["window_start", "window_end", "ts", "id", *self.needed])
            rows = " UNION ALL ".join(
                f"SELECT {columns} FROM {window(stream)}{where}" for stream in ("s", "r")
            )
            source, where = f"({rows}) u", ""
        else:
            on = " AND ".join(f"{left} = {right}" for left, right in self.on)
            source = f"{window('s')} {self.join} t ON {on}"
        shown = ", ".join(f"{key_text(tree, dialect)} AS {alias}" for alias, tree in self.parts["keys"])
        keys = "".join(f", {key_text(tree, dialect)}" for _, tree in self.parts["keys"])
        comma = ", " if shown else ""
        return (f"SELECT window_start AS ws, window_end AS we{comma}{shown}, {self.select(dialect)} FROM {source}{where}"
                f" GROUP BY window_start, window_end{keys}")  # fmt: skip

    def output(self):
        return [*WINDOW, *self.parts["keys"], *self.parts["columns"]]


def below(random, maker, data):
    join = random.choice(["JOIN", "LEFT JOIN", "UNION", "UNION"])
    on = random.choice([[("k", "tk")], [("g", "tg")], [("k", "tk"), ("g", "tg")]])
    table = [leaf(type, name) for name, type in data.tables["t"].columns.items()]
    columns = maker.columns if join == "UNION" else maker.columns + table
    both = Maker(random, [column for column in columns if column.tide != "ts" or join != "UNION"])
    chosen = window(random, ("TUMBLE", "HOP", "CUMULATE"))
    # Of equal rows and of rows of two streams nothing says which stands first.
    aggregates = Aggregates(random, both, ties=True)
    trees = [
        random.choice([aggregates.plain, aggregates.total, aggregates.distinct])()
        for _ in range(random.choice([1, 3]))
    ]
    keys = [random.choice(table)] if join != "UNION" else [key(random, maker)]
    where = both.predicate(1) if random.random() < 0.4 else None
    needed = [column.tide for column in maker.columns if column.tide not in ("ts", "id")]
    return Below({"columns": named(trees, "a"), "keys": named(keys, "k"), "where": where}, window=chosen, join=join,
                 on=on, needed=needed)  # fmt: skip
