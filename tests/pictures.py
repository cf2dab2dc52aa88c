"""Makes the pictures of the reports in `docs/pictures`: `python -m tests.pictures` (wants Chromium).

A small session with planted faults and one with an example model are run, and their HTML reports are
opened in a headless browser.
"""

# ruff: noqa: T201  it says what it made

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
SICK = """
from dataclasses import replace

import torch
from torch import nn

from pytest_dlcheck import recipe
from tests.clinic.healthy import breast_cancer, diabetes, digits_cnn, row_reader


@recipe
def detached_features():
    healthy = digits_cnn()
    healthy.model.features.register_forward_hook(lambda *args: args[-1].detach())
    return healthy


@recipe
def rate_too_low():
    healthy = breast_cancer()
    return replace(healthy, optimizer=torch.optim.SGD(healthy.model.parameters(), lr=1e-7))


@recipe
def reads_rows():
    return row_reader()


@recipe
def fits_diabetes():
    return diabetes()
"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
)  # fmt: skip


def main() -> None:
    """Run, render, and take the pictures."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"no browser was found (tried {', '.join(BROWSERS)})")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_sick.py").write_text(SICK)
        for title, tests, size, page in (
            ("sick", folder, "1280,1100", ""),
            (
                "healthy",
                ROOT / "example_models" / "test_digits_cnn.py",
                "1280,4200",
                "#recipe=digits_cnn",
            ),
        ):
            report = folder / f"{title}.html"
            command = [sys.executable, "-m", "pytest", "--dlcheck", "-q", "-p", "no:cacheprovider"]
            subprocess.run(
                [*command, f"--dlcheck-report=html:{report}", str(tests)], cwd=ROOT, check=False
            )
            picture = PICTURES / f"report-{title}.png"
            shot = [
                f"--screenshot={picture}",
                f"--window-size={size}",
                f"--user-data-dir={folder / 'b'}",
            ]
            wait = "--virtual-time-budget=4000"
            subprocess.run([browser, *QUIET, wait, *shot, f"{report.as_uri()}{page}"], check=True)
            print(f"made {picture.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
