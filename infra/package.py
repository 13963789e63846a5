#!/usr/bin/env python3
"""Packs a function's binary and a pipeline into the archive that Lambda takes.

    infra/package.py BINARY PIPELINE_FOLDER ARCHIVE [LEVEL]

LEVEL is how hard to compress, 1 to 9; 9 unless given.
The archive has `bootstrap`, which Lambda runs, and `pipeline/` with pipeline.toml and the tables
that it names. The same content gives the same bytes, so nothing is deployed that has not changed.
Prints the archive's size. Python 3.11, standard library only.
"""

import sys
import tomllib
import zipfile
from pathlib import Path

# Lambda's limit for what is unpacked.
UNPACKED_BYTES_MAX = 250 * 1024 * 1024
EXECUTABLE, PLAIN = 0o100755, 0o100644


def main(binary, folder, archive, level="9"):
    binary, folder, archive = Path(binary), Path(folder), Path(archive)
    files = [("bootstrap", binary, EXECUTABLE), *pipeline_files(folder)]
    unpacked = sum(path.stat().st_size for _, path, _ in files)
    if unpacked > UNPACKED_BYTES_MAX:
        sys.exit(f"{archive.name} would unpack to {megabytes(unpacked)}, more than Lambda takes (250 MB)")
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, path, mode in files:
            # No time of its own.
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            pack.writestr(member, path.read_bytes(), compresslevel=int(level))
    partial.rename(archive)
    print(f"{archive}  {megabytes(archive.stat().st_size)} zipped, {megabytes(unpacked)} unpacked")


def pipeline_files(folder):
    pipeline = folder / "pipeline.toml"
    try:
        content = tomllib.loads(pipeline.read_text())
    except OSError as error:
        sys.exit(f"{pipeline}: {error.strerror}\nhelp: PIPELINE names the folder that pipeline.toml is in")
    except tomllib.TOMLDecodeError as error:
        sys.exit(f"{pipeline}: {error}\nhelp: `tidemill check {pipeline}` shows where")
    yield "pipeline/pipeline.toml", pipeline, PLAIN
    for name, table in sorted(content.get("tables", {}).items()):
        file = folder / table.get("file", "")
        if not file.is_file():
            sys.exit(f"{pipeline}: the file of table {name} is missing: {file}")
        if folder.resolve() not in file.resolve().parents:
            sys.exit(
                f"{pipeline}: the file of table {name} is outside of its folder: {file}\n"
                "help: only what lies in the pipeline's folder is packed"
            )
        yield f"pipeline/{table['file']}", file, PLAIN


def megabytes(size):
    return f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit("usage: infra/package.py BINARY PIPELINE_FOLDER ARCHIVE [LEVEL]")
    main(*sys.argv[1:])
