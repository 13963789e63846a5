"""A failure in words: what is wrong, and the pipeline, the inputs and the second query that show it."""

import pathlib
import tempfile

import pipelines
import program


def text(pipeline, failure, how):
    case = pipeline.cases[failure.place]
    head = f"=== seed {pipeline.seed}, {case.kind}, {failure.shards} shards, {failure.sign}: {how}"
    again = f"again: make differential QUERIES={pipelines.QUERIES} SEED={pipeline.seed}"
    lines = [head, failure.text[:3000], again, *files(pipeline)]
    if hasattr(case, "duck_text"):
        lines += ["--- what DuckDB was asked", case.duck_text()]
    return "\n".join(lines) + "\n"


def files(pipeline):
    """The files as the program read them, without the blank space between the pieces."""
    with tempfile.TemporaryDirectory(prefix="differential-") as name:
        folder = pathlib.Path(name)
        file, _ = program.write(
            folder, pipeline.data, [q for _, queries in pipeline.named() for q in queries]
        )
        for path in [file, *sorted(folder.glob("*.jsonl")), *sorted(folder.glob("*.csv"))]:
            yield f"--- {path.name}"
            yield from (line.strip() for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
