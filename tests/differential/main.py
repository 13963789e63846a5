"""Random queries over random data run through the built program and through DuckDB, and are compared.

    main.py --program target/debug/tidemill --queries 2000 --seed 1     exit status 1 if any differ
    main.py --program target/debug/tidemill --plant                     exit status 1 if a planted one is not found

A pipeline has 20 queries and is made from its seed alone: the first from --seed, the next from the seed
after it. A failure prints the smallest pipeline and input that shows it, and its seed.

    data.py           random rows                        program.py   runs the program
    nodes.py          expressions as trees               duck.py      runs DuckDB
    expressions.py    random expressions                 compare.py   compares rows
    predicates.py     those that are true or false       check.py     runs a pipeline and judges it
    aggregates.py     random aggregates                  shrink.py    makes a failing pipeline smaller
    *_cases.py        random queries, in both dialects   plant.py     faults that must be found
    exact.py          decimals, in exact arithmetic      report.py    prints a failure
    pipelines.py      pipelines of all kinds

differences.md lists where the two engines may differ, why, and that no such query is made.
"""

import argparse
import collections
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
    parser.add_argument(
        "--plant", action="store_true", help="plant a fault in each query and expect that it is found"
    )
    args = parser.parse_args()
    args.kinds = [kind for kind in args.kinds.split(",") if kind]
    seeds = range(args.seed, args.seed + -(-args.queries // pipelines.QUERIES))
    if args.plant:
        sys.exit(planted(args, seeds))
    sys.exit(compared(args, seeds))


def compared(args, seeds):
    began, queries, found = time.monotonic(), 0, []
    with multiprocessing.Pool(args.jobs, begin, (args,)) as pool:
        for seed, count, failures in pool.imap_unordered(one, seeds):
            queries += count
            found += [(seed, failure) for failure in failures]
            for failure in failures:
                print(
                    f"seed {seed}, query {failure.place}, {failure.shards} shards: {failure.sign}", flush=True
                )
        chosen, others = choose(found)
        for text in pool.imap_unordered(made_small, chosen):
            print(text, flush=True)
    seconds = time.monotonic() - began
    if others:
        print(
            f"not made smaller: {len(others)} more, such as those of seeds {sorted({seed for seed, _ in others})[:20]}"
        )
    print(f"differential: {queries - len(found)} passed, {len(found)} failed in {seconds:.0f} s")
    return 1 if found else 0


def begin(args):
    """In each worker, before its first pipeline."""
    one.args = args


def one(seed):
    """The seed, how many queries its pipeline has, and the first failure of each query that fails."""
    pipeline = pipelines.make(seed, one.args.kinds)
    found = {}
    for shards in check.SHARDS:
        for failure in check.failures(one.args.program, pipeline, shards):
            found.setdefault(failure.place, failure)
    return seed, pipeline.count(), list(found.values())


def choose(found):
    """Those that are made smaller: at first one of each kind of failure, then more of them."""
    ranks, seen = [], collections.Counter()
    for seed, failure in sorted(found, key=lambda pair: pair[0]):
        kind = (failure.sign, failure.kind)
        ranks.append((seen[kind], seed, failure))
        seen[kind] += 1
    ranks.sort(key=lambda rank: rank[:2])
    pairs = [(seed, failure) for _, seed, failure in ranks]
    return pairs[:SHRUNK_MOST], pairs[SHRUNK_MOST:]


def made_small(pair):
    seed, failure = pair
    args = one.args
    small, failure = shrink.Shrinker(args.program, failure, args.shrink).shrunk(
        pipelines.make(seed, args.kinds)
    )
    return report.text(small, failure, "the smallest pipeline found that shows it")


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
                print(
                    f"seed {seed}: a fault in a query of kind {case.kind} was not found: {case.queries('q')[-1].sql}"
                )
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
