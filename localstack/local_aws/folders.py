"""Where things lie: the repository, the cache of installed parts, the state of one local AWS."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("TIDEMILL_CACHE") or Path.home() / ".cache" / "tidemill")
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
REGION = "us-east-1"


class State:
    """The folder of one local AWS. Everything it writes is below."""

    def __init__(self, root: Path):
        self.root = root
        self.server_log = root / "localstack.log"
        self.function_logs = root / "functions"
        self.files = root / "files"
        self.plugin = root / "plugin"
        self.zips = root / "lambda"
        self.scratch = root / "tmp"

    def create(self) -> None:
        for folder in (self.function_logs, self.files, self.plugin, self.zips, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)
