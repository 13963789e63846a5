"""Random expressions of a type over columns, in the program's SQL and in DuckDB's.

Nothing here fails on any row: a division has a divisor that is not zero, a cast of text stands behind its
guard (`guarded`). Where the two dialects have different words or rules for the same value, the second text
says it in DuckDB's; what cannot be said is in differences.md and is not made.

Whole numbers of the program wrap around; `wrap32` and `wrap64` are macros of duck.py. A literal whole
number is a BIGINT in the program.
"""

from nodes import leaf, node, null
from predicates import TYPES, Predicates

# What only the maker asks for: small whole numbers and small doubles, by the names of their columns.
SMALL = {"tame": ("m", "bigint", "3"), "double_tame": ("x", "double", "CAST(2.5 AS DOUBLE)")}


class Maker(Predicates):
    """Makes expressions over `columns`, which are leaves."""

    def __init__(self, random, columns):
        self.random = random
        self.columns = columns
        self.by_type = {}
        for column in columns:
            self.by_type.setdefault(column.type, []).append(column)

    # What any type has.

    def any(self, depth):
        return self.make(self.random.choice(TYPES + ["decimal(10,2)", "boolean", "double"]), depth)

    def make(self, type, depth):
        if type in SMALL:
            return self.small(*SMALL[type])
        if depth <= 0 or self.random.random() < 0.1:
            return self.simple(type)
        if self.random.random() < 0.2:
            return self.conditional(type, depth)
        return self.of_type(type, depth - 1) or self.simple(type)

    def of_type(self, type, depth):
        if type.startswith("decimal"):
            return self.decimal(type, depth)
        choices = getattr(self, type + "s")
        return self.random.choice(choices)(self, depth)

    def simple(self, type):
        columns = self.by_type.get(type)
        if columns and self.random.random() < 0.75:
            return self.random.choice(columns)
        if self.random.random() < 0.1:
            return null(type)
        return self.literal(type)

    def small(self, name, type, instead):
        """A column of small values, by its name; or a literal."""
        found = [column for column in self.by_type.get(type, []) if column.tide.split(".")[-1] == name]
        return self.random.choice(found) if found else leaf(type, instead)

    def column(self, type):
        """A column if there is one: what would fail on a literal is refused when it is planned."""
        columns = self.by_type.get(type)
        return self.random.choice(columns) if columns else self.null_of_column(type)

    def null_of_column(self, type):
        return node(type, "CASE WHEN {0} THEN {1} END", self.simple("boolean"), null(type))

    def literal(self, type):
        r = self.random
        if type == "boolean":
            return leaf(type, r.choice(["TRUE", "FALSE"]))
        if type == "int":
            value = r.choice([0, 1, -1, 2, 7, 2147483647])
            return leaf(type, f"CAST({value} AS INT)")
        if type == "bigint":
            value = r.choice([0, 1, 2, 3, 5, 17, 10**10, 9223372036854775807])
            return leaf(type, f"{value}", f"{value}::BIGINT")
        if type == "double":
            value = r.choice(["0", "-0", "1", "0.5", "-2.25", "'NaN'", "'Infinity'", "1e3"])
            if value == "-0":
                return leaf(type, "CAST('-0.0' AS DOUBLE)")
            return leaf(type, f"CAST({value} AS DOUBLE)")
        if type == "float":
            return leaf(type, f"CAST({r.choice(['0', '1', '0.1', '-2.5'])} AS FLOAT)")
        if type.startswith("decimal"):
            return leaf(type, f"CAST('{r.choice(['0', '1.00', '-2.5', '0.01', '12.34'])}' AS {type.upper()})")
        if type == "string":
            return leaf(type, r.choice(["'a'", "'b'", "''", "'abc'", "'x,y'", "'17'", "'é'", "'O''Brien'"]))
        if type == "timestamp":
            return leaf(type, r.choice(["TIMESTAMP '2013-01-31 12:00:00'", "TIMESTAMP '1969-12-31 23:59:59.999'",
                                        "TIMESTAMP '9999-12-31 00:00:00'", "TIMESTAMP '2024-02-29 00:00:00'"]))  # fmt: skip
        return leaf(
            type,
            r.choice(["DATE '2013-01-31'", "DATE '0001-01-01'", "DATE '9999-12-31'", "DATE '2024-02-29'"]),
        )

    def conditional(self, type, depth):
        r = self.random
        kind = r.randrange(6)
        one, two = self.make(type, depth - 1), self.make(type, depth - 1)
        if kind == 0:
            return node(type, "COALESCE({0}, {1})", one, two)
        if kind == 1 and type != "boolean":
            return node(type, "NULLIF({0}, {1})", one, two)
        if kind == 2 and type != "boolean":
            word = r.choice(["GREATEST", "LEAST"])
            return node(type, word + "({0}, {1})", one, two)
        if kind == 3:
            test = self.make("boolean", depth - 1)
            return node(type, "CASE WHEN {0} THEN {1} END", test, one)
        if kind == 4:
            subject = self.make("bigint", depth - 1)
            number = leaf("bigint", str(r.choice([0, 1, 5])))
            return node(type, "CASE {2} WHEN {3} THEN {0} ELSE {1} END", one, two, subject, number)
        test = self.make("boolean", depth - 1)
        return node(type, "CASE WHEN {0} THEN {1} ELSE {2} END", test, one, two)

    # Numbers.

    def wrapping(self, type, depth):
        word = self.random.choice(["+", "-", "*"])
        bits, wide = ("32", "BIGINT") if type == "int" else ("64", "HUGEINT")
        duck = f"wrap{bits}({{0}}::{wide} {word} {{1}}::{wide})"
        return node(type, "({0} " + word + " {1})", self.make(type, depth), self.make(type, depth), duck=duck)

    def int_sum(self, depth):
        return self.wrapping("int", depth)

    def bigint_sum(self, depth):
        return self.wrapping("bigint", depth)

    def mixed_sum(self, depth):
        word = self.random.choice(["+", "-", "*"])
        duck = f"wrap64({{0}}::HUGEINT {word} {{1}}::HUGEINT)"
        return node(
            "bigint", "({0} " + word + " {1})", self.make("int", depth), self.make("bigint", depth), duck=duck
        )

    def int_cast(self, depth):
        return node("int", "TRY_CAST({0} AS INT)", self.make("bigint", depth))

    def int_of_truth(self, depth):
        return node("int", "CAST({0} AS INT)", self.make("boolean", depth))

    def int_bits(self, depth):
        word = self.random.choice(["&", "|"])
        return node("int", "({0} " + word + " {1})", self.make("int", depth), self.make("int", depth))

    def bigint_bits(self, depth):
        word = self.random.choice(["({0} & {1})", "({0} | {1})"])
        return node("bigint", word, self.make("bigint", depth), self.make("bigint", depth))

    ints = [int_sum, int_cast, int_of_truth, int_bits]

    def quotient(self, depth):
        word, duck = self.random.choice([("/", "//"), ("%", "%")])
        divisor = leaf("bigint", str(self.random.choice([2, 3, 7, 10])))
        return node(
            "bigint",
            "({0} " + word + " {1})",
            self.make("bigint", depth),
            divisor,
            duck="({0} " + duck + " {1})",
        )

    def null_quotient(self, depth):
        word, duck = self.random.choice([("/", "//"), ("%", "%")])
        return node("bigint", "({0} " + word + " NULLIF({1}, 0))", self.make("tame", depth), self.make("tame", depth),
                    duck="({0} " + duck + " NULLIF({1}, 0))")  # fmt: skip

    def widened(self, depth):
        return node("bigint", "CAST({0} AS BIGINT)", self.make("int", depth))

    def length(self, depth):
        word = self.random.choice(["character_length", "length"])
        return node(
            "bigint", "CAST(" + word + "({0}) AS BIGINT)", self.make("string", depth), duck="length({0})"
        )

    def position(self, depth):
        return node(
            "bigint", "CAST(strpos({0}, {1}) AS BIGINT)", self.make("string", depth), self.make("string", 0)
        )

    def part(self, depth):
        unit = self.random.choice(
            ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "doy", "dow"]
        )
        form, duck = self.random.choice([("date_part('%s', {0})", None), ("EXTRACT(%s FROM {0})", None)])
        text = "CAST(" + form % unit + " AS BIGINT)"
        return node("bigint", text, self.make("timestamp", depth), duck=duck)

    def cut_double(self, depth):
        return node(
            "bigint", "CAST({0} AS BIGINT)", self.make("double_tame", 0), duck="CAST(trunc({0}) AS BIGINT)"
        )

    def cut_decimal(self, depth):
        return node(
            "bigint",
            "CAST({0} AS BIGINT)",
            self.make("decimal(10,2)", depth),
            duck="CAST(trunc({0}) AS BIGINT)",
        )

    def parsed(self, depth):
        return node("bigint", "CASE WHEN {0} ~ '^[0-9]{{1,9}}$' THEN CAST({0} AS BIGINT) END", self.column("string"),
                    duck="CASE WHEN regexp_matches({0}, '^[0-9]{{1,9}}$') THEN TRY_CAST({0} AS BIGINT) END")  # fmt: skip

    def tried(self, depth):
        return node("bigint", "TRY_CAST({0} AS BIGINT)", self.simple("string"),
                    duck="CASE WHEN regexp_matches({0}, '^-?[0-9]+$') THEN TRY_CAST({0} AS BIGINT) END")  # fmt: skip

    bigints = [bigint_sum, bigint_sum, mixed_sum, quotient, null_quotient, widened, length, position, part, cut_double,
               cut_decimal, parsed, tried, bigint_bits]  # fmt: skip

    def double_sum(self, depth):
        word = self.random.choice(["+", "-", "*", "/"])
        return node(
            "double", "({0} " + word + " {1})", self.make("double", depth), self.make("double", depth)
        )

    def double_of_number(self, depth):
        type = self.random.choice(["int", "bigint", "decimal(10,2)", "float"])
        return node("double", "CAST({0} AS DOUBLE)", self.make(type, depth))

    def double_and_other(self, depth):
        word = self.random.choice(["+", "-", "*"])
        other = self.make(self.random.choice(["int", "bigint", "decimal(10,2)"]), depth)
        return node("double", "({0} " + word + " {1})", self.make("double", depth), other)

    def double_function(self, depth):
        word = self.random.choice(["abs", "floor", "ceil", "trunc", "round"])
        return node("double", word + "({0})", self.make("double", depth))

    def double_root(self, depth):
        return node("double", "sqrt(abs({0}))", self.make("double", depth))

    def double_minus(self, depth):
        return node("double", "(- {0})", self.make("double", depth))

    def float_sum(self, depth):
        word = self.random.choice(["+", "-", "*", "/"])
        return node("float", "({0} " + word + " {1})", self.make("float", depth), self.make("float", depth))

    def float_of_number(self, depth):
        return node(
            "float",
            "CAST({0} AS FLOAT)",
            self.make(self.random.choice(["int", "bigint", "double_tame"]), depth),
        )

    floats = [float_sum, float_of_number]

    doubles = [
        double_sum,
        double_sum,
        double_of_number,
        double_and_other,
        double_function,
        double_root,
        double_minus,
    ]

    def decimal(self, type, depth):
        """Functions and sums that stay within the type: a sum of all digits would leave DuckDB's 38."""
        kind = self.random.randrange(5)
        one = self.make(type, 0)
        if kind == 0:
            return node(type, "abs({0})", one)
        if kind == 1:
            return node(type, "(- {0})", one)
        if type != "decimal(10,2)":
            return one
        if kind == 2:
            return node(type, "CAST({0} AS DECIMAL(10,2))", self.make("tame", depth))
        if kind == 3:
            return node(type, "CAST(round({0}, 1) AS DECIMAL(10,2))", self.tame_decimal())
        word = self.random.choice(["+", "-"])
        # Of two columns a sum can need an eleventh digit, so one is cut down first.
        return node(
            type, "CAST(({0} " + word + " {1}) AS DECIMAL(10,2))", self.tame_decimal(), self.tame_decimal()
        )

    def tame_decimal(self):
        """Of nine digits, so that a sum of two is of ten."""
        return node(
            "decimal(10,2)", "CASE WHEN abs({0}) < 10000000 THEN {0} END", self.make("decimal(10,2)", 0)
        )

    # Text.

    def cased(self, depth):
        return node("string", self.random.choice(["upper", "lower"]) + "({0})", self.make("string", depth))

    def joined(self, depth):
        word = self.random.choice(["({0} || {1})", "concat({0}, {1})", "concat_ws('-', {0}, {1})"])
        return node("string", word, self.make("string", depth), self.make("string", depth))

    def piece(self, depth):
        start, count = self.random.choice([1, 2, 3]), self.random.choice([0, 1, 2, 5])
        word = self.random.choice([f"substr({{0}}, {start}, {count})", f"substr({{0}}, {start})", f"left({{0}}, {count})",
                                   f"right({{0}}, {count})", f"left({{0}}, -{count})", f"split_part({{0}}, ',', {start})"])  # fmt: skip
        return node("string", word, self.make("string", depth))

    def trimmed(self, depth):
        word = self.random.choice(["trim", "ltrim", "rtrim"])
        return node("string", word + "({0})", self.make("string", depth))

    def replaced(self, depth):
        word, duck = self.random.choice([
            ("replace({0}, 'a', 'bb')", None), ("reverse({0})", None), ("repeat({0}, 2)", None),
            ("lpad({0}, 4, '*')", None), ("rpad({0}, 3, '*')", None), ("translate({0}, 'ab', 'xy')", None),
            ("regexp_replace({0}, '[0-9]+', '#')", None), ("regexp_replace({0}, '[a-c]', '<>', 'g')", None)])  # fmt: skip
        return node("string", word, self.make("string", depth), duck=duck)

    def written(self, depth):
        type = self.random.choice(["int", "bigint", "boolean", "date", "decimal(10,2)"])
        return node("string", "CAST({0} AS VARCHAR)", self.make(type, depth))

    def formatted(self, depth):
        form = self.random.choice(["%Y-%m-%d", "%H:%M:%S", "%Y/%j", "%d.%m.%Y %H"])
        return node(
            "string",
            f"to_char({{0}}, '{form}')",
            self.make("timestamp", depth),
            duck=f"strftime({{0}}, '{form}')",
        )

    strings = [cased, joined, joined, piece, trimmed, replaced, written, formatted]

    # Times.

    def truncated(self, depth):
        unit = self.random.choice(["year", "quarter", "month", "week", "day", "hour", "minute", "second"])
        return node("timestamp", f"date_trunc('{unit}', {{0}})", self.make("timestamp", depth))

    def moved(self, depth):
        much = self.random.choice(
            ["1 day", "90 minutes", "1 month", "13 months", "250 milliseconds", "1 year"]
        )
        word = self.random.choice(["+", "-"])
        return node("timestamp", f"({{0}} {word} INTERVAL '{much}')", self.near_time())

    def near_time(self):
        named = [column for column in self.by_type.get("timestamp", []) if "far" not in column.tide]
        return self.random.choice(named) if named else self.literal_time()

    def literal_time(self):
        return leaf("timestamp", "TIMESTAMP '2024-02-29 00:00:00'")

    def binned(self, depth):
        """Not before year 1: DuckDB's client gives no time there."""
        step = self.random.choice(["15 minutes", "7 seconds", "2 days"])
        origin = self.random.choice(["1970-01-01 00:00:00", "2001-01-01 00:00:01"])
        text = f"CASE WHEN {{0}} >= TIMESTAMP '0002-01-01 00:00:00' THEN %s(INTERVAL '{step}', {{0}}, TIMESTAMP '{origin}') END"
        return node("timestamp", text % "date_bin", self.make("timestamp", depth), duck=text % "time_bucket")

    def time_of_day(self, depth):
        return node("timestamp", "CAST({0} AS TIMESTAMP)", self.make("date", depth))

    timestamps = [truncated, moved, binned, time_of_day]

    def day_of_time(self, depth):
        return node("date", "CAST({0} AS DATE)", self.make("timestamp", depth))

    def made_date(self, depth):
        return node("date", "make_date(2020 + ({0} % 5), 2, 1)", self.make("tame", 0),
                    duck="CASE WHEN {0} IS NOT NULL THEN make_date(2020 + ({0} % 5), 2, 1) END")  # fmt: skip

    dates = [day_of_time, made_date]
