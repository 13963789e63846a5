"""Random queries over random data run through the built program and through DuckDB, and are compared.

    main.py --program target/debug/tidemill --queries 2000 --seed 1     exit status 1 if any differ
    main.py --program target/debug/tidemill --plant                     exit status 1 if a planted one is not found

A pipeline has 20 queries and is made from its seed alone: the first from --seed, the next from the seed
after it. A failure prints the smallest pipeline and input that shows it, and its seed.

    data.py           random rows                        program.py   runs the program
    nodes.py          expressions as trees               duck.py      runs DuckDB
    expressions.py    random expressions                 compare.py   compares rows
    aggregates.py     random aggregates                  check.py     runs a pipeline and judges it
    *_cases.py        random queries, in both dialects   shrink.py    makes a failing pipeline smaller
    exact.py          decimals, in exact arithmetic      plant.py     faults that must be found
    pipelines.py      pipelines of all kinds             report.py    prints a failure

differences.md lists where the two engines may differ, why, and that no such query is made.
"""

import argparse
import multiprocessing
import os
import sys
import time

import check
import pipelines
import plant
import report
import shrink

# So many failures are made smaller; a fault that shows everywhere would keep the run for hours.
SHRUNK_MOST = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", required=True, help="the built tidemill")
    parser.add_argument("--queries", type=int, default=2000, help="how many; 20 make a pipeline")
    parser.add_argument("--seed", type=int, default=1, help="of the first pipeline")
    parser.add_argument("--kinds", default="", help=f"only these, with commas: {' '.join(pipelines.KINDS)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="pipelines at a time")
    parser.add_argument("--shrink", type=int, default=60, help="seconds for making a failure smaller")
    parser.add_argument("--plant", action="store_true", help="plant a fault in each query and expect that it is found")
    args = parser.parse_args()
    args.kinds = [kind for kind in args.kinds.split(",") if kind]
    seeds = range(args.seed, args.seed + -(-args.queries // pipelines.QUERIES))
    if args.plant:
        sys.exit(planted(args, seeds))
    sys.exit(compared(args, seeds))


def compared(args, seeds):
    began, passed, failed = time.monotonic(), 0, 0
    shrinking = multiprocessing.Value("i", SHRUNK_MOST)
    with multiprocessing.Pool(args.jobs, begin, (args, shrinking)) as pool:
        for count, texts in pool.imap_unordered(one, seeds):
            passed += count - len(texts)
            failed += len(texts)
            for text in texts:
                print(text, flush=True)
    print(f"differential: {passed} passed, {failed} failed in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def begin(args, shrinking):
    one.args, one.shrinking = args, shrinking


def one(seed):
    """How many queries the pipeline of this seed has, and a text for each that fails."""
    args = one.args
    pipeline = pipelines.make(seed, args.kinds)
    texts, places = [], set()
    for shards in check.SHARDS:
        for failure in check.failures(args.program, pipeline, shards):
            if failure.place not in places:
                places.add(failure.place)
                texts.append(told(args, pipeline, failure))
    return pipeline.count(), texts


def told(args, pipeline, failure):
    with one.shrinking.get_lock():
        one.shrinking.value -= 1
        may = one.shrinking.value >= 0
    if may and args.shrink:
        small, failure = shrink.Shrinker(args.program, failure, args.shrink).shrunk(pipeline)
        return report.text(small, failure, "the smallest pipeline found that shows it")
    small = pipelines.Pipeline(pipeline.seed, pipeline.data, [pipeline.cases[failure.place]])
    return report.text(small, failure, "not made smaller: run its seed alone")


def planted(args, seeds):
    """Every planted fault is found, and one is made as small as it can be."""
    missed, count = 0, 0
    for seed in seeds:
        pipeline = pipelines.make(seed, args.kinds)
        found = {failure.place for failure in check.failures(args.program, pipeline, 1, plant.one_in_each)}
        count += len(pipeline.cases)
        for place, case in enumerate(pipeline.cases):
            if place not in found:
                missed += 1
                print(f"seed {seed}: a fault in a query of kind {case.kind} was not found: {case.queries('q')[-1].sql}")
    pipeline = pipelines.make(args.seed, ["rows"])
    failure = check.failures(args.program, pipeline, 1, plant.every_seventh)[0]
    small, failure = shrink.Shrinker(args.program, failure, args.shrink, plant.every_seventh).shrunk(pipeline)
    size = sum(len(stream.rows) for stream in small.data.streams.values())
    parts = small.cases[0].parts
    if len(small.cases) > 1 or size > 2 or len(parts["columns"]) > 1 or parts["where"] is not None:
        missed += 1
        print("a planted fault was not made small:")
        print(report.text(small, failure, "what became of it"))
    print(f"differential: {count} faults planted, {missed} of them not found")
    return 1 if missed else 0


if __name__ == "__main__":
    main()
