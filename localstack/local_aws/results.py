"""The results table and the dead-letter queue as plain Python values."""

import collections
import json
from datetime import datetime

from .stack import Stack


def views(stack: Stack) -> dict[tuple[str, int], int]:
    """Views by (campaign, start of the window, ms), as `expected.Expected` has them. Two items of
    one campaign and window cannot be: they would have one key."""
    found = {}
    for item in stack.results():
        campaign, start = item["campaign_id"]["S"], _ms(item["window_start"]["S"])
        assert (campaign, start) not in found, f"two results of {campaign} at {start}"
        assert _ms(item["window_end"]["S"]) == start + 10_000, item
        found[campaign, start] = int(item["views"]["N"])
    return found


def take_dead_letters(stack: Stack, into: collections.Counter) -> None:
    """Moves what is in the queue now into a count by reason. Each message is counted once."""
    sqs, queue = stack.client("sqs"), stack.output("DeadLetterQueueUrl")
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            into[json.loads(message["Body"])["reason"]] += 1
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def dead_letter_count(stack: Stack) -> int:
    """Messages in the queue, which stay there."""
    attributes = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.output("DeadLetterQueueUrl"), AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
