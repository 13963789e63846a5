"""Starts and stops LocalStack as plain processes.

Every process that belongs to a local AWS carries the variable TIDEMILL_LOCAL_AWS with its state
folder, its children included, so that all of them are found again however the first one ended.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import backends
from .folders import State

MARK = "TIDEMILL_LOCAL_AWS"
START_SECONDS_MAX = 90
STOP_SECONDS_MAX = 10
PLUGIN = "tidemill_process_executor-1.dist-info"


class LocalAws:
    """One LocalStack at `http://127.0.0.1:PORT`."""

    def __init__(self, state: State, port: int):
        self.state = state
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.region = "us-east-1"

    def client_variables(self) -> dict[str, str]:
        """What a program needs to use it. The credentials are worth nothing."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def start(self) -> None:
        """Returns when it answers; raises with the end of its log when it does not."""
        self.state.create()
        backends.prepare(self.state)
        _register_plugin(self.state.plugin)
        with self.state.server_log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "localstack.runtime.main"],
                env=self._variables(),
                cwd=self.state.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.answers():
            if process.poll() is not None:
                raise RuntimeError(f"LocalStack ended with {process.returncode}\n{self.log_end()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"LocalStack does not answer\n{self.log_end()}")
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_localstack/health", timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> None:
        """Ends every process of this local AWS: politely, then for certain."""
        deadline = time.monotonic() + STOP_SECONDS_MAX
        for pid in self.processes():
            # A frozen function must run to hear the signal.
            _signal(pid, signal.SIGCONT)
            _signal(pid, signal.SIGTERM)
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        while left := self.processes():
            for pid in left:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.1)

    def log_end(self, lines: int = 60) -> str:
        return end_of(self.state.server_log, lines)

    def _variables(self) -> dict[str, str]:
        return os.environ | {
            MARK: str(self.state.root),
            "FILESYSTEM_ROOT": str(self.state.files),
            "TEMP": str(self.state.scratch),
            "PYTHONPATH": os.pathsep.join([str(self.state.plugin), str(Path(__file__).parents[1])]),
            "GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            # Queue URLs are of this host; others would need a name server.
            "LOCALSTACK_HOST": f"127.0.0.1:{self.port}",
            "SQS_ENDPOINT_STRATEGY": "path",
            "OVERRIDE_IN_DOCKER": "0",
            "DNS_ADDRESS": "0",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DISABLE_EVENTS": "1",
            # The dashboard is not drawn here.
            "CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES": "1",
            "DYNAMODB_IN_MEMORY": "1",
            "KINESIS_MOCK_VERSION": backends.KINESIS_VERSION,
            "KINESIS_PERSISTENCE": "0",
            "LAMBDA_RUNTIME_EXECUTOR": "process",
            "LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC": "0.1",
            "TIDEMILL_FUNCTION_LOGS": str(self.state.function_logs),
        }

    def processes(self) -> list[int]:
        mark = f"{MARK}={self.state.root}"
        return [pid for pid, variables in _all_processes() if mark in variables and pid != os.getpid()]


def end_of(log: Path, lines: int) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join([f"--- {log}", *text.splitlines()[-lines:]])


def _register_plugin(folder: Path) -> None:
    """LocalStack finds plugins by the entry points of installed packages. This is all of a package
    that is needed for that; the code lies in `localstack/process_executor`."""
    package = folder / PLUGIN
    package.mkdir(exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: tidemill-process-executor\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[localstack.lambda.runtime_executor]\n"
        "process = process_executor.plugin:ProcessExecutorPlugin\n"
    )


def _all_processes():
    """(process id, its variables) of the processes that we may look at."""
    if Path("/proc/self/environ").exists():
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    variables = (folder / "environ").read_bytes().decode("utf-8", "replace")
                except OSError:
                    continue
                yield int(folder.name), variables.split("\0")
    else:
        listing = subprocess.run(["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=True)
        for line in listing.stdout.splitlines():
            pid, _, rest = line.strip().partition(" ")
            yield int(pid), rest.split(" ")


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass
