"""Changes results as a fault of the program would, to see that it is found.

Each rule is given the cases with their queries, and what a run gave.
"""


def one_in_each(named, ran):
    """One change in each query: a row is lost, or twice there, or has another value."""
    for place, (_, queries) in enumerate(named):
        rows = ran.rows[queries[-1].name]
        if not rows:
            rows.append({name: None for name in queries[-1].columns})
        elif place % 3 == 0:
            rows.pop(len(rows) // 2)
        elif place % 3 == 1:
            rows.append(dict(rows[0]))
        else:
            row = rows[len(rows) // 2]
            name = list(queries[-1].columns)[-1]
            row[name] = other(row[name])


def other(value):
    """A value that is not this one, of the same type where there is one."""
    if value is None:
        return 1
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "?"
    if isinstance(value, list):
        return [*value, None]
    if isinstance(value, float) and abs(value) < 1e300:
        return value * 1.001 + 0.001
    return None if isinstance(value, float) else value + 1


def every_seventh(named, ran):
    """Rows are lost by their `id`: a rule that goes on when the pipeline is made smaller."""
    for _, queries in named:
        for query in queries:
            if "id" in query.columns:
                ran.rows[query.name] = [row for row in ran.rows[query.name] if row["id"] % 7 != 3]
