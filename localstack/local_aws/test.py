"""Does the template work as a whole? Deploys the ad campaigns to a local AWS of its own, feeds it,
and compares what comes out with what the events say.

Each step is a function of `Story` whose docstring says what must hold; the first that fails ends
the test, with the logs. Not here: what mappings do when functions fail, which LocalStack does not do
as AWS does (tests/end_to_end).
"""

import collections
import shutil
import signal
import socket
import sys
import time
import traceback

from . import feed, packages, results
from .expected import Expected, first_records
from .folders import TEST
from .server import LocalAws, end_of
from .stack import Stack

STACK = "ad-campaigns-test"
# Poison records of each kind are among them. The Kinesis emulator takes about 400 a second.
RECORDS = 8_000
PUT_SECONDS_MAX = 150
# An advance may be missed, the last windows wait for a minute of silence, and this may be slow.
RESULTS_SECONDS_MAX = 240
# An advance ends, and says what it did, shortly before the next.
LOGS_SECONDS_MAX = 90


class Story:
    """The steps, in order, and what they know of one another."""

    def __init__(self, aws: LocalAws):
        self.aws = aws
        self.stack = Stack(aws, STACK)
        self.records = first_records(RECORDS)
        self.expected = Expected(self.records)
        self.dead_letters: collections.Counter = collections.Counter()

    def steps(self):
        return [
            self.starts, self.deploys, self.maps, self.protects, self.feeds, self.emits,
            self.sets_aside, self.logs, self.succeeds, self.deploys_again, self.deletes, self.keeps, self.stops,
        ]  # fmt: skip

    def starts(self):
        """the local AWS starts"""
        self.aws.start()

    def deploys(self):
        """the stack is created from the real template"""
        self.stack.deploy(packages.of_development_build(TEST.packages), CreateStream="true")
        _equal(self.stack.status(), "CREATE_COMPLETE")

    def maps(self):
        """the mapping and the schedule are as the template says"""
        mappings = self.stack.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        _equal(len(mappings), 1)
        for name, value in {
            "ParallelizationFactor": 1,
            "MaximumRetryAttempts": -1,
            "MaximumRecordAgeInSeconds": -1,
            "BisectBatchOnFunctionError": True,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "StartingPosition": "TRIM_HORIZON",
            "State": "Enabled",
        }.items():
            _equal(mappings[0].get(name), value, name)
        rules = self.stack.client("events").list_rules()["Rules"]
        _equal([(rule["ScheduleExpression"], rule["State"]) for rule in rules], [("rate(1 minute)", "ENABLED")])

    def protects(self):
        """the state table has its keys and its expiry"""
        dynamodb, table = self.stack.client("dynamodb"), self.stack.output("StateTable")
        keys = dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
        _equal([key["AttributeName"] for key in keys], ["pk", "sk"])
        expiry = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        _equal(expiry, {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"})

    def feeds(self):
        """`tidemill put` puts every record into the stream"""
        events = TEST.root / "events.jsonl"
        events.write_text("".join(self.records))
        said = feed.wait(feed.start(self.stack, events), PUT_SECONDS_MAX)
        count = f"{self.expected.records:,}"
        assert count in said, f"`{count}` is not in what it said:\n{said}"

    def emits(self):
        """mapping and schedule fire: the results are what the events say"""
        deadline = time.monotonic() + RESULTS_SECONDS_MAX
        found: dict = {}
        while len(found) < len(self.expected.views) and time.monotonic() < deadline:
            time.sleep(2)
            found = results.views(self.stack)
            results.take_dead_letters(self.stack, self.dead_letters)
        wrong = {
            key: (found.get(key), self.expected.views.get(key))
            for key in found.keys() | self.expected.views.keys()
            if found.get(key) != self.expected.views.get(key)
        }
        assert not wrong, f"{len(wrong)} results are wrong; (found, expected) of some: {list(wrong.items())[:5]}"

    def sets_aside(self):
        """every poison record is in the dead-letter queue, with its reason"""
        results.take_dead_letters(self.stack, self.dead_letters)
        _equal(dict(self.dead_letters), dict(self.expected.dead_letters))

    def logs(self):
        """each function has written lines and metrics into its log group"""
        logs = self.stack.client("logs")
        for output in ("KinesisFunction", "AdvanceFunction"):
            group = f"/aws/lambda/{self.stack.output(output)}"
            deadline = time.monotonic() + LOGS_SECONDS_MAX
            while not logs.filter_log_events(logGroupName=group, filterPattern='"CloudWatchMetrics"')["events"]:
                assert time.monotonic() < deadline, f"no metrics in {group}"
                time.sleep(2)

    def succeeds(self):
        """no function has failed"""
        failures = [
            line
            for log in sorted(TEST.function_logs.iterdir())
            for line in log.read_text(errors="replace").splitlines()
            if '"level":"ERROR"' in line
        ]
        _equal(failures, [])

    def deploys_again(self):
        """deploying the same again changes nothing"""
        before = len(self._resource_events())
        self.stack.deploy(TEST.packages, CreateStream="true")
        _equal(self._resource_events()[before:], [])

    def _resource_events(self):
        """What happened to the stack's resources, the oldest first."""
        pages = self.stack.client("cloudformation").get_paginator("describe_stack_events")
        events = [event for page in pages.paginate(StackName=STACK) for event in page["StackEvents"]]
        return [
            (event["LogicalResourceId"], event["ResourceStatus"])
            for event in reversed(events)
            if event["LogicalResourceId"] != STACK
        ]

    def deletes(self):
        """the stack is deleted, with functions, mapping and schedule"""
        self.kept = [self.stack.output(key) for key in ("StateTable", "ResultsTable")]
        self.stack.delete()
        aws_lambda = self.stack.client("lambda")
        _equal(aws_lambda.list_functions()["Functions"], [])
        _equal(aws_lambda.list_event_source_mappings()["EventSourceMappings"], [])
        _equal(self.stack.client("events").list_rules()["Rules"], [])

    def keeps(self):
        """the tables outlive their stack"""
        _equal(sorted(self.stack.client("dynamodb").list_tables()["TableNames"]), sorted(self.kept))

    def stops(self):
        """nothing of it runs on"""
        self.aws.stop()
        _equal(self.aws.processes(), [])


def run() -> int:
    # A test that is told to end cleans up too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    aws = LocalAws(TEST, _free_port())
    # Of a test that was killed.
    aws.stop()
    shutil.rmtree(TEST.root, ignore_errors=True)
    story = Story(aws)
    passed, failed = 0, 0
    try:
        for step in story.steps():
            began = time.monotonic()
            try:
                step()
            except Exception:
                failed = 1
                print(f"FAILED  {step.__doc__}", flush=True)
                traceback.print_exc(file=sys.stdout)
                _show_logs(aws)
                break
            passed += 1
            print(f"ok  {step.__doc__}  ({time.monotonic() - began:.1f} s)", flush=True)
    finally:
        aws.stop()
    print(f"{passed} passed, {failed} failed")
    return failed


def _show_logs(aws: LocalAws) -> None:
    print(aws.log_end(lines=80))
    if TEST.function_logs.exists():
        for log in sorted(TEST.function_logs.iterdir()):
            print(end_of(log, lines=40))


def _equal(found, expected, what: str = "") -> None:
    assert found == expected, f"{what} is {found!r}, expected {expected!r}".strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
