"""What a test has forked is a process of its own: told what to do, and ended, like a fresh one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

CODE = """
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ["MINE"], __name__, sys.stdin.read())
{end}
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")


def ended(end, folder):
    started = subprocess.run(
        [sys.executable, "-u", "-c", CODE.format(end=end), "one", "--two"],
        cwd=folder,
        env={**os.environ, "MINE": "7"},
        input="said",
        capture_output=True,
        text=True,
        check=False,
    )
    told = started.stderr.splitlines()
    return started.returncode, started.stdout, told[-1] if told else ""


@pytest.mark.parametrize(
    "end",
    ["", "sys.exit(3)", "sys.exit('why')", "raise KeyError(1)", "os._exit(4)", "raise KeyboardInterrupt"]
    + [f"os.kill(os.getpid(), {number:d})" for number in (signal.SIGKILL, signal.SIGSEGV)],
)
def test_it_is_told_and_ends_as_a_fresh_one(request, tmp_path, end):
    fresh = ended(end, tmp_path)
    request.getfixturevalue("quick_python")
    assert ended(end, tmp_path) == fresh


@pytest.mark.usefixtures("quick_python")
def test_it_dies_with_the_one_who_waits_for_it():
    code = "import time; print(1, flush=True); time.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as started:
        assert started.stdout.readline() == b"1\n"
        started.kill()
        assert started.stdout.read() == b""  # nobody holds its other end any longer
