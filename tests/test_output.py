"""Output that nobody reads any more: neither a run nor what comes after it ends for that."""

import os
import sys

import pytest
from processes import Process

from degradation.errors import UserError
from degradation.output import complain, say
from experiments.command import command


def lose(make, *streams):
    """Have streams end in a terminal or a pipe, as `make` makes it, whose other side is closed."""
    ours, theirs = make()
    for stream in streams:
        os.dup2(theirs, stream)
    os.close(theirs)
    os.close(ours)


def run_command(start, *given):
    sys.argv = ["run.py"]
    raise SystemExit(command("config", lambda job: None, lambda job: start(*given)))


def work_on(make):
    say("before")
    lose(make, 1)
    say("nobody reads this")
    say("nor this")
    print("nor what is written when the command ends")
    return 3


@pytest.mark.parametrize("make", [os.openpty, os.pipe])
def test_work_goes_on_when_nobody_reads(make):
    ended = Process(run_command, work_on, make).wait()
    assert (ended.code, ended.out, ended.err) == (3, "before\n", "")


def fail(make):
    lose(make, 1, 2)
    complain("warning: nobody reads this")
    raise UserError("nor this", exit_code=7)


@pytest.mark.parametrize("make", [os.openpty, os.pipe])
def test_an_error_that_nobody_reads_has_its_exit_code(make):
    """As of `2>&1 | tee log` when Ctrl-C has ended `tee`."""
    assert Process(run_command, fail, make).wait().code == 7


def speak_latin():
    sys.stdout.reconfigure(encoding="latin-1")
    run_command(say, "−0.45")


def test_signs_that_the_terminal_lacks_do_not_end_a_command():
    ended = Process(speak_latin).wait()
    assert (ended.code, ended.out, ended.err) == (0, "?0.45\n", "")
