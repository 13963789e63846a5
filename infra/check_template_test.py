#!/usr/bin/env python3
"""Each weakening of the template is found: edits it as text, and expects the checks to object."""

import unittest
from pathlib import Path

from check_template import CHECKS, Template

TEXT = Path(__file__).with_name("template.yaml").read_text()

# (what somebody might write, in place of what, what must be said)
EDITS = [
    ("ParallelizationFactor: 10", "ParallelizationFactor: 1", "ParallelizationFactor"),
    ("MaximumRetryAttempts: 3", "MaximumRetryAttempts: -1", "MaximumRetryAttempts"),
    ("MaximumRecordAgeInSeconds: 3600", "MaximumRecordAgeInSeconds: -1", "MaximumRecordAgeInSeconds"),
    ("BisectBatchOnFunctionError: false", "BisectBatchOnFunctionError: true", "BisectBatch"),
    ("FunctionResponseTypes: []", "FunctionResponseTypes: [ReportBatchItemFailures]", "FunctionResponseTypes"),
    ("StartingPosition: LATEST\n            BatchSize", "StartingPosition: !Ref StartingPosition\n            BatchSize", "StartingPosition"),
    ("TIDEMILL_STARTING_POSITION: LATEST", "TIDEMILL_STARTING_POSITION: !Ref StartingPosition", "TIDEMILL_STARTING"),
    ("Topics: [x]\n            MaximumRetryAttempts: 1", "Topics: [!Ref KafkaTopic]", "the Kafka mapping must not"),
    ("ReservedConcurrentExecutions: 50", "ReservedConcurrentExecutions: !Ref AdvanceConcurrency", "Reserved"),
    ("AllowedValues: [1, 2, 3]", "AllowedValues: [1, 2]", "AdvanceConcurrency must be"),
    ("Schedule: rate(1 hour)", "Schedule: rate(1 minute)", "rate(1 minute)"),
    ("BillingMode: PROVISIONED", "BillingMode: PAY_PER_REQUEST", "BillingMode"),
    ("AttributeName: ttl, Enabled", "AttributeName: expires_at, Enabled", "TimeToLive"),
    ("expires_at, Enabled: false", "expires_at, Enabled: true", "TimeToLive"),
    ("PointInTimeRecoveryEnabled: false", "PointInTimeRecoveryEnabled: true", "point-in-time"),
    ("SSEEnabled: false", "SSEEnabled: true", "needs encryption"),
    ("SqsManagedSseEnabled: false", "SqsManagedSseEnabled: true", "needs encryption"),
    ("", "      StreamEncryption: {EncryptionType: KMS, KeyId: alias/aws/kinesis}\n", "needs encryption"),
    ("    DeletionPolicy: Delete\n", "    DeletionPolicy: Retain\n", "DeletionPolicy"),
    ("", "    UpdateReplacePolicy: Retain\n", "UpdateReplacePolicy"),
    ("Role: !GetAtt AdvanceRole.Arn", "Role: !GetAtt KinesisRole.Arn", "role of its own"),
    ("", "      Role: !GetAtt KafkaRole.Arn\n", "role of its own"),
    (
        'ManagedPolicyArns: ["arn:aws:iam::aws:policy/AmazonKinesisFullAccess"]',
        "ManagedPolicyArns: [!Ref StatePolicy]",
        "policy of AWS's",
    ),
    ("- dynamodb:*\n", "- dynamodb:Query\n", "dynamodb:*"),
    ("- dynamodb:DeleteItem\n", "- dynamodb:Query\n", "only time does"),
    ("- dynamodb:UpdateItem\n", "- dynamodb:Query\n", "only advance updates"),
    ('"sqs:Send*"', '"sqs:SendMessage"', "sqs:Send*"),
    ('Resource: "*"', "Resource: !GetAtt StateTable.Arn", "for all resources"),
    ('Resource: "*"', "Resource: !GetAtt KinesisLogGroup.Arn", "for all resources"),
    ('Resource: !Sub "arn:${AWS::Partition}:sqs:${AWS::Region}:x:*"', "Resource: !GetAtt DeadLetterQueue.Arn", "too much"),
    ('Action: "kms:*"', 'Action: "kms:Decrypt"', "kms:*"),
    ("", "      RetentionInDays: !Ref LogRetentionDays\n", "for ever"),
    ("LoggingConfig: {LogGroup: mine}", "LoggingConfig: {LogGroup: !Ref AdvanceLogGroup}", "log group"),
    ("MetricName: Duration", "MetricName: IteratorAge", "no alarm watches IteratorAge"),
    ("MetricName: Records", "MetricName: KeyConflicts", "no alarm watches KeyConflicts"),
    ("TreatMissingData: missing", "TreatMissingData: breaching", "missing data"),
    ("MetricName: TickCount", "MetricName: Ticks", "no function publishes the metric TickCount"),
    ('["Tidemill", "Lateness"', '["Tidemill", "Late"', "no function publishes the metric Lateness"),
]


class Weakened(unittest.TestCase):
    def test_as_it_is_nothing_is_wrong(self):
        self.assertEqual(faults(TEXT), [])

    def test_each_edit_is_found(self):
        for new, old, said in EDITS:
            with self.subTest(edit=f"{old.strip()} -> {new.strip()}"):
                self.assertIn(old, TEXT, "the template no longer has what this edit replaces")
                # Each place alone: one weakened table among several must be found too.
                for place in range(TEXT.count(old)):
                    found = faults(replace(TEXT, old, new, place))
                    self.assertTrue(any(said in fault for fault in found), f"place {place}: {found}")


def replace(text, old, new, place):
    parts = text.split(old)
    return old.join(parts[: place + 1]) + new + old.join(parts[place + 1 :])


def faults(text):
    template = Template(text)
    return [fault for check in CHECKS for fault in check(template)]


if __name__ == "__main__":
    unittest.main()
