"""Runs a user's script as ``python`` would, while what it trains is watched."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import NoReturn

from pytest_dlcheck.by_hand import Rules
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.session import all_checks
from pytest_dlcheck.watching import Watched, watched


class ScriptError(ValueError):
    """There is no such script or module."""


class _CutShortError(Exception):
    """Tells the watch that the script did not come to its end; told to nobody else."""


def run_watched(
    target: str,
    arguments: Sequence[str],
    tell: Callable[[Watched], None],
    *,
    module: bool = False,
    stop_after: int | None = None,
) -> int | str | None:
    """Run a script or a module as the main program and tell what was seen of its training.

    ``sys.argv``, ``sys.path``, ``__main__``, standard output, exceptions and signals are as without
    the watch; what was seen is told when it ends, however it ends.

    Args:
        target: the script's path, or a module's dotted name.
        arguments: the script's own.
        tell: told what was seen.
        module: whether ``target`` is a module, as in ``python -m``.
        stop_after: optimizer steps after which the script is ended; None for none.

    Returns:
        The script's exit code, as ``sys.exit`` takes it.

    Raises:
        ScriptError: there is no such script.
    """
    main = _module_main(target, arguments) if module else _script_main(target, arguments)
    name = target if module else Path(target).name
    status: int | str | None = 0
    interrupted = False
    rules = Rules(Policy(), all_checks())
    with suppress(_CutShortError), watched(name, rules, stop_after) as seen:
        try:
            main()
        except SystemExit as error:
            status = error.code
        except KeyboardInterrupt as error:
            _print(error)
            interrupted = True
        except Exception as error:  # noqa: BLE001  any error of the script ends it, as without us
            _print(error)
            status = 1
        if status or interrupted:
            raise _CutShortError
    sys.stdout.flush()
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun starts, one speaks
        tell(seen)
    if interrupted:
        _die_of_the_interrupt()
    return status


def _script_main(path: str, arguments: Sequence[str]) -> Callable[[], None]:
    file = Path(path)
    if file.is_dir():
        file = file / "__main__.py"
    try:
        code: CodeType = compile(file.read_bytes(), str(file.absolute()), "exec", dont_inherit=True)
    except OSError as error:
        raise ScriptError(f"cannot read the script {path}: {error.strerror or error}") from None
    main = ModuleType("__main__")
    main.__file__ = str(file.absolute())
    main.__dict__["__builtins__"] = __builtins__

    def run() -> None:
        sys.argv = [path, *arguments]
        sys.path[0] = str(file.resolve().parent)
        sys.modules["__main__"] = main
        exec(code, main.__dict__)  # noqa: S102  the user's own script

    return run


def _module_main(name: str, arguments: Sequence[str]) -> Callable[[], None]:
    def run() -> None:
        sys.argv = [name, *arguments]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(name, run_name="__main__", alter_sys=True)

    return run


def _print(error: BaseException) -> None:
    """The traceback that python would have printed: the script's own frames."""
    sys.stdout.flush()
    traceback.print_exception(type(error), error, _beyond_ours(error.__traceback__))


def _beyond_ours(trace: TracebackType | None) -> TracebackType | None:
    here = {__file__, runpy.__file__, "<frozen runpy>"}
    rest = trace
    while rest is not None and rest.tb_frame.f_code.co_filename in here:
        rest = rest.tb_next
    return rest or trace


def _die_of_the_interrupt() -> NoReturn:
    """As python itself does, so that a shell sees that it was interrupted."""
    sys.stderr.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit(128 + signal.SIGINT)
