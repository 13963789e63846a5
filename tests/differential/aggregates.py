"""Random aggregate functions over a stream's columns, with FILTER, DISTINCT and ORDER BY.

A value that depends on the order of rows is asked for with an ORDER BY that ends in `id`; without one only
where no two events have the same time, since the program then has them in the order of time.
"""

from nodes import has_column, node


class Aggregates:
    def __init__(self, random, maker, ties):
        self.random = random
        self.maker = maker
        self.ties = ties

    def any(self):
        kinds = [self.count, self.total, self.total, self.extreme, self.extreme, self.mean, self.spread, self.two_columns,
                 self.distinct, self.logic, self.bits, self.one_of, self.listed, self.texts, self.middle]  # fmt: skip
        return self.random.choice(kinds)()

    def plain(self):
        """One whose value expressions go on with."""
        return self.random.choice([self.count, self.total, self.extreme, self.logic])()

    def ordered_by(self):
        return self.random.choice([self.count, self.whole_total, self.count])()

    def call(self, type, call, *args, duck=None, around="{}", exact=True, off=1e-9):
        """`around`: what DuckDB does with the aggregate's value. FILTER stands behind the call itself."""
        duck = call if duck is None else duck
        behind = ""
        if self.random.random() < 0.3:
            behind = " FILTER (WHERE {%d})" % len(args)
            args += (self.maker.predicate(1),)
        return node(
            type, call + behind, *args, duck=around.replace("{}", duck + behind), exact=exact, off=off
        )

    def count(self):
        if self.random.random() < 0.5:
            return self.call("bigint", "COUNT(*)")
        return self.call("bigint", "COUNT({0})", self.maker.any(1))

    def whole_total(self):
        return self.call("bigint", "SUM({0})", self.maker.make(self.random.choice(["int", "bigint", "tame"]), 1),
                         around="wrap64({})")  # fmt: skip

    def total(self):
        kind = self.random.randrange(3)
        word = self.random.choice(["SUM({0})", "SUM({0})", "SUM(DISTINCT {0})"])
        if kind == 0:
            return self.call("bigint", word, self.maker.make(self.random.choice(["int", "bigint", "tame"]), 1),
                             around="wrap64({})")  # fmt: skip
        if kind == 1:
            return self.call("decimal(20,2)", word, self.maker.make("decimal(10,2)", 1))
        return self.call("double", word, self.maker.make("double_tame", 0))

    def extreme(self):
        type = self.random.choice(
            [
                "int",
                "bigint",
                "double",
                "float",
                "string",
                "timestamp",
                "date",
                "decimal(10,2)",
                "decimal(38,10)",
            ]
        )
        return self.call(type, self.random.choice(["MIN", "MAX"]) + "({0})", self.maker.make(type, 1))

    def mean(self):
        type = self.random.choice(["tame", "double_tame"])
        return self.call("double", "AVG({0})", self.maker.make(type, 0), exact=False)

    def spread(self):
        word = self.random.choice(["STDDEV", "STDDEV_POP", "VAR_SAMP", "VAR_POP"])
        return self.call("double", word + "({0})", self.maker.make("double_tame", 0), exact=False)

    def two_columns(self):
        word = self.random.choice(["COVAR_SAMP", "COVAR_POP", "CORR", "REGR_SLOPE", "REGR_INTERCEPT", "REGR_COUNT", "REGR_R2",
                                   "REGR_AVGX", "REGR_SXX", "REGR_SXY"])  # fmt: skip
        one, two = (
            self.maker.make("double_tame", 0),
            node("double", "CAST({0} AS DOUBLE)", self.maker.make("tame", 0)),
        )
        # Of a column without variance nothing correlates: null here, NaN in DuckDB.
        return self.call("double", word + "({0}, {1})", one, two, around="nan_null({})", exact=False)

    def distinct(self):
        return self.call("bigint", "COUNT(DISTINCT {0})", self.maker.any(1))

    def logic(self):
        return self.call(
            "boolean", self.random.choice(["BOOL_AND", "BOOL_OR"]) + "({0})", self.maker.predicate(1)
        )

    def bits(self):
        return self.call(
            "bigint",
            self.random.choice(["BIT_AND", "BIT_OR", "BIT_XOR"]) + "({0})",
            self.maker.make("bigint", 1),
        )

    def order(self):
        """An ORDER BY that leaves no ties."""
        by = self.maker.make(self.random.choice(["bigint", "string", "timestamp", "double", "tame"]), 1)
        by = by if has_column(by) else self.maker.column("bigint")
        way = self.random.choice(["ASC NULLS FIRST", "DESC NULLS LAST", "DESC NULLS FIRST", "ASC NULLS LAST"])
        return by, f"ORDER BY {{1}} {way}, id {self.random.choice(['ASC', 'DESC'])}"

    def without_order(self):
        return not self.ties and self.random.random() < 0.4

    def one_of(self):
        type = self.random.choice(["bigint", "string", "double", "boolean", "timestamp"])
        word, duck = self.random.choice([("FIRST_VALUE", "first"), ("LAST_VALUE", "last")])
        one = self.maker.make(type, 1)
        if self.without_order():
            return self.call(type, word + "({0})", one, duck=duck + "({0} ORDER BY ts, id)")
        by, order = self.order()
        if self.random.random() < 0.25:
            return self.call(
                type, f"NTH_VALUE({{0}}, 2 {order})", one, by, duck=f"list({{0}} {order})", around="({})[2]"
            )
        return self.call(type, f"{word}({{0}} {order})", one, by, duck=f"{duck}({{0}} {order})")

    def listed(self):
        type = self.random.choice(["bigint", "string", "double", "date"])
        one = self.maker.make(type, 1)
        if self.without_order():
            return self.call(f"list:{type}", "ARRAY_AGG({0})", one, duck="list({0} ORDER BY ts, id)")
        by, order = self.order()
        return self.call(f"list:{type}", f"ARRAY_AGG({{0}} {order})", one, by, duck=f"list({{0}} {order})")

    def texts(self):
        one = self.maker.make("string", 1)
        if self.without_order():
            return self.call(
                "string", "STRING_AGG({0}, ',')", one, duck="string_agg({0}, ',' ORDER BY ts, id)"
            )
        by, order = self.order()
        return self.call("string", f"STRING_AGG({{0}}, ',' {order})", one, by)

    def middle(self):
        if self.random.random() < 0.5:
            return self.call("double", "MEDIAN({0})", self.maker.make("double_tame", 0), exact=False)
        # Up to a millionth of the difference between two values, which are below 1000.
        part = self.random.choice(["0.25", "0.5", "0.9", "0.99"])
        return self.call("double", f"PERCENTILE_CONT({part}) WITHIN GROUP (ORDER BY {{0}})", self.maker.make("double_tame", 0),
                         duck=f"quantile_cont({{0}}, {part})", exact=False, off=2e-3)  # fmt: skip
