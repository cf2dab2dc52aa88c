"""Runs a user's script as ``python`` would, while what it trains is watched."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import NoReturn

from pytest_dlcheck.by_hand import Rules
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.session import all_checks
from pytest_dlcheck.watching import Watched, watched

_IMPORTING = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
"""What reads a module for runpy, and what its import errors and syntax errors come through."""


class ScriptError(ValueError):
    """There is no such script or module."""


class _CutShortError(Exception):
    """Tells the watch that the script did not come to its end; told to nobody else."""


class _TerminatedError(BaseException):
    """SIGTERM has come: the script ends here, and what was seen is told before it dies of that."""


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
    ended_by: int | None = None
    rules = Rules(Policy(), all_checks())
    with suppress(_CutShortError), watched(name, rules, stop_after) as seen:
        with _terminated() as signals:
            try:
                main()
            except SystemExit as error:
                status = error.code
            except KeyboardInterrupt as error:
                _print(error)
                ended_by = signal.SIGINT
            except ScriptError:
                raise
            except Exception as error:  # noqa: BLE001  any error of the script ends it, as without us
                _print(error)
                status = 1
        if ended_by is None and signals:
            ended_by = signal.SIGTERM
        if status or ended_by is not None:
            raise _CutShortError
    sys.stdout.flush()
    asked_for_help = not status and not {"-h", "--help"}.isdisjoint(arguments)
    speaks = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts, one does
    if speaks and (seen.is_trained or not asked_for_help):
        tell(seen)
    if ended_by is not None:
        _die_of(ended_by)
    return status


@contextmanager
def _terminated() -> Iterator[list[int]]:
    """Have SIGTERM end what is inside by an exception, once, unless somebody else listens to it.

    Processes that the script forks die of it as they would without us, and so do we once it is over.
    """
    heard: list[int] = []
    own = os.getpid()

    def ends(number: int, frame: object) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != own:
            os.kill(os.getpid(), number)
            return
        heard.append(number)
        raise _TerminatedError

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield heard
        return
    signal.signal(signal.SIGTERM, ends)
    try:
        with suppress(_TerminatedError):
            yield heard
    finally:
        if signal.getsignal(signal.SIGTERM) is ends:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _script_main(path: str, arguments: Sequence[str]) -> Callable[[], None]:
    file = Path(path)
    if file.is_dir():
        file = file / "__main__.py"
        if not file.exists():
            raise ScriptError(f"cannot run the folder {path}: it holds no __main__.py; name a script")
    try:
        source = file.read_bytes()
    except OSError as error:
        raise ScriptError(f"cannot read the script {path}: {error.strerror or error}") from None
    main = ModuleType("__main__")
    main.__file__ = str(file.absolute())
    main.__dict__["__builtins__"] = __builtins__

    def run() -> None:
        sys.argv = [path, *arguments]
        sys.path[0] = str(file.resolve().parent)
        code: CodeType = compile(source, str(file.absolute()), "exec", dont_inherit=True)
        sys.modules["__main__"] = main
        exec(code, main.__dict__)  # noqa: S102  the user's own script

    return run


def _module_main(name: str, arguments: Sequence[str]) -> Callable[[], None]:
    def run() -> None:
        sys.argv = [name, *arguments]
        sys.path[0] = str(Path.cwd())
        try:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        except ImportError as error:
            if _is_raised_in(error, runpy.__file__, "<frozen runpy>"):
                raise ScriptError(f"cannot run the module {name}: {error}") from None
            raise

    return run


def _is_raised_in(error: BaseException, *files: str) -> bool:
    """Whether the innermost frame is of one of these."""
    last = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        last = frame
    return last is not None and last.f_code.co_filename in files


def _print(error: BaseException) -> None:
    """The traceback that python would have printed: the script's own frames."""
    sys.stdout.flush()
    traceback.print_exception(type(error), error, _beyond_ours(error.__traceback__))


def _beyond_ours(trace: TracebackType | None) -> TracebackType | None:
    here = {__file__, runpy.__file__, "<frozen runpy>", *_IMPORTING}
    rest = trace
    while rest is not None and rest.tb_frame.f_code.co_filename in here:
        rest = rest.tb_next
    return rest


def _die_of(number: int) -> NoReturn:
    """As python itself does, so that a shell sees what ended it."""
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)
