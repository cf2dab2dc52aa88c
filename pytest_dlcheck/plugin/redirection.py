"""Imports of one commit's code in a process that stands in another's checkout: what is found where.

The standard library alone: it is loaded by its path before pytest is, and by workers that are spawned.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from types import ModuleType
from typing import Any

_LOADERS: tuple[tuple[Any, list[str]], ...] = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)


@dataclass(frozen=True)
class Redirection:
    """From one checkout of a repository to another, the base, in the place of which imports look.

    Attributes:
        head: the root of the checkout at hand.
        base: the root of the other.
        kept: what of the first is no source, and is found where it is: what git ignores, environments,
            submodules at the same commit.
        test: the test file; it comes from the first, as every ``conftest.py`` does.
    """

    head: str
    base: str
    kept: tuple[str, ...] = ()
    test: str = ""

    def to_json(self) -> dict[str, Any]:
        """It as JSON; :meth:`from_json` reads it back."""
        return {"head": self.head, "base": self.base, "kept": list(self.kept), "test": self.test}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Redirection:
        """The redirection that :meth:`to_json` wrote."""
        return cls(**{**data, "kept": tuple(data["kept"])})

    def place(self, path: str) -> str | None:
        """Where a path of source lies, from the root of either checkout; None where it is no source."""
        real = os.path.realpath(path)
        for root in (self.head, self.base):
            if real == root or real.startswith(root + os.sep):
                inside = os.path.relpath(real, root)
                return None if root == self.head and self.keeps(real) else inside
        return None

    def keeps(self, path: str) -> bool:
        """Whether a path of the first checkout is no source."""
        return any(path == kept or path.startswith(kept + os.sep) for kept in self.kept)

    def to_base(self, path: str) -> str:
        """The same place in the other checkout; the path itself where it is no source."""
        inside = self.place(path) if Path(path).is_absolute() else None
        return path if inside is None else str(Path(self.base, inside))

    def to_head(self, path: str) -> str:
        """The place in the first checkout of a path of the other."""
        return str(Path(self.head, os.path.relpath(path, self.base)))

    def comes_from_head(self, path: str) -> bool:
        """Whether a file is one that comes from the first checkout whatever the other holds."""
        return path == self.test or Path(path).name == "conftest.py"

    def leads_to_test(self, folder: str) -> bool:
        """Whether the test file lies below a folder."""
        return self.test.startswith(folder + os.sep)


class RevisionFinder(FileFinder):
    """Finds modules of one folder of source in the other checkout, whichever of the two was named.

    Args:
        redirection: what is found where.
        inside: the folder, from the root.
    """

    def __init__(self, redirection: Redirection, inside: str) -> None:
        super().__init__(str(Path(redirection.base, inside)), *_LOADERS)
        self._redirection = redirection
        self._head = FileFinder(str(Path(redirection.head, inside)), *_LOADERS)

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module as the other checkout has it, but for the test file and what leads to it."""
        at_hand = self._head.find_spec(fullname, target)
        if at_hand is None:
            return super().find_spec(fullname, target)
        if _is_ours(fullname):
            return at_hand
        folders = at_hand.submodule_search_locations or ()
        places = [at_hand.origin] if at_hand.origin else folders
        if any(map(self._redirection.comes_from_head, places)):
            return at_hand
        found = super().find_spec(fullname, target)
        # A folder alone, without a loader, is what is left of a submodule.
        if any(map(self._redirection.keeps, places)) and (found is None or found.loader is None):
            return at_hand
        if found is None and any(map(self._redirection.leads_to_test, folders)):
            return at_hand
        return found


class _EditableFinder:
    """Asks the finders after it, and looks in the other checkout where they point into the first.

    An editable install puts such a finder at the end of ``sys.meta_path``.
    """

    def __init__(self, redirection: Redirection) -> None:
        self._redirection = redirection

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What they find, redirected.

        Raises:
            ModuleNotFoundError: the other checkout has no such module; they would give the first's.
        """
        finders = sys.meta_path[sys.meta_path.index(self) + 1 :]
        found = next(filter(None, (f.find_spec(fullname, path, target) for f in finders)), None)
        if found is None:
            return None
        if found.origin is None or found.origin == "namespace":
            folders = found.submodule_search_locations or []
            found.submodule_search_locations = [self._redirection.to_base(f) for f in folders]
            return found
        inside = self._redirection.place(found.origin)
        if inside is None:
            return found
        file = Path(inside)
        folder = file.parent.parent if file.name == "__init__.py" else file.parent
        spec = RevisionFinder(self._redirection, str(folder)).find_spec(fullname, target)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return spec


def install(redirection: Redirection) -> None:
    """Redirect what this process imports from now on."""
    hook = cache(lambda inside: RevisionFinder(redirection, inside))

    def found(path: str) -> RevisionFinder:
        inside = redirection.place(path)
        if inside is None:
            raise ImportError(path)
        return hook(inside)

    sys.path_hooks.insert(0, found)
    sys.path_importer_cache.clear()
    sys.path[:] = [redirection.to_base(path) for path in sys.path]
    after = next((i for i, f in enumerate(sys.meta_path) if f is PathFinder), len(sys.meta_path) - 1)
    sys.meta_path.insert(after + 1, _EditableFinder(redirection))


@dataclass(frozen=True)
class Loaded:
    """Where the modules of a redirected process came from.

    Attributes:
        base: how many came from the other checkout.
        strays: modules that came from the first checkout's source all the same.
        built: compiled modules that were built in the first checkout.
        copies: modules that the repository holds, and that came from an installed copy.
        changed: whether any that came from the other checkout reads otherwise in the first.
        own: files that come from the first checkout whatever the other holds.
    """

    base: int
    strays: tuple[str, ...]
    built: tuple[str, ...]
    copies: tuple[str, ...]
    changed: bool = False
    own: tuple[str, ...] = ()

    @classmethod
    def of(cls, redirection: Redirection, modules: Mapping[str, Any]) -> Loaded:
        """Look where modules came from."""
        files = {
            name: os.path.realpath(file)
            for name, module in list(modules.items())
            if (file := _file(module)) and not _is_ours(name)
        }
        inside = {name: file for name, file in files.items() if _within(file, redirection.head)}
        source = {name: file for name, file in inside.items() if not redirection.keeps(file)}
        there = [file for file in files.values() if _within(file, redirection.base)]
        return cls(
            base=len(there),
            strays=tuple(name for name, file in source.items() if _is_stray(file, redirection)),
            built=tuple(
                name
                for name, file in inside.items()
                if name not in source
                and file.endswith(tuple(EXTENSION_SUFFIXES))
                and f"{os.sep}site-packages{os.sep}" not in file
            ),
            copies=tuple(
                name
                for name, file in files.items()
                if "." not in name
                and "-packages" in file
                and not _within(file, redirection.base)
                and _has_source(name, redirection.base)
            ),
            changed=any(_differs(file, redirection.to_head(file)) for file in there),
            own=tuple(file for file in source.values() if redirection.comes_from_head(file)),
        )


def _is_ours(name: str) -> bool:
    """Whether it is a module that runs the trial: in its own repository it is not what is compared."""
    return name.partition(".")[0] in {"pytest_dlcheck", "_dlcheck_redirection", "__main__"}


def _file(module: Any) -> str:
    """Its file; empty for what claims one by halves, as ``torch.ops`` does."""
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) and Path(file).is_absolute() else ""


def _within(path: str, root: str) -> bool:
    return path.startswith(root + os.sep)


def _is_stray(file: str, redirection: Redirection) -> bool:
    """Whether it makes a difference that it came from the first checkout."""
    if redirection.comes_from_head(file):
        return False
    other = redirection.to_base(file)
    if Path(file).name == "__init__.py" and not Path(other).is_file():
        return not redirection.leads_to_test(str(Path(file).parent))
    return _differs(file, other)


def _differs(file: str, other: str) -> bool:
    try:
        return Path(other).read_bytes() != Path(file).read_bytes()
    except OSError:
        return True


def _has_source(name: str, root: str) -> bool:
    """Whether a checkout holds a module where packages usually lie."""
    places: Iterable[Path] = (Path(root), Path(root, "src"))
    return any((p / name / "__init__.py").is_file() or (p / f"{name}.py").is_file() for p in places)
