"""Feeds a file of events into the stack's stream, with `tidemill put`."""

import subprocess
from pathlib import Path

from .folders import BINARIES
from .stack import Stack

# The Kinesis emulator takes about 400 a second.
RECORDS_PER_SECOND = 400


def start(stack: Stack, events: Path) -> subprocess.Popen:
    """The running producer; what it says is at its standard output."""
    tidemill = BINARIES / "tidemill"
    if not tidemill.exists():
        raise RuntimeError(f"there is no {tidemill}; build it: make binaries")
    command = [
        tidemill, "put", "--stream", stack.output("StreamName"),
        "--file", events, "--rate", str(RECORDS_PER_SECOND),
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        env=stack.variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait(producer: subprocess.Popen, timeout: float) -> str:
    """What it said; raises if it failed."""
    try:
        said, _ = producer.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as late:
        producer.kill()
        raise RuntimeError(f"`tidemill put` takes longer than {timeout} s") from late
    if producer.returncode != 0:
        raise RuntimeError(f"`tidemill put` failed with {producer.returncode}\n{said}")
    return said
