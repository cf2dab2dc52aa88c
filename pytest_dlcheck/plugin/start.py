"""Starts the pytest of an isolated trial. Run as a script; the standard library alone, until pytest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Become the pytest that the order asks for."""
    folder = Path(sys.argv[1])
    order: dict[str, Any] = json.loads((folder / "order.json").read_text("utf-8"))
    sys.path[:] = order["path"]
    sys.argv[:] = ["pytest", *order["arguments"]]
    import pytest

    arguments: list[str] = order["arguments"]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    # Last, because the parent's own plugins want to be imported as they were there.
    ours = ["-p", "pytest_dlcheck.plugin.child", f"--dlcheck-child={folder}"]
    return int(pytest.main([*arguments[:end], *ours, *arguments[end:]]))


if __name__ == "__main__":
    sys.exit(main())
