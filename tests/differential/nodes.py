"""Expressions as trees: each node has a type and two texts, the program's SQL and DuckDB's.

A text is a template: `{0}` is the first argument's text. What shrinking does with a tree is here as well,
since it needs nothing but the tree: replace a node by something smaller of its type.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Node:
    """`exact` says whether two engines must give the same value; where not, they may be `off` by so much, and
    only a result column is made of it.
    """

    type: str
    tide: str
    duck: str
    args: tuple = ()
    exact: bool = True
    leaf: bool = False
    off: float = 0.0

    def text(self, dialect):
        template = self.tide if dialect == "tide" else self.duck
        return template.format(*(arg.text(dialect) for arg in self.args)) if self.args else template

    def size(self):
        return 1 + sum(arg.size() for arg in self.args)


def node(type, tide, *args, duck=None, exact=True, off=1e-9):
    return Node(type, tide, tide if duck is None else duck, tuple(args), exact, False, 0.0 if exact else off)


def leaf(type, tide, duck=None):
    """A column or a literal. Braces stand for themselves."""
    return Node(type, tide, tide if duck is None else duck, (), True, True)


def has_column(tree):
    """A name is a column; SQL's own words are written in capitals."""
    name = tree.tide.split(".")[-1]
    return any(map(has_column, tree.args)) or (tree.leaf and name.isidentifier() and name.islower())


NULLS = {"boolean": "BOOLEAN", "int": "INT", "bigint": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "string": "VARCHAR",
         "timestamp": "TIMESTAMP", "date": "DATE"}  # fmt: skip


def sql_type(type):
    return NULLS.get(type, type.upper())


def null(type):
    return leaf(type, f"CAST(NULL AS {sql_type(type)})")


def smaller(tree):
    """Trees to try instead of this one, the smallest first."""
    tried = []
    if tree.leaf:
        return tried
    tried += [arg for arg in tree.args if arg.type == tree.type and arg.exact >= tree.exact]
    if tree.type == "boolean":
        tried += [leaf("boolean", "TRUE"), leaf("boolean", "FALSE")]
    for place, arg in enumerate(tree.args):
        for other in [*smaller(arg), *simple_leaves(arg)]:
            args = tree.args[:place] + (other,) + tree.args[place + 1 :]
            tried.append(dataclasses.replace(tree, args=args))
    tried.sort(key=Node.size)
    return tried


def simple_leaves(arg):
    if arg.leaf:
        return []
    simple = {"bigint": leaf("bigint", "1", "1::BIGINT"), "double": leaf("double", "CAST(1 AS DOUBLE)"),
              "string": leaf("string", "'a'")}  # fmt: skip
    return [simple[arg.type]] if arg.type in simple else []
