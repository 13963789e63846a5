"""Lets LocalStack run `provided.*` functions as plain processes, without Docker.

LocalStack loads `plugin.ProcessExecutorPlugin` by its entry point and uses it with
LAMBDA_RUNTIME_EXECUTOR=process. Each execution environment is one `bootstrap` process
(`environment`) beside a private Runtime API server (`runtime_api`). As on AWS, the process is
frozen between invocations, killed when it exceeds its timeout, and started anew after a crash.

Not here: the event source mapping and the schedule, which are LocalStack's own.
"""
