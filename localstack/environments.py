"""Makes Python environments in the cache folder. Called by `install`, which checks prerequisites.

What an environment has is in `requirements/NAME.txt`. Its folder is named by that and the Python. A
file in it says that it is complete; one that is not is made anew. Python 3.9, standard library only.

    environments.py NAME PYTHON      makes it, if it is not there, and prints its folder
"""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

REQUIREMENTS = pathlib.Path(__file__).resolve().parent / "requirements"


def main(name, python):
    version = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    requirements = REQUIREMENTS / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + version.encode()).hexdigest()[:12]
    cache = pathlib.Path(
        os.environ.get("TIDEMILL_CACHE") or pathlib.Path.home() / ".cache" / "tidemill"
    )
    folder = cache / f"{name}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            print(f"installing {name} ({requirements.name}) into {folder}", file=sys.stderr)
            make(folder, python, requirements)
    print(folder)


def make(folder, python, requirements):
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", folder], check=True)
    # The list is complete: what it does not name is not needed, and newer versions break it.
    command = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile",
               "--disable-pip-version-check", "--requirement", requirements]  # fmt: skip
    installed = subprocess.run(command, stdout=sys.stderr, check=False)
    if installed.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        sys.exit(
            f"cannot install {requirements.name}\n"
            "help: the Python package index must be reachable: pip config list"
        )
    (folder / "complete").touch()


if __name__ == "__main__":
    main(*sys.argv[1:])
