"""`python -m local_aws up|down|demo|test`."""

import os
import sys

from . import demo, test
from .folders import LOCAL
from .server import LocalAws

PORT = int(os.environ.get("LOCAL_PORT") or 4566)


def up() -> None:
    aws = LocalAws(LOCAL, PORT)
    if not aws.answers():
        aws.stop()
        aws.start()
    print(f"a local AWS answers at {aws.url}; to use it:")
    for name, value in aws.client_variables().items():
        print(f"  export {name}={value}")
    print(f"its log: {LOCAL.server_log}" if LOCAL.server_log.exists() else "its log: docker logs tidemill-aws-1")


def down() -> None:
    LocalAws(LOCAL, PORT).stop()


def main() -> int:
    commands = {
        "up": up,
        "down": down,
        "demo": lambda: demo.run(LocalAws(LOCAL, PORT)),
        "test": test.run,
    }
    command = commands.get(sys.argv[1] if len(sys.argv) == 2 else "")
    if command is None:
        print(f"usage: localstack/local-aws {'|'.join(commands)}", file=sys.stderr)
        return 2
    return command() or 0


sys.exit(main())
