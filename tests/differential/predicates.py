"""Random predicates: comparisons, logic, lists, patterns, and what fails on some rows behind its guard.

A part of the maker of expressions, whose other types they are made of.
"""

from nodes import leaf, node

TYPES = ["boolean", "int", "bigint", "double", "float", "string", "timestamp", "date"]


class Predicates:
    """Needs `random`, `make`, `simple`, `literal`, `column` and `any` of the maker."""

    def predicate(self, depth=3):
        return self.make("boolean", depth)

    def comparable(self, depth):
        """Two expressions that both engines compare in the same type."""
        r = self.random
        mixed = r.random()
        if mixed < 0.2:
            numbers = ["int", "bigint", "double", "decimal(10,2)"]
            return self.make(r.choice(numbers), depth), self.make(r.choice(numbers), depth)
        if mixed < 0.3:
            types = r.choice([("date", "timestamp"), ("float", "double")])
            pair = [self.make(type, depth) for type in types]
            r.shuffle(pair)
            return tuple(pair)
        type = r.choice(TYPES + ["decimal(10,2)", "decimal(38,10)", "string", "double"])
        return self.make(type, depth), self.make(type, depth)

    def comparison(self, depth):
        one, two = self.comparable(depth)
        word = self.random.choice(["=", "<>", "<", "<=", ">", ">="])
        return node("boolean", "({0} " + word + " {1})", one, two)

    def distinct_from(self, depth):
        one, two = self.comparable(depth)
        word = self.random.choice(["IS DISTINCT FROM", "IS NOT DISTINCT FROM"])
        return node("boolean", "({0} " + word + " {1})", one, two)

    def logic(self, depth):
        word = self.random.choice(["AND", "OR", "OR", "AND"])
        return node(
            "boolean", "({0} " + word + " {1})", self.make("boolean", depth), self.make("boolean", depth)
        )

    def negation(self, depth):
        return node("boolean", "(NOT {0})", self.make("boolean", depth))

    def is_null(self, depth):
        word = self.random.choice(["IS NULL", "IS NOT NULL"])
        return node("boolean", "({0} " + word + ")", self.any(depth))

    def is_truth(self, depth):
        word = self.random.choice(["IS TRUE", "IS NOT TRUE", "IS FALSE", "IS NOT FALSE"])
        return node("boolean", "({0} " + word + ")", self.make("boolean", depth))

    def is_unknown(self, depth):
        word, duck = self.random.choice([("UNKNOWN", "NULL"), ("NOT UNKNOWN", "NOT NULL")])
        return node("boolean", f"({{0}} IS {word})", self.make("boolean", depth), duck=f"({{0}} IS {duck})")

    def between(self, depth):
        type = self.random.choice(TYPES[1:] + ["decimal(10,2)"])
        word = self.random.choice(["BETWEEN", "NOT BETWEEN"])
        args = [self.make(type, depth - 1) for _ in range(3)]
        return node("boolean", "({0} " + word + " {1} AND {2})", *args)

    def in_list(self, depth):
        type = self.random.choice(
            ["bigint", "int", "string", "string", "double", "decimal(10,2)", "date", "timestamp"]
        )
        items = [self.simple(type) if self.random.random() < 0.3 else self.literal(type)
                 for _ in range(self.random.choice([1, 2, 3, 5]))]  # fmt: skip
        if self.random.random() < 0.3:
            items.append(leaf(type, "NULL"))
        listed = ", ".join("{%d}" % (place + 1) for place in range(len(items)))
        word = self.random.choice(["IN", "NOT IN"])
        return node("boolean", "({0} " + word + " (" + listed + "))", self.make(type, depth), *items)

    def like(self, depth):
        pattern = leaf("string", self.random.choice(
            ["'a%'", "'%b%'", "'_'", "'%'", "''", "'a_c'", "'%,%'", "'%é%'", "'A%'", "'%1%'", "'__%'"]))  # fmt: skip
        word = self.random.choice(["LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"])
        return node("boolean", "({0} " + word + " {1})", self.make("string", depth), pattern)

    def matches(self, depth):
        pattern = leaf("string", self.random.choice(
            ["'^[0-9]+$'", "'.*'", "'^a'", "'b|c'", "'^$'", "'[a-z]{2}'", "'^(x|a).*'", "'é'", "'\\d'", "'\\\\d'", "'^[^a]+$'"]))  # fmt: skip
        word, duck = self.random.choice([
            ("{0} ~ {1}", "regexp_matches({0}, {1}, 's')"), ("{0} !~ {1}", "NOT regexp_matches({0}, {1}, 's')"),
            ("{0} ~* {1}", "regexp_matches({0}, {1}, 'is')")])  # fmt: skip
        return node("boolean", f"({word})", self.make("string", depth), pattern, duck=f"({duck})")

    def text_test(self, depth):
        word = self.random.choice(["starts_with", "contains", "ends_with"])
        return node("boolean", word + "({0}, {1})", self.make("string", depth), self.make("string", 0))

    def narrowed(self, depth):
        """A cast beside a literal, which an optimizer likes to move to the other side."""
        r = self.random
        word = r.choice(["=", "<>", "<", "<=", ">", ">="])
        kind = r.randrange(5)
        if kind == 0:
            cast = node(
                "bigint",
                "CAST({0} AS BIGINT)",
                self.make("double_tame", 0),
                duck="CAST(trunc({0}) AS BIGINT)",
            )
            return node(
                "boolean", "({0} " + word + " {1})", cast, leaf("bigint", str(r.choice([0, 1, -1, 10])))
            )
        if kind == 1:
            cast = node("int", "TRY_CAST({0} AS INT)", self.make("bigint", depth))
            return node(
                "boolean", "({0} " + word + " {1})", cast, leaf("int", str(r.choice([0, 5, -1, 3000000000])))
            )
        if kind == 2:
            cast = node("date", "CAST({0} AS DATE)", self.make("timestamp", depth))
            return node("boolean", "({0} " + word + " {1})", cast, self.literal("date"))
        if kind == 3:
            cast = node(
                "bigint",
                "CAST({0} AS BIGINT)",
                self.make("decimal(10,2)", depth),
                duck="CAST(trunc({0}) AS BIGINT)",
            )
            return node(
                "boolean", "({0} " + word + " {1})", cast, leaf("bigint", str(r.choice([0, 1, -1, 10])))
            )
        cast = node("string", "CAST({0} AS VARCHAR)", self.make(r.choice(["int", "bigint"]), depth))
        return node(
            "boolean",
            "({0} " + word + " {1})",
            cast,
            leaf("string", r.choice(["'0'", "'07'", "'1'", "'-1'"])),
        )

    def guarded(self, depth):
        """What fails on some rows stands behind what lets only the others through."""
        r = self.random
        kind = r.randrange(5)
        word = r.choice(["=", "<>", "<", ">="])
        number = leaf("bigint", str(r.choice([0, 10, 17, 42])))
        if kind == 0:
            tide = "({0} ~ '^-?[0-9]{{1,5}}$' AND CAST({0} AS BIGINT) " + word + " {1})"
            duck = "(regexp_matches({0}, '^-?[0-9]{{1,5}}$') AND TRY_CAST({0} AS BIGINT) " + word + " {1})"
            return node("boolean", tide, self.column("string"), number, duck=duck)
        if kind == 1:
            tide = "({0} <> 0 AND {2} / {0} " + word + " {1})"
            duck = "({0} <> 0 AND {2} // {0} " + word + " {1})"
            return node("boolean", tide, self.make("tame", 0), number, self.make("tame", 0), duck=duck)
        if kind == 2:
            tide = "CASE WHEN {0} = 0 THEN FALSE ELSE {2} % {0} " + word + " {1} END"
            return node("boolean", tide, self.make("tame", 0), number, self.make("tame", 0))
        if kind == 3:
            tide = "({0} NOT BETWEEN -2147483648 AND 2147483647 OR CAST({0} AS INT) " + word + " {1})"
            duck = "({0} NOT BETWEEN -2147483648 AND 2147483647 OR TRY_CAST({0} AS INT) " + word + " {1})"
            return node("boolean", tide, self.column("bigint"), number, duck=duck)
        tide = "({0} IS NULL OR {0} = 0 OR {2} / {0} " + word + " {1})"
        duck = "({0} IS NULL OR {0} = 0 OR {2} // {0} " + word + " {1})"
        return node("boolean", tide, self.make("tame", 0), number, self.make("tame", 0), duck=duck)

    booleans = [comparison, comparison, comparison, distinct_from, logic, logic, logic, negation, is_null,
                is_truth, is_unknown, between, in_list, in_list, like, matches, text_test, narrowed, guarded]  # fmt: skip
