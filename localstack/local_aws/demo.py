"""Deploys the ad campaigns, feeds them, and shows results arrive. The stack stays, to look at."""

import collections
import os
import subprocess
import time
from datetime import datetime, timezone

from . import feed, packages, results
from .folders import EVENTS, LOCAL
from .server import LocalAws
from .stack import Stack

STACK = "ad-campaigns"
LOOK_EVERY_SECONDS = 3
# Advance runs every minute; the last windows close when the stream has been silent for a minute.
SILENCE_SECONDS_MAX = 240
WINDOWS = 13


def run(aws: LocalAws) -> int:
    if not aws.answers():
        print("there is no local AWS; first: make local-up")
        return 1
    LOCAL.create()
    stack = Stack(aws, STACK)
    if stack.status():
        print("removing the stack of an earlier demo, with its data")
        stack.delete_with_data()
    print(f"deploying infra/template.yaml as stack {STACK}")
    in_docker = os.environ.get("LOCAL") == "docker"
    zips = packages.of_release_build() if in_docker else packages.of_development_build(LOCAL.packages)
    stack.deploy(zips, CreateStream="true")
    print(f"feeding stream {stack.output('StreamName')} with 20,016 records, at most {feed.RECORDS_PER_SECOND} a second")
    producer = feed.start(stack, EVENTS)
    try:
        _watch(stack, producer)
        # Before that it said how far it was.
        print(feed.wait(producer, timeout=10).strip().splitlines()[-1])
    finally:
        producer.kill()
    _say_how_to_look_further(stack)
    return 0


def _watch(stack: Stack, producer: subprocess.Popen) -> None:
    """Prints each window once it is in the results table, until all are there."""
    print("results arrive in the results table; the first in about a minute")
    shown: set[int] = set()
    before: dict[int, dict[str, int]] = {}
    last_news = time.monotonic()
    while len(shown) < WINDOWS:
        by_window: dict[int, dict[str, int]] = collections.defaultdict(dict)
        for (campaign, start), views in results.views(stack).items():
            by_window[start][campaign] = views
        for start in sorted(by_window.keys() - shown):
            # Its rows are not written all at once; they are all there when none is added.
            if by_window[start] == before.get(start):
                _show(start, by_window[start])
                shown.add(start)
                last_news = time.monotonic()
        before = by_window
        if producer.poll():
            feed.wait(producer, timeout=10)
        if time.monotonic() - last_news > SILENCE_SECONDS_MAX:
            raise RuntimeError(f"no results for {SILENCE_SECONDS_MAX} s; see {LOCAL.function_logs}")
        time.sleep(LOOK_EVERY_SECONDS)
    print(f"all {WINDOWS} windows are there; dead letters in the queue: {results.dead_letter_count(stack)}")


def _show(start: int, window: dict[str, int]) -> None:
    most = max(window, key=lambda campaign: (window[campaign], campaign))
    print(
        f"  {_clock(start)} to {_clock(start + 10_000)}: {len(window):3} campaigns,"
        f" {sum(window.values()):3} views; most: {most}, {window[most]}"
    )


def _say_how_to_look_further(stack: Stack) -> None:
    print("\nto look further:")
    for name, value in stack.aws.client_variables().items():
        print(f"  export {name}={value}")
    print(f"  aws dynamodb scan --table-name {stack.output('ResultsTable')} --max-items 3")
    print(f"  aws sqs receive-message --queue-url {stack.output('DeadLetterQueueUrl')}")
    print(f"  aws logs tail /aws/lambda/{stack.output('AdvanceFunction')}")
    print(f"  what the functions say: {LOCAL.function_logs}")
    print("  make local-down ends it all")


def _clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, timezone.utc).strftime("%H:%M:%S")
