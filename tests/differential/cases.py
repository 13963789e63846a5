"""What a case is: queries for the program, and who knows the right result.

A case's `parts` are what shrinking takes away from, by kind of part: a list of named expressions or of
expressions, which keeps at least one if its name is in `NEEDED`; an expression, which is made smaller; or
an expression that may be left out (`OPTIONAL`). `fixed` is what stays as it is.
"""

import compare
from program import Query

NEEDED = {"columns"}
OPTIONAL = {"where", "having", "extra", "inner_where"}


class Case:
    """One query whose result DuckDB knows. Kinds say both texts; `select` and `clause` help."""

    kind = "?"

    def __init__(self, parts, **fixed):
        self.parts = parts
        self.fixed = fixed

    def with_parts(self, parts):
        return type(self)(parts, **self.fixed)

    def __getattr__(self, name):
        for where in ("parts", "fixed"):
            if name in self.__dict__.get(where, ()):
                return self.__dict__[where][name]
        raise AttributeError(name)

    # For kinds to say.

    def sql(self, dialect):
        raise NotImplementedError

    def options(self):
        return {}

    def output(self):
        """Result columns: names and expressions, those of which the type is known."""
        return self.parts["columns"]

    # What the rest of the program calls.

    def queries(self, name):
        columns = {alias: tree.type for alias, tree in self.output()}
        return [Query(name, self.sql("tide"), columns, self.options())]

    def judge(self, results, duck, data):
        """None, or what is wrong, in words."""
        expected = self.expected(duck, data)
        inexact = {alias: tree.off for alias, tree in self.output() if not tree.exact}
        found = compare.difference(expected, results[0], [alias for alias, _ in self.output()], inexact)
        return found and describe(*found)

    def expected(self, duck, data):
        return duck.rows(self.sql("duck"))

    def duck_text(self):
        return self.sql("duck")

    # For both dialects.

    def select(self, dialect, columns=None):
        columns = self.parts["columns"] if columns is None else columns
        return ", ".join(f"{tree.text(dialect)} AS {alias}" for alias, tree in columns)

    def clause(self, dialect, word, name):
        tree = self.parts.get(name)
        return f" {word} {tree.text(dialect)}" if tree is not None else ""


def describe(missing, extra):
    lines = [f"  missing {row}" for row in missing[:4]] + [f"  instead {row}" for row in extra[:4]]
    return "\n".join([f"{len(missing)} rows are missing, {len(extra)} are too many", *lines])


def named(trees, prefix="c"):
    return [(f"{prefix}{place}", tree) for place, tree in enumerate(trees)]
