"""What LocalStack calls: an executor per execution environment of a function version."""

import os
import time
from pathlib import Path

from localstack import config
from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import (
    LambdaRuntimeException,
    RuntimeExecutor,
)

from .environment import Environment, StartFailed
from .runtime_api import Answer, Invocation, error

# A folder that gets a file per function with all it has written.
LOG_FOLDER = os.environ.get("TIDEMILL_FUNCTION_LOGS")


class ProcessExecutor(RuntimeExecutor):
    """Keeps one environment, and makes a new one where the last has ended."""

    def __init__(self, id, function_version):
        super().__init__(id, function_version)
        self._environment: Environment | None = None
        self._variables: dict[str, str] = {}
        self._fresh = False

    @classmethod
    def prepare_version(cls, function_version):
        runtime = function_version.config.runtime or ""
        if not runtime.startswith("provided"):
            raise LambdaRuntimeException(f"functions run as processes need a provided runtime, not {runtime}")
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version):
        pass

    def start(self, env_vars):
        self._variables = {name: str(value) for name, value in env_vars.items()}
        self._start()

    def stop(self):
        if self._environment:
            self._environment.end()

    def get_address(self):
        return "127.0.0.1"

    def get_endpoint_from_executor(self):
        return "127.0.0.1"

    def get_runtime_endpoint(self):
        return f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}/_localstack_lambda/{self.id}"

    def get_logs(self):
        return "\n".join(self._environment.take_output()) if self._environment else ""

    def invoke(self, payload):
        request_id = payload["invoke-id"]
        if not self._environment.alive():
            self._environment.end()
            self._start()
        timeout = self.function_version.config.timeout
        invocation = Invocation(
            request_id,
            {
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout) * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": payload["invoked-function-arn"],
                "Lambda-Runtime-Trace-Id": payload.get("trace-id") or "",
            },
            payload["payload"].encode(),
        )
        began = time.monotonic()
        answer = self._environment.invoke(invocation, timeout)
        return InvocationResult(
            request_id=request_id,
            payload=answer.body,
            is_error=answer.is_error,
            logs=self._logs(request_id, answer, (time.monotonic() - began) * 1000),
        )

    def _start(self):
        code = Path(self.function_version.config.code.get_unzipped_code_location())
        if not (code / "bootstrap").is_file():
            raise _start_error(error("Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s)"))
        log = Path(LOG_FOLDER, f"{self.function_version.id.function_name}.log") if LOG_FOLDER else None
        try:
            self._environment = Environment(code, self._variables, log)
        except StartFailed as failed:
            raise _start_error(failed.answer) from failed
        self._fresh = True

    def _logs(self, request_id: str, answer: Answer, duration_ms: float) -> str:
        """What CloudWatch Logs shows of an invocation."""
        config_of = self.function_version.config
        report = (
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms"
            f"\tBilled Duration: {int(duration_ms) + 1} ms\tMemory Size: {config_of.memory_size} MB"
            f"\tMax Memory Used: {self._environment.peak_mb()} MB"
        )
        if self._fresh:
            report += f"\tInit Duration: {self._environment.start_ms:.2f} ms"
            self._fresh = False
        lines = [f"START RequestId: {request_id} Version: {self.function_version.id.qualifier}"]
        lines += self._environment.take_output()
        if answer.is_error:
            lines.append(answer.body.decode("utf-8", "replace"))
        return "\n".join([*lines, f"END RequestId: {request_id}", report]) + "\n"


def _start_error(answer: Answer) -> StatusErrorException:
    return StatusErrorException("the execution environment did not start", payload=answer.body)


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    """Found by LocalStack under the name that LAMBDA_RUNTIME_EXECUTOR gives."""

    name = "process"

    def load(self, *args, **kwargs):
        return ProcessExecutor
