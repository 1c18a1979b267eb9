"""``stream-ottt control``: a command to a run that takes commands, and its answer."""

from __future__ import annotations

import asyncio
import json
import sys

import zmq

from stream_ottt.errors import InputError, UsageError
from stream_ottt.live import feed
from stream_ottt.live.commands import check_address
from stream_ottt.live.zmq_socket import FeedSocket, SocketOptions, parse_address
from stream_ottt.registry import split_uri
from stream_ottt.settings import parse_duration_us

ANSWER_S = 30.0
REACH_S = 2.0


def control(uri: str, command: str, of: str | None = None, at: str | None = None, last: str | None = None) -> int:
    """Send ``command`` to ``zmq+rep://HOST:PORT`` and print the answer, one JSON object.

    Args:
        uri: where the run takes commands.
        command: its name.
        of: what it needs: a class by its name or number, a speed, on or off.
        at: the time that it is about, such as ``12.5s``.
        last: how far back a label reaches, such as ``2s``.

    Returns:
        The exit code: 0, or 2 when the run refuses.

    Raises:
        UsageError: a command that no run takes, or a wrong address.
        InputError: nobody answers.
    """
    scheme, rest, query = split_uri(uri)
    address = f"{scheme}:{rest}"
    check_address(uri)
    asked: dict[str, object] = {"v": feed.VERSION, "command": command}
    try:
        about = {
            "value" if command in ("speed", "hold") else "class": of,
            "t": None if at is None else parse_duration_us(at),
            "last": None if last is None else parse_duration_us(last),
        }
    except ValueError as e:
        raise UsageError(f"{'--last' if at is None else '--at'}: {e}") from e
    asked |= {key: value for key, value in about.items() if value is not None}
    answer = asyncio.run(_ask(uri, address, query, asked))
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    if answer.get("ok") is not True:
        print(f"stream-ottt: {answer.get('error')}", file=sys.stderr)
        return UsageError.exit_code
    return 0


async def _ask(uri: str, address: str, options: dict[str, str], asked: dict[str, object]) -> dict[str, object]:
    _, host, port = parse_address(address)
    if port == "*":
        raise UsageError(f"{uri}: name the port, as given to `run --control`")
    await _reach(uri, host.strip("[]"), int(port))
    link = FeedSocket(address.replace("rep", "req", 1), SocketOptions.load(dict(options), where="control"))
    try:
        link.socket.send(json.dumps(asked).encode())
        if not await link.wait(zmq.POLLIN, ANSWER_S):
            raise InputError(f"no answer within {ANSWER_S:g} s; is a run with --control there?", path=uri)
        answer = json.loads(link.socket.recv())
    except ValueError as e:
        raise InputError(f"an answer that is no JSON: {e}", path=uri) from e
    finally:
        link.close()
    return answer if isinstance(answer, dict) else {"ok": False, "error": "the answer is no JSON object"}


async def _reach(uri: str, host: str, port: int) -> None:
    # A ZeroMQ socket tries again for ever, and does not say that nobody is there.
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), REACH_S)
    except OSError as e:
        raise InputError("nobody listens there; start the run with --control and this address", path=uri) from e
    writer.close()
