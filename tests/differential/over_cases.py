"""OVER: frames by rows and by time, LAG and LEAD, ranks, running totals, deduplication, `keep`.

With a `keep` a key that was silent for longer starts anew. DuckDB is given that as one more key: the number
of the key's silences so far.
"""

from cases import Case, named
from expressions import Maker
from nodes import leaf, node
from rows_cases import ID
from window_cases import key_text, window

KEEPS = {"forever": None, "10s": 10_000, "1m": 60_000, "1h": 3_600_000}


class Over(Case):
    """Result columns say `<over>` where the window stands, before a frame; or `<range>`, if the frame has a
    length in time at both ends. Such a frame says itself what it needs, so `keep` does not cut it.
    """

    kind = "over"

    def sql(self, dialect):
        select = self.select(dialect)
        where = self.clause(dialect, "WHERE", "where")
        keys = [key_text(tree, dialect) for _, tree in self.parts["keys"]]
        order, source = "ts", f"{self.stream}"
        if dialect == "duck":
            source, keys, where = self.islands(keys, where), [f"part{n}" for n in range(len(keys))], ""
        plain = f"PARTITION BY {', '.join(keys)} " if keys else ""
        by = f"PARTITION BY {', '.join([*keys, 'island'])} " if dialect == "duck" else plain
        text = f"SELECT {select} FROM {source}{where}"
        text = text.replace("<over>", f"{by}ORDER BY {order}").replace("<range>", f"{plain}ORDER BY {order}")
        if self.first:
            text += f" QUALIFY ROW_NUMBER() OVER ({by}ORDER BY ts {self.first}) = 1"
        return text

    def islands(self, keys, where):
        silence = KEEPS[self.keep] if keys else None
        shown = "".join(f", {key} AS part{n}" for n, key in enumerate(keys))
        rows = f"SELECT *{shown} FROM {self.stream}{where}"
        if silence is None:
            return f"(SELECT *, 0 AS island FROM ({rows}))"
        by = f"PARTITION BY {', '.join(f'part{n}' for n in range(len(keys)))} ORDER BY ts, id"
        begun = f"SELECT *, CASE WHEN epoch_ms(ts) - lag(epoch_ms(ts)) OVER ({by}) > {silence} THEN 1 ELSE 0 END AS begins FROM ({rows})"
        return f"(SELECT *, sum(begins) OVER ({by} ROWS UNBOUNDED PRECEDING) AS island FROM ({begun}))"

    def options(self):
        # Without a key some functions start anew and others do not.
        return {"keep": self.keep if self.parts["keys"] else "forever"}


def over(random, maker, data):
    few = [column for column in maker.columns if column.tide in ("k", "g", "b", "x", "y")]
    keys = random.sample(few[:3] * 3 + few[3:], random.choice([0, 1, 1, 1, 2]))
    keys = list(dict.fromkeys(keys))
    functions = Functions(random, maker, data.ties)
    trees = [functions.any() for _ in range(random.choice([1, 2, 3]))]
    where = maker.predicate(2) if random.random() < 0.4 else None
    parts = {"columns": [("id", ID), *named(trees, "o")], "keys": named(keys, "k"), "where": where}
    return Over(parts, stream=random.choice(["s", "r"]), keep=random.choice([*KEEPS, "forever"]), first="")


def first_of_key(random, maker, data):
    """Deduplication. Of events of one time DuckDB does not know which stands first."""
    keys = [random.choice([column for column in maker.columns if column.tide in ("k", "g", "x", "y")])]
    way = "ASC" if data.ties else random.choice(["ASC", "DESC"])
    if data.ties:
        return over(random, maker, data)
    where = maker.predicate(1) if random.random() < 0.4 else None
    parts = {"columns": [("id", ID), *named([maker.any(1)])], "keys": named(keys, "k"), "where": where}
    return Over(parts, stream="s", keep=random.choice(list(KEEPS)), first=way)


class Functions:
    """Functions with OVER; where events can have the same time only those that do not tell them apart."""

    def __init__(self, random, maker, ties):
        self.random = random
        self.maker = maker
        self.ties = ties

    def any(self):
        kinds = [self.framed, self.framed, self.framed, self.rank]
        if not self.ties:
            kinds += [self.neighbour, self.neighbour, self.one_of]
        return self.random.choice(kinds)()

    def frame(self, begins_open=True):
        r = self.random
        if self.ties or r.random() < 0.5:
            one, two = sorted(r.choice([0, 500, 1000, 3000, 20_000, 600_000]) for _ in range(2))
            near, far = f"INTERVAL '{one} milliseconds'", f"INTERVAL '{two} milliseconds'"
            ends = [f"{far} PRECEDING AND CURRENT ROW", f"{far} PRECEDING AND {near} PRECEDING", f"{far} PRECEDING AND {near} FOLLOWING",
                    f"CURRENT ROW AND {far} FOLLOWING", f"{near} FOLLOWING AND {far} FOLLOWING", "CURRENT ROW AND CURRENT ROW"]  # fmt: skip
            word = "RANGE"
        else:
            near, far = sorted(r.choice([0, 1, 2, 3, 10]) for _ in range(2))
            ends = [f"{far} PRECEDING AND CURRENT ROW", f"{far} PRECEDING AND {near} PRECEDING", f"{far} PRECEDING AND {near} FOLLOWING",
                    f"CURRENT ROW AND {far} FOLLOWING", f"{near} FOLLOWING AND {far} FOLLOWING"]  # fmt: skip
            word = "ROWS"
        if begins_open:
            ends += ["UNBOUNDED PRECEDING AND CURRENT ROW"] * 2
        end = r.choice(ends)
        over = "<range>" if word == "RANGE" and not end.startswith("UNBOUNDED") else "<over>"
        return f"{over} {word} BETWEEN {end}"

    def framed(self):
        """An aggregate; it may have a FILTER."""
        r, maker = self.random, self.maker
        kind = r.randrange(11)
        type, around, exact, args = "bigint", "{}", True, ()
        if kind == 0:
            call = "COUNT(*)"
        elif kind == 1:
            call, args = "COUNT({0})", (maker.any(1),)
        elif kind == 2:
            call, args, around = (
                "SUM({0})",
                (maker.make(r.choice(["bigint", "int", "tame"]), 1),),
                "wrap64({})",
            )
        elif kind == 3:
            type, call, args = "double", "SUM({0})", (maker.make("double_tame", 0),)
        elif kind == 4:
            type, call, args, exact = (
                "double",
                "AVG({0})",
                (maker.make(r.choice(["double_tame", "tame"]), 0),),
                False,
            )
        elif kind == 5:
            type = r.choice(["int", "bigint", "double", "string", "timestamp", "date", "decimal(10,2)"])
            call, args = r.choice(["MIN({0})", "MAX({0})"]), (maker.make(type, 1),)
        elif kind == 6:
            type, call, args = "boolean", r.choice(["BOOL_AND({0})", "BOOL_OR({0})"]), (maker.predicate(1),)
        elif kind == 7:
            type, call, args, exact = (
                "double",
                r.choice(["STDDEV({0})", "VAR_POP({0})", "MEDIAN({0})"]),
                (maker.make("double_tame", 0),),
                False,
            )
        elif kind == 8:
            call, args = "COUNT(DISTINCT {0})", (maker.any(1),)
        elif kind == 9 and not self.ties:
            type, call, args = "list:bigint", "ARRAY_AGG({0})", (maker.make("bigint", 1),)
        else:
            type, call, args = "decimal(20,2)", "SUM({0})", (maker.make("decimal(10,2)", 1),)
        if r.random() < 0.3:
            call += " FILTER (WHERE {%d})" % len(args)
            args += (maker.predicate(1),)
        call += f" OVER ({self.frame() if r.random() < 0.85 else '<over>'})"
        return node(type, call, *args, duck=around.replace("{}", call), exact=exact)

    def rank(self):
        word = self.random.choice(["RANK", "DENSE_RANK"] + ([] if self.ties else ["ROW_NUMBER"]))
        return node("bigint", f"CAST({word}() OVER (<over>) AS BIGINT)")

    def neighbour(self):
        type = self.random.choice(["bigint", "string", "double", "boolean", "timestamp", "decimal(10,2)"])
        one = self.maker.make(type, 1)
        step = self.random.choice([1, 1, 2, 5])
        if self.random.random() < 0.3:
            return node(
                type,
                f"LAG({{0}}, {step}) IGNORE NULLS OVER (<over>)",
                one,
                duck=f"LAG({{0}}, {step} IGNORE NULLS) OVER (<over>)",
            )
        word = self.random.choice(["LAG", "LEAD"])
        if self.random.random() < 0.3:
            return node(type, f"{word}({{0}}, {step}, {{1}}) OVER (<over>)", one, self.maker.literal(type))
        return node(type, f"{word}({{0}}, {step}) OVER (<over>)", one)

    def one_of(self):
        type = self.random.choice(["bigint", "string", "double", "timestamp"])
        word = self.random.choice(["FIRST_VALUE({0}%s)", "LAST_VALUE({0}%s)", "NTH_VALUE({0}, 2%s)"])
        nulls = self.random.random() < 0.3
        behind = f" OVER ({self.frame()})"
        tide = word % "" + (" IGNORE NULLS" if nulls else "") + behind
        return node(
            type, tide, self.maker.make(type, 1), duck=word % (" IGNORE NULLS" if nulls else "") + behind
        )


class OverResults(Case):
    """OVER on the windows of an aggregate, by `window_end`."""

    kind = "over results"

    def sql(self, dialect):
        key = key_text(self.parts["keys"][0][1], dialect)
        source = self.window.tide("s") if dialect == "tide" else self.window.duck("s")
        inner = (f"SELECT {key} AS k0, window_start, window_end, COUNT(*) AS n, MAX(m) AS most FROM {source}"
                 f"{self.clause(dialect, 'WHERE', 'where')} GROUP BY {key}, window_start, window_end")  # fmt: skip
        over = "PARTITION BY k0 ORDER BY window_end"
        return f"SELECT {self.select(dialect)} FROM ({inner}) h".replace("<over>", over).replace(
            "<range>", over
        )

    def options(self):
        return {"keep": "forever"}


def over_results(random, maker, data):
    key = random.choice([column for column in maker.columns if column.tide in ("k", "g", "b")])
    shown = [
        leaf(key.type, "k0"),
        leaf("timestamp", "window_end"),
        leaf("bigint", "n"),
        leaf("bigint", "most"),
    ]
    functions = Functions(random, Maker(random, shown), ties=False)
    trees = shown + [functions.any() for _ in range(random.choice([1, 2]))]
    where = maker.predicate(1) if random.random() < 0.3 else None
    parts = {"columns": named(trees), "keys": [("k0", key)], "where": where}
    return OverResults(parts, window=window(random, ("TUMBLE",)))
