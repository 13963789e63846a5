#!/usr/bin/env python3
"""Fails where the template no longer protects data, or gives a function more than it needs.

    infra/check_template.py [TEMPLATE]

The linters say whether CloudFormation takes a template; this says whether it is still ours. Each
check is a function; all run, and every fault is shown.
"""

import re
import sys
from pathlib import Path

import yaml

# Actions for which AWS has no resource-level permission. They need all resources, and a condition.
READS_OF_ALL_RESOURCES = {
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
}
# Kinds of resources whose names nobody knows before they exist, or that are chosen by a condition.
OPEN_NAMES = ("network-interface/*", "security-group/*", "subnet/*")
TELEMETRY = Path(__file__).parents[1] / "shared/lambda/src/telemetry/metrics.rs"


class Template:
    def __init__(self, text):
        self.content = yaml.load(text, Loader=_Loader)
        self.resources = self.content["Resources"]

    def of_type(self, kind):
        return {name: it for name, it in self.resources.items() if it["Type"] == kind}

    def properties(self, name):
        return self.resources.get(name, {}).get("Properties", {})

    def functions(self):
        return self.of_type("AWS::Serverless::Function")

    def statements(self):
        """(where, statement) of every policy; both branches of a condition."""
        for name, resource in self.resources.items():
            properties = resource.get("Properties", {})
            for document in _documents(properties):
                for statement in document["Statement"]:
                    for branch in _branches(statement):
                        yield f"{name}, statement {branch.get('Sid')}", branch


def kinesis_mapping(template):
    """One batch of a shard at a time, and none is ever skipped."""
    must = {
        "ParallelizationFactor": 1,
        "BisectBatchOnFunctionError": True,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "MaximumRetryAttempts": -1,
        "MaximumRecordAgeInSeconds": -1,
        "StartingPosition": {"Ref": "StartingPosition"},
    }
    mapping = template.properties("KinesisFunction")["Events"]["Records"]["Properties"]
    for name, value in must.items():
        if mapping.get(name) != value:
            yield f"the Kinesis mapping needs {name}: {value}, has {mapping.get(name)}"
    yield from _must_not_have(mapping, "the Kinesis mapping", "TumblingWindowInSeconds", "FilterCriteria")


def kafka_mapping(template):
    mapping = template.properties("KafkaFunction")["Events"]["Records"]["Properties"]
    if mapping.get("StartingPosition") != {"Ref": "StartingPosition"}:
        yield "the Kafka mapping needs StartingPosition: !Ref StartingPosition"
    yield from _must_not_have(
        mapping, "the Kafka mapping", "MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "FilterCriteria"
    )


def starting_position(template):
    """The functions must believe what the mappings do."""
    variables = template.content["Globals"]["Function"]["Environment"]["Variables"]
    if variables.get("TIDEMILL_STARTING_POSITION") != {"Ref": "StartingPosition"}:
        yield "the functions need TIDEMILL_STARTING_POSITION: !Ref StartingPosition, as the mappings have"


def advance(template):
    properties = template.properties("AdvanceFunction")
    concurrency = properties.get("ReservedConcurrentExecutions")
    if concurrency != {"Ref": "AdvanceConcurrency"}:
        yield f"advance needs ReservedConcurrentExecutions: !Ref AdvanceConcurrency, has {concurrency}"
    allowed = template.content["Parameters"].get("AdvanceConcurrency", {}).get("AllowedValues")
    if allowed != [1, 2]:
        yield f"AdvanceConcurrency must be 1 or 2, not one of {allowed}"
    schedules = [event for event in properties["Events"].values() if event["Type"] == "Schedule"]
    if [event["Properties"].get("Schedule") for event in schedules] != ["rate(1 minute)"]:
        yield "advance needs one EventBridge rule, rate(1 minute)"


def state_table(template):
    properties = template.properties("StateTable")
    must = {
        "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    }
    for name, value in must.items():
        if properties.get(name) != value:
            yield f"the state table needs {name}: {value}, has {properties.get(name)}"


def tables(template):
    for name, table in template.of_type("AWS::DynamoDB::Table").items():
        properties = table["Properties"]
        if properties.get("BillingMode") != "PAY_PER_REQUEST":
            yield f"{name} needs BillingMode: PAY_PER_REQUEST"
        if properties.get("PointInTimeRecoverySpecification") != {"PointInTimeRecoveryEnabled": True}:
            yield f"{name} needs point-in-time recovery"
        if properties.get("SSESpecification") != {"SSEEnabled": True}:
            yield f"{name} needs encryption"


def kept(template):
    """What holds data outlives the stack."""
    for kind in ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Kinesis::Stream"):
        for name, resource in template.of_type(kind).items():
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                if resource.get(policy) != "Retain":
                    yield f"{name} needs {policy}: Retain"


def encryption(template):
    for name, queue in template.of_type("AWS::SQS::Queue").items():
        if queue["Properties"].get("SqsManagedSseEnabled") is not True:
            yield f"{name} needs encryption"
    for name, stream in template.of_type("AWS::Kinesis::Stream").items():
        if "StreamEncryption" not in stream["Properties"]:
            yield f"{name} needs encryption"


def roles(template):
    """A role of its own for each function, and nothing for all."""
    own = [str(function["Properties"].get("Role")) for function in template.functions().values()]
    if len(set(own)) != len(own) or "None" in own:
        yield "each function needs a role of its own; without one SAM adds AWS's policies for all resources"
    for name, function in template.functions().items():
        yield from _must_not_have(function["Properties"], name, "Policies")
    for name, role in template.of_type("AWS::IAM::Role").items():
        for policy in role["Properties"].get("ManagedPolicyArns", []):
            if "arn:aws" in str(policy) or "policy/" in str(policy):
                yield f"{name} has a policy of AWS's: {policy}"


def permissions(template):
    found = 0
    for where, statement in template.statements():
        found += 1
        if statement.get("Effect") != "Allow":
            continue
        if {"NotAction", "NotResource", "NotPrincipal"} & statement.keys():
            yield f"{where}: all but something is too much"
        actions = _list(statement.get("Action"))
        for action in actions:
            if "*" in str(action):
                yield f"{where}: the action {action} is too much"
        for resource in _list(statement.get("Resource")):
            if resource == "*":
                if not set(actions) <= READS_OF_ALL_RESOURCES or "Condition" not in statement:
                    yield f"{where}: {', '.join(actions)} for all resources is too much"
            elif "*" in str(resource) and not str(resource.get("Fn::Sub", "")).endswith(OPEN_NAMES):
                yield f"{where}: the resource {resource} is too much"
        if "dynamodb:DeleteItem" in actions or "dynamodb:DeleteTable" in actions:
            yield f"{where}: nothing deletes items, only time does"
        if "dynamodb:UpdateItem" in actions and not where.startswith("AdvanceRole"):
            yield f"{where}: only advance updates items, to say when they may go"
    if found < 10:
        yield f"only {found} statements were found: has the form of policies changed?"


def logs(template):
    groups = template.of_type("AWS::Logs::LogGroup")
    for name, group in groups.items():
        if "RetentionInDays" not in group["Properties"]:
            yield f"{name} keeps logs for ever"
    for name, function in template.functions().items():
        group = function["Properties"].get("LoggingConfig", {}).get("LogGroup")
        if group not in [{"Ref": own} for own in groups]:
            yield f"{name} needs a log group of this template"


def alarms(template):
    """Each of these is watched, in a metric that exists."""
    must = {
        "Ticks", "Behind", "BatchesStuck", "BatchesFailed", "DeadLetters",
        "KeyConflicts", "IteratorAge", "OffsetLag", "Errors", "Throttles", "WriteThrottleEvents",
    }  # fmt: skip
    watched = set()
    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        text = str(alarm)
        watched |= set(re.findall(r"'MetricName': '(\w+)'", text))
    for name in sorted(must - watched):
        yield f"no alarm watches {name}"
    if template.properties("AdvanceAlarm").get("TreatMissingData") != "breaching":
        yield "AdvanceAlarm must take missing data for a fault: an advance that does not run says nothing"
    for name in template.functions():
        for metric in ("Errors", "Throttles"):
            alarm = [
                it for it in template.of_type("AWS::CloudWatch::Alarm").values()
                if it["Properties"].get("MetricName") == metric and f"'Ref': '{name}'" in str(it)
            ]  # fmt: skip
            if not alarm:
                yield f"no alarm watches {metric} of {name}"


def own_metrics(template):
    """Alarms and dashboard name only metrics that the functions publish."""
    published = set(re.findall(r'Metric::new\("(\w+)"', TELEMETRY.read_text()))
    if not published:
        yield f"no metrics found in {TELEMETRY}"
    body = template.properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    used = set(re.findall(r'\["Tidemill", "(\w+)"', body))
    for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
        properties = alarm["Properties"]
        if properties.get("Namespace") == "Tidemill":
            used.add(properties["MetricName"])
    for name in sorted(used - published):
        yield f"no function publishes the metric {name}"


CHECKS = [
    kinesis_mapping, kafka_mapping, starting_position, advance, state_table, tables, kept,
    encryption, roles, permissions, logs, alarms, own_metrics,
]  # fmt: skip


class _Loader(yaml.SafeLoader):
    """Reads `!Ref x` as `{"Ref": "x"}` and `!Sub x` as `{"Fn::Sub": "x"}`."""


def _tagged(loader, tag, node):
    name = tag if tag in ("Ref", "Condition") else f"Fn::{tag}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _tagged)


def _documents(properties):
    for policy in properties.get("Policies", []):
        for branch in _branches(policy):
            yield branch["PolicyDocument"]
    for name in ("PolicyDocument", "AssumeRolePolicyDocument"):
        if name in properties:
            yield properties[name]


def _branches(item):
    if "Fn::If" in item:
        for branch in item["Fn::If"][1:]:
            yield from _branches(branch)
    elif item != {"Ref": "AWS::NoValue"}:
        yield item


def _list(value):
    if value is None:
        return []
    if isinstance(value, dict) and "Fn::If" in value:
        return [each for branch in value["Fn::If"][1:] for each in _list(branch)]
    return value if isinstance(value, list) else [value]


def _must_not_have(properties, owner, *names):
    for name in names:
        if name in properties:
            yield f"{owner} must not have {name}"


def main(path):
    template = Template(Path(path).read_text())
    faults = [fault for check in CHECKS for fault in check(template)]
    for fault in faults:
        print(f"{path}: {fault}", file=sys.stderr)
    print(f"{path}: {len(CHECKS)} checks, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("template.yaml")))
