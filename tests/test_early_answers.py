"""What is wrong with a request is said at once, in one line with the cure."""

from __future__ import annotations

import socket
import time

import pytest

from stream_ottt.cli.check import check_run
from stream_ottt.cli.control import control
from stream_ottt.errors import InputError, UsageError
from stream_ottt.run.request import RunRequest


def test_a_command_to_nobody_is_answered_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        began = time.monotonic()
        with pytest.raises(InputError, match="nobody listens"):
            control(f"zmq+rep://127.0.0.1:{free.getsockname()[1]}", "status")
    assert time.monotonic() - began < 20  # an answer is waited for 30 s


def test_labels_that_are_missing_are_named() -> None:
    with pytest.raises(UsageError, match=r"absent\.csv"):
        check_run(RunRequest("scene:", overrides={"labels": {"file": "absent.csv"}}, sinks=[]))


def test_a_datagram_source_names_the_size_that_it_needs() -> None:
    with pytest.raises(UsageError, match=r"\?width=.*&height="):
        check_run(RunRequest("udp://127.0.0.1:5000", sinks=[]))
