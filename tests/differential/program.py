"""Runs the built program on a pipeline of queries: writes its files, reads its results and dead letters.

At several shards a file's pieces of one MiB go to one log after the other, so rows are put into the piece
that their block says, with blank space between the pieces.

Results come back in the values of data.py.
"""

import dataclasses
import datetime
import json
import re
import struct
import subprocess
from decimal import Decimal

PIECE = 1024 * 1024
SECONDS = 120
EPOCH = datetime.datetime(1970, 1, 1)


@dataclasses.dataclass
class Query:
    """`columns` has the type of each result column, by name."""

    name: str
    sql: str
    columns: dict
    options: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Ran:
    """What a run gave; `error` is its message when it did not end well."""

    rows: dict
    dead: list
    error: str | None


def write(folder, data, queries):
    """The pipeline file and its inputs, and the command's `--input` for each stream."""
    lines = ['name = "differential"', ""]
    inputs = []
    for stream in data.streams.values():
        path = folder / f"{stream.name}.jsonl"
        write_stream(path, stream)
        inputs += ["--input", f"{stream.name}={path}"]
        columns = ", ".join(f"{name} = {json.dumps(declared(stream, name))}" for name in stream.columns)
        lines += [f"[streams.{stream.name}]", 'format = "json"', f"columns = {{ {columns} }}",
                  'event_time = "ts"', f'out_of_orderness = "{stream.out_of_orderness()}ms"', ""]  # fmt: skip
    for table in data.tables.values():
        path = folder / f"{table.name}.{'csv' if table.format == 'csv' else 'jsonl'}"
        write_table(path, table)
        columns = ", ".join(f'{name} = "{type}"' for name, type in table.columns.items())
        lines += [f"[tables.{table.name}]", f'file = "{path.name}"', f"columns = {{ {columns} }}", ""]
    for query in queries:
        quoted = json.dumps(query.sql, ensure_ascii=False) if "'''" in query.sql else f"'''\n{query.sql}\n'''"
        lines += [f"[queries.{query.name}]", f"sql = {quoted}"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in query.options.items()] + [""]
    file = folder / "pipeline.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file, inputs


def declared(stream, name):
    if name == "ts":
        return stream.time_type
    # JSON has no text for times before year 1000 that all agree on: numbers have.
    return "timestamp_ms" if stream.columns[name] == "timestamp" else stream.columns[name]


def write_stream(path, stream):
    with open(path, "wb") as file:
        for place, (row, block) in enumerate(zip(stream.rows, stream.blocks)):
            if not place:
                file.write(b"\n" * (block * PIECE))
            record = {name: written(row[name], declared(stream, name)) for name in stream.columns}
            file.write(json.dumps(record, ensure_ascii=False).encode())
            following = stream.blocks[place + 1] if place + 1 < len(stream.blocks) else 0
            file.write(b" " * (following * PIECE - file.tell() - 1) + b"\n")


def write_table(path, table):
    with open(path, "w", encoding="utf-8") as file:
        if table.format == "csv":
            file.write(",".join(table.columns) + "\n")
        for row in table.rows:
            if table.format == "csv":
                file.write(",".join(map(csv_field, (row[name] for name in table.columns))) + "\n")
            else:
                record = {name: written(row[name], type) for name, type in table.columns.items()}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


def csv_field(value):
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def written(value, type):
    """As a record has it."""
    if value is None:
        return None
    if type == "timestamp":
        return (EPOCH + datetime.timedelta(milliseconds=value)).isoformat(timespec="milliseconds") + "Z"
    if type == "timestamp_us":
        return value * 1000
    if type == "date":
        return (EPOCH.date() + datetime.timedelta(days=value)).isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float) and value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def run(binary, folder, data, queries, shards):
    file, inputs = write(folder, data, queries)
    out = folder / f"out{shards}"
    command = [
        binary,
        "run",
        file,
        *inputs,
        "--output",
        out,
        "--store",
        f"{out}.redb",
        "--until-end",
        "--shards",
        str(shards),
    ]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        return Ran({}, [], f"it did not end within {SECONDS} seconds")
    if ended.returncode != 0:
        return Ran({}, [], ended.stderr.strip() or f"exit status {ended.returncode}")
    rows = {
        query.name: [parsed(line, query.columns) for line in lines(out / f"{query.name}.jsonl")]
        for query in queries
    }
    return Ran(rows, [json.loads(line) for line in lines(out / "dead_letters.jsonl")], None)


def lines(path):
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def parsed(line, columns):
    record = json.loads(line, parse_float=float)
    return {name: read(record.get(name), type) for name, type in columns.items()}


def read(value, type):
    """What a result says, as a value of data.py; what is not written as its type is kept as it stands."""
    if value is None:
        return None
    if type.startswith("list:"):
        return [read(one, type[5:]) for one in value]
    try:
        if type.startswith("decimal") and isinstance(value, str):
            return Decimal(value)
        if type == "double" and isinstance(value, (str, int)) and not isinstance(value, bool):
            return float(value)
        if type == "float":
            # The shortest text that gives the same 32 bits.
            return struct.unpack("f", struct.pack("f", float(value)))[0]
        if type == "timestamp":
            moment = datetime.datetime.fromisoformat(value.removesuffix("Z"))
            return round((moment - EPOCH) / datetime.timedelta(milliseconds=1))
        if type == "date":
            return (datetime.date.fromisoformat(value) - EPOCH.date()).days
    except (ValueError, ArithmeticError):
        pass
    return value


def clean(text):
    """The program's message without its frame."""
    return re.sub(r"\s+", " ", re.sub("[│×╰─▶╭·]", " ", text)).strip()
