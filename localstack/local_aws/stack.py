"""The example's stack on a local AWS, deployed by `infra/deploy` from the real template."""

import os
import subprocess
from pathlib import Path

import boto3

from .folders import EXAMPLE, REPOSITORY
from .packages import architecture
from .server import LocalAws

BUCKET = "packages"


class Stack:
    def __init__(self, aws: LocalAws, name: str):
        self.aws = aws
        self.name = name
        self.variables = os.environ | aws.client_variables()
        self._session = boto3.session.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name=aws.region
        )
        self._outputs: dict[str, str] = {}

    def client(self, service: str):
        return self._session.client(service, endpoint_url=self.aws.url)

    def deploy(self, packages: Path, **parameters: str) -> str:
        """Creates the stack; answers what sam said. Raises with that, if it fails."""
        self.client("s3").create_bucket(Bucket=BUCKET)
        deployed = subprocess.run(
            [REPOSITORY / "infra/deploy", *[f"{name}={value}" for name, value in parameters.items()]],
            env=self.variables
            | {
                "PIPELINE": str(EXAMPLE),
                "STACK": self.name,
                "ARCH": architecture(),
                "BUCKET": BUCKET,
                "PACKAGES": str(packages),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if deployed.returncode != 0:
            raise RuntimeError(f"the stack cannot be deployed\n{deployed.stdout}")
        return deployed.stdout

    def status(self) -> str | None:
        """As CloudFormation calls it; None without a stack."""
        cloudformation = self.client("cloudformation")
        try:
            return cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"]
        except cloudformation.exceptions.ClientError:
            return None

    def output(self, key: str) -> str:
        if not self._outputs:
            stack = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
            self._outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
        return self._outputs[key]

    def results(self) -> list[dict]:
        """All items of the results table, in DynamoDB's own notation."""
        pages = self.client("dynamodb").get_paginator("scan").paginate(
            TableName=self.output("ResultsTable"), ConsistentRead=True
        )
        return [item for page in pages for item in page["Items"]]

    def delete(self) -> None:
        """Deletes the stack; what holds data stays, as on AWS."""
        cloudformation = self.client("cloudformation")
        cloudformation.delete_stack(StackName=self.name)
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )

    def delete_with_data(self) -> None:
        kept = [self.output(key) for key in ("StateTable", "ResultsTable", "DeadLetterQueueUrl", "StreamName")]
        self.delete()
        for table in kept[:2]:
            self.client("dynamodb").delete_table(TableName=table)
        self.client("sqs").delete_queue(QueueUrl=kept[2])
        self.client("kinesis").delete_stream(StreamName=kept[3])
