"""Downloads the emulators into the cache folder. Called by `install`, which checks prerequisites.

Each part lies in a folder that is named by its version and is renamed into place when it is
complete, so a folder that exists is whole; a lock lets one process at a time install. Archives are
pinned by hash. Python 3.9, standard library only.
"""

import base64
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

# part: (folder in the cache, npm package, what of the package, SHA-512 of its archive)
PARTS = {
    "dynamodb-local": (
        "dynamodb-local-1.25.1",
        "amplify-dynamodb-simulator@2.9.30",
        "package/emulator/",
        "xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==",
    ),
    "kinesis-local": (
        "kinesis-local-0.6.2",
        "kinesis-local@0.6.2",
        "package/",
        "mFlmksPMQP/A3nT22N2E8WzUbJcbEdxkCnhNCx2lHj20CW4vzuVH8zn5ByRg5LS5es8tvnx2mY1DpbZ5kw9PPQ==",
    ),
}


def main(wanted):
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        sys.exit(f"unknown part: {' '.join(unknown)}\nhelp: parts are {' '.join(PARTS)}")
    cache = pathlib.Path(
        os.environ.get("TIDEMILL_CACHE") or pathlib.Path.home() / ".cache" / "tidemill"
    )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = open(cache / "install.lock", "w")
    except OSError as error:
        sys.exit(f"cannot write to {cache}: {error}\nhelp: set TIDEMILL_CACHE to another folder")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for part in wanted or PARTS:
            folder, package, inside, sha512 = PARTS[part]
            if not (cache / folder).exists():
                print(f"installing {part} ({package}) into {cache}", file=sys.stderr)
                install(cache, folder, package, inside, sha512)
    print(cache)


def install(cache, folder, package, inside, sha512):
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        scratch = pathlib.Path(scratch)
        archive = download(scratch, package, sha512)
        with tarfile.open(archive) as members:
            for member in members:
                # Files only, each below the folder that is taken: nothing can be written elsewhere.
                name = pathlib.PurePosixPath(member.name)
                if not member.isfile() or ".." in name.parts:
                    continue
                if member.name.startswith(inside):
                    to = scratch / "whole" / member.name[len(inside):]
                    to.parent.mkdir(parents=True, exist_ok=True)
                    with members.extractfile(member) as content, open(to, "wb") as file:
                        shutil.copyfileobj(content, file)
        (scratch / "whole").rename(cache / folder)


def download(scratch, package, sha512):
    command = ["npm", "pack", "--silent", package]
    packed = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    archives = list(scratch.glob("*.tgz"))
    if packed.returncode != 0 or len(archives) != 1:
        sys.exit(
            f"`{' '.join(command)}` failed: {packed.stderr.strip() or packed.stdout.strip()}\n"
            "help: the npm registry must be reachable: npm config get registry"
        )
    found = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
    if found != sha512:
        sys.exit(
            f"{package} is not what was released: sha512 `{found}`, expected `{sha512}`\n"
            "help: look at the npm registry or mirror in use: npm config get registry"
        )
    return archives[0]


if __name__ == "__main__":
    main(sys.argv[1:])
