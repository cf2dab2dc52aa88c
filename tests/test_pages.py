"""docs/checks/ tells what the code says: `python -m tests.pages` writes it."""

from __future__ import annotations

import pytest

from tests.pages import FOLDER, pages

PAGES = pages()


def test_there_is_a_page_per_check_and_no_other():
    assert {file.name for file in FOLDER.iterdir()} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_fresh(name):
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name], "run: python -m tests.pages"
