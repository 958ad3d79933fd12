"""Output that nobody reads any more: neither a run nor what comes after it ends for that."""

import os
import sys

import pytest
from processes import Process

from degradation.output import say
from experiments.command import command


def lose_the_terminal():
    ours, theirs = os.openpty()
    os.dup2(theirs, 1)
    os.close(theirs)
    os.close(ours)


def lose_the_reader():
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(writer)
    os.close(reader)


def work_on(lose):
    def start(job):
        say("before")
        lose()
        say("nobody reads this")
        say("nor this")
        print("nor what is written when the command ends")
        return 3

    sys.argv = ["run.py"]
    raise SystemExit(command("config", lambda job: None, start))


def finish_and_lose(lose):
    def start(job):
        print("all is done")
        lose()
        return 3

    sys.argv = ["run.py"]
    raise SystemExit(command("config", lambda job: None, start))


@pytest.mark.parametrize("lose", [lose_the_terminal, lose_the_reader])
def test_work_goes_on_when_nobody_reads(lose):
    ended = Process(work_on, lose).wait()
    assert (ended.code, ended.out, ended.err) == (3, "before\n", "")


def test_a_terminal_that_is_gone_at_the_end_changes_no_exit_code():
    ended = Process(finish_and_lose, lose_the_terminal).wait()
    assert (ended.code, ended.err) == (3, "")
