"""`/` and AVG of decimals, in Python's exact fractions: DuckDB divides decimals as doubles.

The rule (docs/sql.md): a quotient or a mean is rounded half away from zero, at a scale of the argument's + 4,
less as many digits as its whole part needs of the 38.
"""

from decimal import Decimal
from fractions import Fraction

from cases import Case, named
from nodes import leaf, node
from rows_cases import ID
from window_cases import WINDOW, Window

DIGITS = 38


def scale(precision, scale_of, divisor_scale=0):
    """Of the quotient of a decimal(precision, scale_of); a mean's divisor has no scale."""
    whole = precision - scale_of + divisor_scale
    return max(0, min(scale_of + 4, DIGITS - whole))


def rounded(fraction, digits):
    """Half away from zero."""
    scaled = abs(fraction) * 10**digits
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    sign = 1 if fraction < 0 and whole else 0
    return Decimal((sign, tuple(map(int, str(whole))), -digits))


def wrong_rows(expected, got, names):
    """What of the values or their scales is not as expected, by the first of `names` as the row's key."""
    lines, found = [], {row[names[0]]: row for row in got}
    if len(found) != len(got) or found.keys() != expected.keys():
        return f"{len(got)} rows, expected {len(expected)}"
    for key, row in expected.items():
        for name in names[1:]:
            one, two = row[name], found[key][name]
            if str(one) != str(two):
                lines.append(f"  {names[0]} {key}: {name} is {two}, exactly {one}")
    return "\n".join(lines[:5]) or None


class Quotients(Case):
    """A row's quotients of decimals and whole numbers. A divisor that is zero gives null."""

    kind = "decimal /"

    def sql(self, dialect):
        return f"SELECT id, {self.select('tide')} FROM s"

    def output(self):
        return [("id", ID), *self.parts["columns"]]

    def duck_text(self):
        return "nothing: quotients are computed in exact fractions"

    def judge(self, results, duck, data):
        names = [name for name, _ in self.parts["columns"]]
        expected = {}
        for row in data.streams["s"].rows:
            expected[row["id"]] = {name: quotient(row, tree) for name, tree in self.parts["columns"]}
        return wrong_rows(expected, results[0], ["id", *names])


DECIMALS = {"d": (10, 2), "e": (38, 10)}
# A whole number is a decimal of so many digits: of an INT, of a BIGINT.
WHOLE = {"g": 10, "i": 10, "m": 20, "n": 20}


def quotient(row, tree):
    one, two = (row.get(arg.tide, arg.tide) for arg in tree.args)
    if one is None or two is None or Fraction(two) == 0:
        return None
    name, divisor = (arg.tide for arg in tree.args)
    digits = scale(*DECIMALS[name], DECIMALS[divisor][1] if divisor in DECIMALS else 0)
    return rounded(Fraction(one) / Fraction(two), digits)


def quotients(random, maker, data):
    trees = []
    for _ in range(random.choice([1, 2, 3])):
        one, two = random.choice([("d", "d"), ("d", "e"), ("d", "g"), ("d", "m"), ("d", "n"), ("d", "i"),
                                  ("e", "m"), ("e", "i"), ("d", "3"), ("e", "7")])  # fmt: skip
        columns = {"d": "decimal(10,2)", "e": "decimal(38,10)"}
        left, right = leaf(columns[one], one), leaf("bigint", two)
        divisor = "{1}" if two.isdigit() else "NULLIF({1}, 0)"
        trees.append(node("decimal(38,6)", f"({{0}} / {divisor})", left, right))
    return Quotients({"columns": named(trees)})


class Means(Case):
    """AVG of decimals by key and window."""

    kind = "decimal AVG"

    def sql(self, dialect):
        by = ", window_end" if self.window.kind != "TUMBLE" else ""
        return (f"SELECT window_start AS ws, {self.key} AS k0, {self.select('tide')} FROM {self.window.tide('s')}"
                f" GROUP BY {self.key}, window_start{by}")  # fmt: skip

    def duck_text(self):
        return "nothing: means are computed in exact fractions"

    def output(self):
        return [WINDOW[0], ("k0", leaf("string", self.key)), *self.parts["columns"]]

    def judge(self, results, duck, data):
        groups = {}
        for row in data.streams["s"].rows:
            start = row["ts"] - (row["ts"] - self.window.offset) % self.window.size
            groups.setdefault((start, row[self.key]), []).append(row)
        expected = {
            key: {name: mean(rows, tree) for name, tree in self.parts["columns"]}
            for key, rows in groups.items()
        }
        got = [{**row, "key": (row["ws"], row["k0"])} for row in results[0]]
        return wrong_rows(expected, got, ["key", *(name for name, _ in self.parts["columns"])])


def mean(rows, tree):
    name = tree.args[0].tide
    values = [Fraction(row[name]) for row in rows if row[name] is not None]
    if "DISTINCT" in tree.tide:
        values = list(set(values))
    return rounded(sum(values) / len(values), scale(*DECIMALS[name])) if values else None


def means(random, maker, data):
    trees = [node("decimal(38,6)", random.choice(["AVG({0})", "AVG({0})", "AVG(DISTINCT {0})"]),
                  random.choice([leaf("decimal(10,2)", "d"), leaf("decimal(38,10)", "e")]))
             for _ in range(random.choice([1, 2]))]  # fmt: skip
    window = Window("TUMBLE", random.choice([1000, 7000, 60_000]), 0, random.choice([0, 300]))
    return Means({"columns": named(trees, "a")}, key=random.choice(["k", "g"]), window=window)
