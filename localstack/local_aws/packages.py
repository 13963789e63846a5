"""Packages of the functions for a local AWS: the binaries of the last development build, without
their debugging symbols, each with the example's pipeline."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .folders import BINARIES, EXAMPLE, REPOSITORY

FUNCTIONS = ("kinesis", "kafka", "advance")


def of_development_build(folder: Path) -> Path:
    """Makes them in `folder`."""
    for function in FUNCTIONS:
        name = f"tidemill-{function}"
        binary = BINARIES / name
        if not binary.exists():
            raise RuntimeError(f"there is no {binary}; build it: make binaries")
        stripped = folder / name
        shutil.copy(binary, stripped)
        subprocess.run(["strip", stripped], check=True)
        _package(stripped, folder / f"{name}.zip")
        os.remove(stripped)
    return folder


def of_release_build() -> Path:
    """The folder of those that `make build-lambda` made: in containers only they run for certain."""
    folder = REPOSITORY / "target/lambda"
    missing = [name for name in FUNCTIONS if not (folder / f"tidemill-{name}.zip").exists()]
    if missing:
        raise RuntimeError(f"packages are missing in {folder}; build them: make build-lambda ARCH={architecture()}")
    return folder


def architecture() -> str:
    """This machine's, as Lambda calls it."""
    return "arm64" if os.uname().machine in ("arm64", "aarch64") else "x86_64"


def _package(binary: Path, archive: Path) -> None:
    script = REPOSITORY / "infra/package.py"
    # Development binaries are large, and go no further than this machine.
    command = [sys.executable, script, binary, EXAMPLE, archive, "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
