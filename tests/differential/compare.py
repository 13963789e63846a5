"""Whether two results are the same multiset of rows.

Numbers are compared by value: -0.0 is 0.0, every NaN is one. A column that is not exact (a sum whose
rounding depends on the order of its rows, a variance) may differ in its last digits, or by its `off`.
"""

import math
from decimal import Decimal

RELATIVE = 1e-9


def difference(expected, got, columns, inexact):
    """None, or (rows that are missing, rows that are too many). `inexact`: by how much which column may be off."""
    missing, extra = grouped(expected, columns, inexact), grouped(got, columns, inexact)
    lost, more = [], []
    for key in missing.keys() | extra.keys():
        one, two = missing.get(key, []), extra.get(key, [])
        if len(one) == len(two) and all(
            close(a, b, inexact) for a, b in zip(sorted_rows(one, inexact), sorted_rows(two, inexact))
        ):
            continue
        keep = list(two)
        for row in one:
            match = next((other for other in keep if close(row, other, inexact)), None)
            if match is None:
                lost.append(row)
            else:
                keep.remove(match)
        more += keep
    return (lost, more) if lost or more else None


def grouped(rows, columns, inexact):
    groups = {}
    for row in rows:
        key = tuple(canonical(row[name]) for name in columns if name not in inexact)
        groups.setdefault(key, []).append(row)
    return groups


def canonical(value):
    """Equal for equal values, and hashable; a bool is no number, as text is none."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    if isinstance(value, list):
        return tuple(canonical(one) for one in value)
    if isinstance(value, float):
        if math.isnan(value):
            return ("number", "NaN")
        if math.isinf(value):
            return ("number", value)
        # A double and a decimal of the same value are not the same result.
        return ("double", value + 0.0)
    if isinstance(value, Decimal):
        return ("decimal", value.normalize() if value else Decimal(0))
    return ("whole", value)


def sorted_rows(rows, inexact):
    def order(row):
        return [
            (row[name] is not None, isinstance(row[name], float) and math.isnan(row[name]), number(row[name]))
            for name in sorted(inexact)
        ]

    return sorted(rows, key=order)


def number(value):
    if value is None or isinstance(value, (list, str)) or (isinstance(value, float) and math.isnan(value)):
        return 0.0
    return float(value)


def close(one, two, inexact):
    return all(near(one[name], two[name], off) for name, off in inexact.items())


def near(one, two, off):
    if one is None or two is None:
        return one is two
    if isinstance(one, str) or isinstance(two, str):
        return one == two
    if isinstance(one, float) and isinstance(two, float) and (math.isnan(one) or math.isnan(two)):
        return math.isnan(one) and math.isnan(two)
    if one == two:
        return True
    return math.isclose(float(one), float(two), rel_tol=RELATIVE, abs_tol=off)
