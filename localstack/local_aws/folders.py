"""Where things lie: the repository, the cache of installed parts, the state of one local AWS."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("TIDEMILL_CACHE") or Path.home() / ".cache" / "tidemill")
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target") / "debug"
EXAMPLE = REPOSITORY / "examples/ad-campaigns"
EVENTS = EXAMPLE / "events.jsonl.zst"


class State:
    """The folder of one local AWS. Everything it writes is below."""

    def __init__(self, root: Path):
        self.root = root
        self.server_log = root / "localstack.log"
        self.function_logs = root / "functions"
        self.files = root / "files"
        self.plugin = root / "plugin"
        self.packages = root / "packages"
        self.scratch = root / "tmp"

    def create(self) -> None:
        for folder in (self.function_logs, self.files, self.plugin, self.packages, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)


# That of `up`, and that of `test`.
LOCAL = State(REPOSITORY / "target/local-aws")
TEST = State(REPOSITORY / "target/local-aws-test")
