"""What DuckDB computes for a query: the second engine. One database in memory for each pipeline.

Rows come back in the values of data.py. The macros say in DuckDB's SQL what the program means by a window
and by whole numbers that wrap around.
"""

import datetime
import decimal

import duckdb

EPOCH = datetime.datetime(1970, 1, 1)
MACROS = """
CREATE MACRO wrap32(v) AS CAST(((v + 2147483648) % 4294967296 + 4294967296) % 4294967296 - 2147483648 AS INTEGER);
CREATE MACRO wrap64(v) AS CAST(((v + 9223372036854775808::HUGEINT) % 18446744073709551616::HUGEINT
  + 18446744073709551616::HUGEINT) % 18446744073709551616::HUGEINT - 9223372036854775808::HUGEINT AS BIGINT);
CREATE MACRO floor_to(ms, step, moved) AS ms - (((ms - moved) % step + step) % step);
CREATE MACRO nan_null(v) AS CASE WHEN isnan(v) THEN NULL ELSE v END;
CREATE MACRO one_zero(v) AS CASE WHEN v = 0 THEN v * 0 + 0 ELSE v END;
"""
TYPES = {"boolean": "BOOLEAN", "int": "INTEGER", "bigint": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "string": "VARCHAR",
         "timestamp": "TIMESTAMP", "date": "DATE"}  # fmt: skip


class Failed(Exception):
    """DuckDB does not take the query: the program that wrote it is wrong."""


class Duck:
    def __init__(self, data):
        self.connection = duckdb.connect(":memory:", config={"threads": 1})
        self.connection.execute(MACROS)
        # It may compute what stands behind a guard; then it is null instead of an error.
        self.connection.execute("SET error_on_division_by_zero = false")
        for stream in data.streams.values():
            rows = sorted(stream.rows, key=lambda row: (row["ts"], row["id"]))
            self.load(stream.name, stream.columns, rows)
        for table in data.tables.values():
            self.load(table.name, table.columns, table.rows)

    def load(self, name, columns, rows):
        declared = ", ".join(f"{column} {TYPES.get(type, type)}" for column, type in columns.items())
        self.connection.execute(f"CREATE TABLE {name} ({declared})")
        if rows:
            texts = ("(" + ", ".join(literal(row[c], t) for c, t in columns.items()) + ")" for row in rows)
            self.connection.execute(f"INSERT INTO {name} VALUES {', '.join(texts)}")

    def rows(self, sql):
        try:
            cursor = self.connection.execute(sql)
            names = [described[0] for described in cursor.description]
            return [dict(zip(names, map(value, row))) for row in cursor.fetchall()]
        except duckdb.Error as error:
            raise Failed(str(error)) from error

    def close(self):
        self.connection.close()


def literal(value, type):
    if value is None:
        return "NULL"
    if type == "timestamp":
        return f"make_timestamp({value * 1000})"
    if type == "date":
        return f"(DATE '1970-01-01' + {value})" if value >= 0 else f"(DATE '1970-01-01' - {-value})"
    if type == "string":
        return "'" + value.replace("'", "''") + "'"
    if type in ("double", "float"):
        return f"'{value!r}'::{type}"
    if type.startswith("decimal"):
        return f"'{value:f}'::{type}"
    return str(value)


def value(item):
    """A value of DuckDB's client in the values of data.py."""
    if isinstance(item, datetime.datetime):
        return round((item - EPOCH) / datetime.timedelta(milliseconds=1))
    if isinstance(item, datetime.date):
        return (item - EPOCH.date()).days
    if isinstance(item, list):
        return [value(one) for one in item]
    if isinstance(item, decimal.Decimal):
        return item
    return item
