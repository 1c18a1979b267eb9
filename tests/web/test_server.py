"""The server: who is let in, what a browser is sent and when, and what is taken from it."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from web.helpers import Board, hear, say, served
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stream_ottt.errors import UsageError
from stream_ottt.web import browser
from stream_ottt.web.browser import COMMANDS_PER_S, IN_FLIGHT
from stream_ottt.web.server import MAX_BROWSERS


def answers(page):
    return [part for part in hear(page) if part["kind"] == "answer"]


def hear_answer(page):
    found = []
    while not found:
        found = answers(page)
    return found[0]


# --- who is let in -------------------------------------------------------------------------------------------------


def test_the_page_and_its_files_are_served_with_headers_that_keep_others_out():
    with served(Board()) as page:
        status, headers, body = page.get("/")
        assert status == 200 and b"<!doctype html>" in body
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        for path, kind in (
            ("/page.js", "text/javascript"),
            ("/page.css", "text/css"),
            ("/vendor/uPlot.js", "text/javascript"),
        ):
            status, headers, body = page.get(path)
            assert status == 200 and headers["content-type"].startswith(kind) and body


@pytest.mark.parametrize("path", ["/nothing", "/../server.py", "/%2e%2e/server.py", "/vendor", "/..%2f..%2ferrors.py"])
def test_no_other_file_is_served(path):
    with served(Board()) as page:
        assert page.get(path)[0] == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1234", "[::1]:80", "LOCALHOST"])
def test_own_names_are_known(host):
    with served(Board()) as page:
        assert page.get("/", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.0.2.7", "localhost.evil", "", "[", "a" * 5000]
)
def test_a_strangers_name_that_leads_here_is_refused(host):
    with served(Board()) as page:
        status, _, body = page.get("/", Host=host)
        assert status in (400, 403) and b"<!doctype" not in body
        status, _, body = page.get("/page.js", Host=host)
        assert status in (400, 403) and b"import" not in body


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_another_sites_page_cannot_connect(origin):
    with served(Board()) as page:
        with pytest.raises(InvalidStatus) as refused, page.connect(origin=origin):
            pass
        assert refused.value.response.status_code == 403


def test_a_program_without_an_origin_can():
    board = Board()
    board.value = 3
    with served(board) as page, page.connect(origin=None) as one:
        assert hear(one)[0]["value"] == 3


def test_a_token_is_needed_where_others_can_reach_the_page():
    board = Board()
    with served(board, host="0.0.0.0") as page:
        assert "/?token=" in page.url
        token = page.url.split("token=")[1]
        assert len(token) >= 22
        for path in (
            "/",
            "/page.js",
            "/?token=",
            "/?token=wrong",
            f"/?token={token[:-1]}",
            "/?token=%ff",
            f"/page.js?token={token}x",
        ):
            status, _, body = page.get(path)
            assert status == 403 and b"token is needed" in body, path
        for cookie in ("", "stream-ottt-1=x", f"stream-ottt-{page.port}=wrong", "=;;", '"'):
            assert page.get("/", Cookie=cookie)[0] == 403
            with pytest.raises(InvalidStatus) as refused, page.connect(additional_headers={"Cookie": cookie}):
                pass
            assert refused.value.response.status_code == 403

        status, headers, _ = page.get(f"/?token={token}")
        assert status == 303 and headers["location"] == "/"
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie
        cookie = cookie.split(";")[0]
        assert page.get("/", Cookie=cookie)[0] == 200
        board.value = 8
        with page.connect(additional_headers={"Cookie": cookie}) as one:
            assert hear(one)[0]["value"] == 8


def test_where_others_can_reach_the_page_addresses_and_own_names_are_known_but_no_strangers_name():
    with served(Board(), host="0.0.0.0", token="abc", names=("camera.lab",)) as page:
        cookie = f"stream-ottt-{page.port}=abc"
        for host in ("192.0.2.7:80", socket.gethostname(), "camera.lab:8765"):
            assert page.get("/", Host=host, Cookie=cookie)[0] == 200
        assert page.get("/", Host="evil.example", Cookie=cookie)[0] == 403


def test_on_this_machine_no_token_is_needed_unless_one_is_named():
    with served(Board()) as page:
        assert page.url == f"http://127.0.0.1:{page.port}/"
    with served(Board(), token="xyz") as page:
        assert page.get("/")[0] == 403


def test_a_port_in_use_is_one_line_that_names_the_cure():
    with (
        served(Board()) as page,
        pytest.raises(UsageError, match=f"--web.* 127.0.0.1:{page.port}: .*name another HOST:PORT"),
        served(Board(), port=page.port),
    ):
        pass


# --- what a browser is sent -----------------------------------------------------------------------------------------


def test_a_browser_gets_the_newest_value_and_each_once():
    board = Board()
    board.value = 1
    with served(board) as page, page.connect() as one:
        assert [part["value"] for part in hear(one)] == [1]
        board.value = 2
        board.value = 3
        assert [part["value"] for part in hear(one)] == [3]
        say(one, kind="command", id=5, name="pause")
        assert [part["kind"] for part in hear(one)] == ["answer"]


def test_a_browser_that_does_not_read_is_sent_no_more_and_nothing_is_encoded_for_it():
    board = Board(size=1 << 20)
    board.value = 0
    with served(board) as page, page.connect() as sleeper:
        with page.connect() as awake:
            for value in range(1, 12):
                board.value = value
                while hear(awake)[-1].get("value") != value:
                    pass
        assert board.encoded == 12  # one for each value, none for the sleeper alone
        for _ in range(IN_FLIGHT):
            hear(sleeper, ready=False)
        with pytest.raises(TimeoutError):
            sleeper.recv(0.2)
        say(sleeper, kind="ready")
        assert hear(sleeper)[0]["value"] == board.value


def test_two_browsers_see_the_same_and_one_encoding_serves_both():
    board = Board()
    with served(board) as page, page.connect() as one, page.connect() as two:
        for value in range(5):
            board.value = value
            assert hear(one)[0]["value"] == hear(two)[0]["value"] == value
        assert board.encoded == 5


def test_there_is_an_end_to_the_number_of_browsers():
    board = Board()
    board.value = 1
    with served(board) as page, ExitStack() as stack:
        for _ in range(MAX_BROWSERS - 1):
            hear(stack.enter_context(page.connect()))
        with page.connect() as last:
            hear(last)
            with pytest.raises(InvalidStatus) as refused, page.connect():
                pass
            assert refused.value.response.status_code == 503
        with page.connect() as again:
            assert hear(again)[0]["value"] == 1


def test_at_the_end_the_last_value_still_arrives_and_the_connection_is_closed():
    board = Board()
    board.value = 1
    with ExitStack() as stack:
        with served(board) as page:
            one = stack.enter_context(page.connect())
            hear(one)
            board.value = 2
        assert [part["value"] for part in hear(one, ready=False)] == [2]
        with pytest.raises(ConnectionClosed):
            one.recv(60)


def test_a_hidden_page_that_draws_nothing_still_gets_the_last_value():
    board = Board()
    board.value = 1
    with ExitStack() as stack:
        with served(board) as page:
            hidden = stack.enter_context(page.connect())
            for value in range(2, 2 + IN_FLIGHT):
                hear(hidden, ready=False)
                board.value = value
        assert [part["value"] for part in hear(hidden, ready=False)] == [1 + IN_FLIGHT]
        with pytest.raises(ConnectionClosed):
            hidden.recv(60)


def test_a_browser_that_sleeps_does_not_hold_up_the_end():
    board = Board(size=1 << 24)
    board.value = 1
    with ExitStack() as stack:
        with served(board) as page:
            stack.enter_context(page.sleeper())
            with page.connect() as awake:
                hear(awake)
            started = time.perf_counter()
        assert time.perf_counter() - started < 30


def test_after_a_restart_the_same_address_serves_again():
    board = Board()
    board.value = 1
    with served(board) as page:
        port = page.port
        with page.connect() as one:
            hear(one)
    with served(board, port=port) as page, page.connect() as one:
        assert hear(one)[0]["value"] == 1


# --- what is taken from a browser -----------------------------------------------------------------------------------


def test_commands_are_answered_with_their_number():
    board = Board()
    with served(board) as page, page.connect() as one:
        say(one, kind="command", id=41, name="label", label=2, span_us=500_000)
        assert hear_answer(one) | {"arrays": None} == {
            "kind": "answer",
            "id": 41,
            "ok": True,
            "did": "label",
            "arrays": None,
        }
        assert (board.commands[0].label, board.commands[0].span_us) == (2, 500_000)
        say(one, kind="command", id=42, name="save")
        answer = hear_answer(one)
        assert (answer["id"], answer["ok"]) == (42, False) and "no file" in answer["error"]


def test_a_wish_reaches_what_is_shown():
    board = Board()
    with served(board) as page, page.connect() as one:
        say(one, kind="wish", inside=True, layer="conv2", neuron=5)
        say(one, kind="command", id=1, name="pause")
        hear_answer(one)
        assert (board.wishes[-1].inside, board.wishes[-1].layer, board.wishes[-1].neuron) == (True, "conv2", 5)


@pytest.mark.parametrize(
    "message", ["", "{}", "x" * 4000, b"\0\1", '{"kind":"command","id":1,"name":"exit"}', "[" * 4000]
)
def test_a_message_of_no_known_form_ends_that_connection_alone(message):
    board = Board()
    board.value = 1
    with served(board) as page, page.connect() as good, page.connect() as bad:
        bad.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                bad.recv(60)
        assert hear(good)[0]["value"] == 1
        assert not board.commands


def test_a_message_that_is_too_long_ends_that_connection():
    with served(Board()) as page, page.connect() as bad:
        bad.send(json.dumps({"kind": "command", "id": 1, "name": "new_class", "text": "x" * 10_000}))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                bad.recv(60)
        assert closed.value.rcvd.code == 1009


def test_a_flood_of_commands_ends_that_connection(monkeypatch: pytest.MonkeyPatch):
    """All within one moment of the server's clock, however busy the machine is."""
    monkeypatch.setattr(browser, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    board = Board()
    with served(board) as page, page.connect() as bad:
        with pytest.raises(ConnectionClosed):
            for i in range(COMMANDS_PER_S + 5):
                say(bad, kind="command", id=i, name="pause")
            while True:
                hear(bad)
        assert len(board.commands) == COMMANDS_PER_S


def test_an_error_of_the_program_is_not_lost():
    class Broken(Board):
        async def carry_out(self, command):
            raise KeyError("a fault")

    with pytest.raises(KeyError, match="a fault"), served(Broken()) as page, page.connect() as one:
        say(one, kind="command", id=1, name="pause")
        with pytest.raises(ConnectionClosed) as closed:
            one.recv(60)
        assert closed.value.rcvd.code == 1011
