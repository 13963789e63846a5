"""Windows of so many rows (TUMBLE_ROWS, HOP_ROWS), and any OVER within closed windows."""

from aggregates import Aggregates
from cases import Case, named
from nodes import has_column, leaf, node
from window_cases import WINDOW, key, key_text, window


class Counted(Case):
    """DuckDB numbers a key's rows, and each row is in the windows that begin at every `step`-th row before it."""

    kind = "count windows"

    def sql(self, dialect):
        keys = [key_text(tree, dialect) for _, tree in self.parts["keys"]]
        where = self.clause(dialect, "WHERE", "where")
        comma = "".join(f", {text}" for text in keys)
        shown = "".join(f", {text} AS {alias}" for text, (alias, _) in zip(keys, self.parts["keys"]))
        select = f"SELECT window_start AS ws, window_end AS we{shown}, {self.select(dialect)}"
        if dialect == "tide":
            call = f"TUMBLE_ROWS({self.stream}, ts, {self.rows})" if self.step == self.rows else \
                f"HOP_ROWS({self.stream}, ts, {self.step}, {self.rows})"  # fmt: skip
            return f"{select} FROM {call}{where} GROUP BY window_start, window_end{comma}"
        by = "".join(f", {text} AS part{place}" for place, text in enumerate(keys))
        parts = ", ".join(["1", *(f"part{place}" for place in range(len(keys)))])
        rows = f"SELECT *{by} FROM {self.stream}{where}"
        numbered = (
            f"SELECT *, row_number() OVER (PARTITION BY {parts} ORDER BY ts) - 1 AS place FROM ({rows})"
        )
        first = f"greatest(0, (place - {self.rows} + {self.step}) // {self.step})"
        windows = f"SELECT *, unnest(range({first}, place // {self.step} + 1)) AS number FROM ({numbered})"
        within = f"PARTITION BY {parts}, number"
        ends = (f"SELECT *, min(ts) OVER ({within}) AS window_start, max(ts) OVER ({within}) AS window_end,"
                f" count(*) OVER ({within}) AS there FROM ({windows}) WHERE place < number * {self.step} + {self.rows}")  # fmt: skip
        full = "" if self.incomplete == "emit" else f" WHERE there = {self.rows}"
        return f"{select} FROM ({ends}){full} GROUP BY number, window_start, window_end{comma}"

    def options(self):
        return {"keep": "forever", "incomplete": self.incomplete}

    def output(self):
        return [*WINDOW, *self.parts["keys"], *self.parts["columns"]]


def counted(random, maker, data):
    """Which rows are together depends on the order of those of one time, which DuckDB does not know."""
    if data.ties:
        return within(random, maker, data)
    step = random.choice([1, 2, 3])
    rows = random.choice([step, step, step + 1, step * 3])
    aggregates = Aggregates(random, maker, data.ties)
    trees = [aggregates.any() for _ in range(random.choice([1, 2]))]
    keys = [key(random, maker) for _ in range(random.choice([0, 1, 1]))]
    where = maker.predicate(1) if random.random() < 0.4 else None
    return Counted({"columns": named(trees, "a"), "keys": named(keys, "k"), "where": where}, stream=random.choice(["s", "r"]),
                   step=step, rows=rows, incomplete=random.choice(["drop", "emit"]))  # fmt: skip


class Within(Case):
    """A closed window is a small table: any frame and any function of it works."""

    kind = "over within windows"

    def sql(self, dialect):
        source = self.window.tide("s") if dialect == "tide" else self.window.duck("s")
        keys = "".join(f", {key_text(tree, dialect)}" for _, tree in self.parts["keys"])
        order = f"{self.parts['order'].text(dialect)} {self.way}, id"
        over = f"PARTITION BY window_start, window_end{keys} ORDER BY {order}"
        text = f"SELECT window_start AS ws, window_end AS we, id, {self.select(dialect)} FROM {source}"
        return f"{text}{self.clause(dialect, 'WHERE', 'where')}".replace("<over>", over)

    def output(self):
        return [*WINDOW, ("id", leaf("bigint", "id")), *self.parts["columns"]]


def within(random, maker, data):
    keys = [key(random, maker) for _ in range(random.choice([0, 1]))]
    order = maker.make(random.choice(["bigint", "double", "string", "timestamp", "tame"]), 1)
    order = order if has_column(order) else leaf("bigint", "m")
    where = maker.predicate(1) if random.random() < 0.3 else None
    trees = [function(random, maker) for _ in range(random.choice([1, 2]))]
    way = random.choice(["ASC NULLS FIRST", "DESC NULLS LAST", "ASC NULLS LAST", "DESC NULLS FIRST"])
    return Within({"columns": named(trees, "o"), "keys": named(keys, "k"), "order": order, "where": where}, way=way,
                  window=window(random, ("TUMBLE", "TUMBLE", "HOP", "CUMULATE")))  # fmt: skip


def function(random, maker):
    kind = random.randrange(5)
    if kind == 0:
        word = random.choice(["ROW_NUMBER()", "RANK()", "DENSE_RANK()", "NTILE(3)"])
        return node("bigint", f"CAST({word} OVER (<over>) AS BIGINT)")
    if kind == 1:
        return node(
            "double", random.choice(["PERCENT_RANK()", "CUME_DIST()"]) + " OVER (<over>)", exact=False
        )
    type = random.choice(["bigint", "string", "double", "timestamp"])
    if kind == 2:
        return node(
            type,
            random.choice(["LAG({0})", "LEAD({0})", "LEAD({0}, 2)", "LAG({0}, 2)"]) + " OVER (<over>)",
            maker.make(type, 1),
        )
    frame = "ROWS BETWEEN " + random.choice([
        "UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING", "1 PRECEDING AND 1 FOLLOWING", "UNBOUNDED PRECEDING AND CURRENT ROW",
        "CURRENT ROW AND UNBOUNDED FOLLOWING", "3 PRECEDING AND 1 PRECEDING", "1 FOLLOWING AND 2 FOLLOWING"])  # fmt: skip
    if kind == 3:
        word = random.choice(
            ["FIRST_VALUE({0})", "LAST_VALUE({0})", "NTH_VALUE({0}, 2)", "MIN({0})", "MAX({0})"]
        )
        return node(type, f"{word} OVER (<over> {frame})", maker.make(type, 1))
    call, type, around = random.choice(
        [
            ("SUM({0})", "tame", "wrap64({})"),
            ("COUNT({0})", "string", "{}"),
            ("SUM({0})", "double_tame", "{}"),
        ]
    )
    text = f"{call} OVER (<over> {frame})"
    result = "double" if type == "double_tame" else "bigint"
    return node(result, text, maker.make(type, 0), duck=around.replace("{}", text))
