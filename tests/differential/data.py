"""Random data: two streams of one schema and a static table, in values that Python holds exactly.

Values: None, bool, int, float, Decimal, str; a timestamp is whole milliseconds since 1970, a date whole
days. Every stream has `id`, which tells its rows apart, and `ts`, its event time. What a column is for:

    k g b    keys: few values, null and empty text among them
    i n      whole numbers up to the ends of their types
    m        small whole numbers
    x        doubles whose sums are exact: small multiples of 1/8, and -0.0
    y        any doubles: NaN, the infinities, -0.0, the largest, the smallest
    f        floats of 32 bits
    d e      decimals; e has 38 digits in all
    txt      words, and texts that are numbers
    dt far   dates and times from year 1 to 9999
    gap      a session's gap of its own, always valid

No event is late: a stream's `out_of_orderness` is the most by which an event comes behind a newer one.

Not here: how a value is written for the program (program.py) and for DuckDB (duck.py).
"""

import dataclasses
import struct
from decimal import Decimal

SCHEMA = {
    "id": "bigint", "ts": "timestamp", "k": "string", "g": "int", "b": "boolean", "i": "int",
    "n": "bigint", "m": "bigint", "x": "double", "y": "double", "f": "float", "d": "decimal(10,2)",
    "e": "decimal(38,10)", "txt": "string", "dt": "date", "far": "timestamp", "gap": "bigint",
}  # fmt: skip
TABLE_SCHEMA = {"tk": "string", "tg": "int", "tx": "double", "name": "string", "v": "bigint"}

# Pieces of a file that are spread over the program's logs; see program.py.
BLOCKS = 6


@dataclasses.dataclass
class Stream:
    """Rows stand in the order in which they are read. `blocks` has, for each, the piece of the file."""

    name: str
    columns: dict
    rows: list
    blocks: list
    time_type: str

    def out_of_orderness(self):
        """The largest distance of an event to a newer one that was read before it."""
        newest, most = None, 0
        for row in self.rows:
            newest = row["ts"] if newest is None else max(newest, row["ts"])
            most = max(most, newest - row["ts"])
        return most


@dataclasses.dataclass
class Table:
    name: str
    columns: dict
    rows: list
    format: str


@dataclasses.dataclass
class Data:
    """`ties`: whether events of a stream can have the same time."""

    streams: dict
    tables: dict
    ties: bool


def make(random, size):
    """Streams `s` and `r` of about so many rows, and the table `t`."""
    start = random.choice([0, 1_356_998_400_000, 1_700_000_000_000, -86_400_000 * 400])
    start += random.randrange(0, 86_400_000)
    span = random.choice([30_000, 300_000, 3_600_000])
    # Ties are in the order of log and position, which DuckDB does not know of: then no query asks for it.
    ties = random.random() < 0.25
    streams = {name: stream(random, name, size, start, span, ties) for name in ("s", "r")}
    rows = [table_row(random) for _ in range(random.choice([0, 1, 4, 9]))]
    # The lookup by k finds one row at most in half of the tables.
    if random.random() < 0.5:
        rows = list({row["tk"]: row for row in rows}.values())
    table = Table("t", dict(TABLE_SCHEMA), rows, random.choice(["csv", "json"]))
    return Data(streams, {"t": table}, ties)


def stream(random, name, size, start, span, ties):
    count = random.randrange(max(1, size // 2), size + 1)
    grid = random.choice([1, 500, 1000])
    moments = range(0, max(span, count * grid * 2), grid)
    times = sorted(random.choices(moments[: count * 2], k=count) if ties else random.sample(moments, count))
    rows = [row(random, number, start + time) for number, time in enumerate(times)]
    blocks, order = shuffled(random, rows)
    time_type = random.choice(["timestamp_ms", "timestamp_ms", "timestamp", "timestamp_us"])
    return Stream(name, dict(SCHEMA), order, blocks, time_type)


def shuffled(random, rows):
    """The rows of each third of time spread over two blocks, and out of order within a block."""
    blocks, order = [], []
    used = random.choice([1, 3, BLOCKS])
    rounds = max(1, used // 3)
    per_round = max(1, -(-len(rows) // rounds))
    for number in range(rounds):
        part = rows[number * per_round : (number + 1) * per_round]
        width = min(used, 3)
        homes = [random.randrange(width) for _ in part]
        jitter = random.choice([0, 0, 2, 6])
        for home in range(width):
            mine = [row for row, at in zip(part, homes) if at == home]
            keyed = sorted(enumerate(mine), key=lambda pair: pair[0] + random.random() * jitter)
            order += [row for _, row in keyed]
            blocks += [number * 3 + home] * len(mine)
    return blocks, order


def row(random, number, ts):
    return {
        "id": number, "ts": ts, "k": key_text(random), "g": pick(random, [0, 1, 2, 3, -1], 0.15),
        "b": pick(random, [True, False], 0.2),
        "i": pick(random, [0, 1, -1, 7, 100, 2**31 - 1, -(2**31)], 0.15),
        "n": pick(random, [0, 1, -1, 5, 10**10, 2**53 + 1, 2**63 - 1, -(2**63)], 0.15),
        "m": nullable(random, random.randrange(-20, 100), 0.1),
        "x": nullable(random, tame_double(random), 0.15), "y": nullable(random, wild_double(random), 0.15),
        "f": pick(random, FLOATS, 0.15),
        "d": nullable(random, small_decimal(random), 0.15), "e": nullable(random, large_decimal(random), 0.15),
        "txt": pick(random, TEXTS, 0.15), "dt": nullable(random, day(random), 0.15),
        "far": nullable(random, far_time(random), 0.15),
        "gap": random.choice([1, 500, 1000, 5000, 20_000]),
    }  # fmt: skip


# As 32 bits have them: 0.1 is not 0.1.
FLOATS = [struct.unpack("f", struct.pack("f", value))[0]
          for value in (0.0, -0.0, 1.0, -2.5, 0.1, 1e10, 16777217.0, float("nan"), float("inf"), 3.4e38)]  # fmt: skip
TEXTS = ["", "a", "A", "abc", "x,y", "a b", "17", "-3", "042", "1e3", "2.50", "ab12", "été", "日本",
         "100%", "a_c", "zz top", " pad ", "O'Brien", "12345678901234567890"]  # fmt: skip


def table_row(random):
    return {
        "tk": key_text(random), "tg": pick(random, [0, 1, 2, 9], 0.15),
        "tx": pick(random, [0.0, -0.0, 1.5, 2.0], 0.1), "name": random.choice(["red", "green", "blue", "é"]),
        "v": nullable(random, random.randrange(-5, 50), 0.1),
    }  # fmt: skip


def key_text(random):
    return pick(random, ["a", "a", "b", "c", "", "Z"], 0.12)


def pick(random, values, nulls):
    return nullable(random, random.choice(values), nulls)


def nullable(random, value, nulls):
    return None if random.random() < nulls else value


def tame_double(random):
    if random.random() < 0.2:
        return random.choice([0.0, -0.0, 1.0, -1.0])
    return random.randrange(-8000, 8000) / 8


def wild_double(random):
    if random.random() < 0.3:
        return random.randrange(-100, 100) / 10
    return random.choice([float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1.7976931348623157e308,
                          5e-324, -1e300, 0.1, 0.30000000000000004, 1e16, 9007199254740993.0])  # fmt: skip


def small_decimal(random):
    if random.random() < 0.1:
        return random.choice([Decimal("99999999.99"), Decimal("-99999999.99")])
    if random.random() < 0.2:
        return random.choice([Decimal("0.00"), Decimal("0.01"), Decimal("-0.01"), Decimal("2.50")])
    return Decimal(random.randrange(-100_000, 100_000)).scaleb(-2)


def large_decimal(random):
    if random.random() < 0.1:
        sign = random.choice([0, 1])
        return Decimal((sign, (9,) * 38, -10))
    digits = random.choice([3, 12, 20])
    return Decimal(random.randrange(-(10**digits), 10**digits)).scaleb(-10)


def day(random):
    if random.random() < 0.2:
        return random.choice([-719_162, 2_932_896, 0, -1, 11_016])
    return random.randrange(15_000, 20_000)


def far_time(random):
    """9999-12-31, year 1, the ends of what nanoseconds can say, and around 1970; else about now."""
    if random.random() < 0.35:
        return random.choice([253_402_214_400_000, 253_402_300_799_999, -62_135_596_800_000,
                              9_223_372_036_855, -9_223_372_036_855, -1, 0, 4_102_444_800_000])  # fmt: skip
    return random.randrange(1_300_000_000_000, 1_800_000_000_000)
