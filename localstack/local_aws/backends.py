"""Puts the installed emulators where LocalStack looks for its own, so that it downloads nothing."""

import shutil
import subprocess
from pathlib import Path

from . import agent_jar
from .folders import CACHE, State

DYNAMODB_LOCAL = "dynamodb-local-1.25.1"
KINESIS_VERSION = "0.6.2"


def prepare(state: State) -> None:
    libraries = state.files / "var/lib/localstack/lib"
    # The emulator's own folder is only read; it gets a neighbour, so it is linked file by file.
    dynamodb = libraries / "dynamodb-local/2"
    dynamodb.mkdir(parents=True, exist_ok=True)
    for file in (CACHE / DYNAMODB_LOCAL).iterdir():
        _link(dynamodb / file.name, file)
    agent_jar.write(dynamodb / "ddb-local-loader-0.1.jar")
    _link(libraries / "java/21", java_home())
    _link(
        libraries / f"kinesis-local/{KINESIS_VERSION}/node_modules/kinesis-local",
        CACHE / f"kinesis-local-{KINESIS_VERSION}",
    )


def java_home() -> Path:
    """The home of the Java on the PATH. LocalStack asks for 21; DynamoDB Local runs on 17."""
    settings = subprocess.run(
        ["java", "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=True
    )
    for line in settings.stderr.splitlines():
        name, _, value = line.strip().partition(" = ")
        if name == "java.home":
            return Path(value)
    raise RuntimeError(f"java does not say where its home is: {shutil.which('java')}")


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)
