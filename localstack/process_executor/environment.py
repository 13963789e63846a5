"""One execution environment: a `bootstrap` process and its Runtime API.

The process runs only while it starts or has work. Between invocations it is stopped (SIGSTOP), as
AWS freezes it: a function that works on in the background is found out here.
"""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from .runtime_api import Answer, Invocation, RuntimeApi, error

# As on AWS.
START_SECONDS_MAX = 10.0
# What the process may have of the surrounding environment, beside what the function is given.
INHERITED = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "TIDEMILL_LOCAL_AWS")
# Output that was written before an answer may be read after it.
OUTPUT_SECONDS = 0.005


class StartFailed(Exception):
    """The process did not get as far as asking for work."""

    def __init__(self, answer: Answer):
        super().__init__(answer.body.decode("utf-8", "replace"))
        self.answer = answer


class Environment:
    """Started by its constructor; `StartFailed` if that does not work."""

    def __init__(self, code: Path, variables: dict[str, str], log: Path | None):
        self._lock = threading.Lock()
        self._waiting = False
        self._frozen = False
        self._lines: list[str] = []
        self._log = log
        self._api = RuntimeApi(on_waiting=self._waits)
        began = time.monotonic()
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        self._process = subprocess.Popen(
            [code / "bootstrap"],
            cwd=code,
            env=inherited
            | variables
            | {"AWS_LAMBDA_RUNTIME_API": self._api.address, "LAMBDA_TASK_ROOT": str(code)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        threading.Thread(target=self._read_output, daemon=True).start()
        threading.Thread(target=self._wait_for_end, daemon=True).start()
        try:
            failure = self._api.started.result(timeout=START_SECONDS_MAX)
        except TimeoutError:
            failure = error("Sandbox.Timedout", f"the start took over {START_SECONDS_MAX} s")
        if failure:
            self.end()
            raise StartFailed(failure)
        self.start_ms = (time.monotonic() - began) * 1000

    def alive(self) -> bool:
        return self._process.poll() is None

    def invoke(self, invocation: Invocation, timeout: float) -> Answer:
        """The function's answer, or the one that the platform gives for it."""
        with self._lock:
            # Before it is thawed, so that a freeze which is due now sees that there is work.
            self._waiting = False
            self._api.put(invocation)
            if self._frozen:
                self._signal(signal.SIGCONT)
                self._frozen = False
        if not self.alive():
            self._api.failed(self._end_answer())
        try:
            return invocation.answer.result(timeout=timeout)
        except TimeoutError:
            self._kill()
            return error(
                "Sandbox.Timedout",
                f"RequestId: {invocation.request_id} Error: Task timed out after {timeout:.2f} seconds",
            )

    def take_output(self) -> list[str]:
        """Lines since the last call."""
        time.sleep(OUTPUT_SECONDS)
        with self._lock:
            lines, self._lines = self._lines, []
        return lines

    def peak_mb(self) -> int:
        """Most memory so far; 0 where the system does not say."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)

    def end(self) -> None:
        self._kill()
        self._api.close()

    def _waits(self) -> None:
        with self._lock:
            self._waiting = True
        threading.Timer(OUTPUT_SECONDS, self._freeze).start()

    def _freeze(self) -> None:
        with self._lock:
            if self._waiting and self._api.idle() and not self._frozen and self.alive():
                self._signal(signal.SIGSTOP)
                self._frozen = True

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        # The process leads a group of its own, so that what it started is reached too.
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _read_output(self) -> None:
        for raw in self._process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            with self._lock:
                self._lines.append(line)
                if self._log:
                    with self._log.open("a") as log:
                        log.write(line + "\n")

    def _wait_for_end(self) -> None:
        self._process.wait()
        self._api.failed(self._end_answer())

    def _end_answer(self) -> Answer:
        code = self._process.poll()
        why = f"signal: {signal.Signals(-code).name}" if code and code < 0 else f"exit status {code}"
        return error("Runtime.ExitError", f"Runtime exited with error: {why}")
