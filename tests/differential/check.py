"""Runs a pipeline at one number of shards and judges each of its cases."""

import collections
import dataclasses
import pathlib
import re
import tempfile

import program
from duck import Duck, Failed

SHARDS = (1, 3)
# A refusal that differences.md lists: only the whole query shows whether it is due.
REFUSED = "an aggregate of a column and one of its CAST have one name"


@dataclasses.dataclass
class Failure:
    """`sign` tells one kind of failure from another, so that shrinking does not change from one to the other."""

    place: int
    kind: str
    shards: int
    sign: str
    text: str


def failures(binary, pipeline, shards, plant=None):
    """What is wrong. `plant` changes results before they are judged: see plant.py."""
    named = pipeline.named()
    with tempfile.TemporaryDirectory(prefix="differential-") as folder:
        queries = [query for _, queries in named for query in queries]
        ran = program.run(binary, pathlib.Path(folder), pipeline.data, queries, shards)
    if ran.error:
        return apart(binary, pipeline, shards, plant, program.clean(ran.error))
    if plant:
        plant(named, ran)
    dead = collections.defaultdict(list)
    for letter in ran.dead:
        dead[letter.get("query")].append(letter)
    found, duck = [], Duck(pipeline.data)
    # Of records that nothing reads there is no query.
    if dead[None]:
        found.append(Failure(0, "records", shards, "records", letters(dead[None])))
    for place, (case, queries) in enumerate(named):
        sign, text = judged(case, queries, ran, dead, duck, pipeline.data)
        if sign:
            found.append(Failure(place, case.kind, shards, sign, text))
    duck.close()
    return found


def judged(case, queries, ran, dead, duck, data):
    mine = [letter for query in queries for letter in dead[query.name]]
    if mine:
        return f"dead letters: {words(mine[0])}", letters(mine)
    try:
        wrong = case.judge([ran.rows[query.name] for query in queries], duck, data)
    except Failed as error:
        return "DuckDB", f"DuckDB does not take the query: {error}"
    return ("rows", wrong) if wrong else (None, None)


def letters(dead):
    first = {key: value for key, value in dead[0].items() if key in ("reason", "detail", "raw")}
    return f"{len(dead)} dead letters where none is expected, such as {first}"


def words(letter):
    """What kind of dead letter it is."""
    return f"{letter['reason']} {re.sub('[^a-z ]+.*', '', letter.get('detail', '').lower())[:40]}"


def apart(binary, pipeline, shards, plant, error):
    """The program did not run: by which query, and what is with the others."""
    if len(pipeline.cases) == 1 and REFUSED in error:
        return []
    if len(pipeline.cases) == 1:
        code = re.search(r"[a-z]+(::[a-z_]+)+", error)
        said = re.sub(r"[^A-Za-z ].*", "", error.split("`: ", 1)[-1])[:40]
        sign = f"error: {code.group() if code else ''} {said}"
        return [Failure(0, pipeline.cases[0].kind, shards, sign, f"the program fails: {error}")]
    blamed = set(re.findall(r"query `q([0-9]+)", error))
    guilty = [place for place in range(len(pipeline.cases)) if str(place) in blamed]
    if not guilty:
        half = len(pipeline.cases) // 2
        guilty = list(range(half))
    others = [place for place in range(len(pipeline.cases)) if place not in guilty]
    groups = [[place] for place in guilty] if blamed else [guilty]
    found = []
    for group in [*groups, others]:
        if group:
            part = dataclasses.replace(pipeline, cases=[pipeline.cases[place] for place in group])
            if len(group) == len(pipeline.cases):
                return [Failure(0, "several", shards, "error", f"the program fails: {error}")]
            for failure in failures(binary, part, shards, plant):
                found.append(dataclasses.replace(failure, place=group[failure.place]))
    return found
