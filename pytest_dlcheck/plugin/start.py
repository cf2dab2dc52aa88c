"""Starts the pytest of an isolated trial. Run as a script; the standard library alone, until pytest.

Processes that this one spawns, such as a loader's workers, run it too, and then find the same modules.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

REDIRECTION = "redirection.json"
VARIABLE = "PYTEST_DLCHECK_REDIRECTION"
"""In the environment: the file that says where this process, and those it starts, find modules."""


def main() -> int:
    """Become the pytest that the order asks for."""
    folder = Path(sys.argv[1])
    order: dict[str, Any] = json.loads((folder / "order.json").read_text("utf-8"))
    sys.path[:] = order["path"]
    redirect()
    sys.argv[:] = ["pytest", *order["arguments"]]
    import pytest

    arguments: list[str] = order["arguments"]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    # Last, because the parent's own plugins want to be imported as they were there.
    ours = ["-p", "pytest_dlcheck.plugin.child", f"--dlcheck-child={folder}"]
    return int(pytest.main([*arguments[:end], *ours, *arguments[end:]]))


def redirect() -> None:
    """Find modules in another commit's checkout, where that is asked for.

    What does so is loaded by its path: by its name, it would bring the package and with it pytest.
    """
    place = os.environ.get(VARIABLE)
    if place is None:
        return
    name = "_dlcheck_redirection"
    spec = spec_from_file_location(name, Path(__file__).with_name("redirection.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install(module.Redirection.from_json(json.loads(Path(place).read_text("utf-8"))))


if __name__ == "__main__":
    sys.exit(main())
if __name__ == "__mp_main__":
    redirect()
