"""The commands for sockets: publish, listen, control, keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_ottt.cli.app import app, text
from stream_ottt.cli.usage import App
from stream_ottt.live.commands import COMMANDS

keys_app = App(help="Keys for sockets that others can reach.")
app.add_typer(keys_app, name="keys")


@app.command()
def publish(
    source: Annotated[str, typer.Argument(help="Recording, folder or address.", metavar="SOURCE")],
    to: Annotated[str, text("zmq+pub://HOST:PORT, zmq+push://HOST:PORT, zenoh://KEY or tcp://HOST:PORT.", "ADDRESS")],
    speed: Annotated[str, text("max, or a multiple of the stream's pace such as 1x.", "max|FACTOR")] = "1x",
    labels: Annotated[str | None, text("CSV of class, startTime_usec, endTime_usec.", "FILE")] = None,
    label_delay: Annotated[
        str, text("When to send a label after its start: 500ms, 0, or end.", "DURATION|end")
    ] = "end",
    filter_: Annotated[
        list[str] | None, text("Filter of events, such as hot; repeatable.", "FILTER", "--filter")
    ] = None,
    name: Annotated[str | None, text("The source's name in topics.", "NAME")] = None,
    wait: Annotated[int, typer.Option(help="Readers to wait for.", metavar="INTEGER", min=0)] = 1,
    wait_for: Annotated[float, typer.Option(help="Longest such wait, seconds.", metavar="NUMBER", min=0)] = 60.0,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let others reach the socket without keys.")] = False,
) -> None:
    """Play any source onto a socket, with its labels."""
    from stream_ottt.cli.publish import PublishRequest
    from stream_ottt.cli.publish import publish as publish_request
    from stream_ottt.pipeline.pace import parse_speed

    request = PublishRequest(
        source=source,
        to=to,
        speed=parse_speed(speed),
        labels=labels,
        label_delay=label_delay,
        filters=tuple(filter_ or ()),
        name=name,
        wait=wait,
        wait_for=wait_for,
        insecure=insecure,
    )
    raise typer.Exit(publish_request(request))


@app.command()
def listen(
    source: Annotated[str, typer.Argument(help="zmq+sub://HOST:PORT, or any other source.", metavar="SOURCE")],
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object a message.")] = False,
    count: Annotated[int | None, typer.Option(help="Stop after so many messages.", metavar="INTEGER", min=1)] = None,
) -> None:
    """Print what passes: events, labels, predictions."""
    from stream_ottt.cli.listen import listen as listen_to

    raise typer.Exit(listen_to(source, as_json=json_output, count=count))


@app.command()
def control(
    address: Annotated[
        str, typer.Argument(help="zmq+rep://HOST:PORT, as given to `run --control`.", metavar="ADDRESS")
    ],
    command: Annotated[
        str,
        typer.Argument(
            help=f"{', '.join(COMMANDS)}.",
            metavar="COMMAND",
        ),
    ],
    of: Annotated[
        str | None,
        typer.Argument(
            help="For label, add_class, correct: name or number of a class. For speed: max, or a factor. "
            "For hold: on or off.",
            metavar="VALUE",
        ),
    ] = None,
    at: Annotated[str | None, text("For correct, retract: a time in what was labelled, such as 12.5s.", "TIME")] = None,
    last: Annotated[str | None, text("For label: how far back it reaches, such as 2s.", "DURATION")] = None,
) -> None:
    """Send a command to a run, and print its answer."""
    from stream_ottt.live.commands import check_command

    check_command(command, of)  # before what is slow to import
    from stream_ottt.cli.control import control as send

    raise typer.Exit(send(address, command, of, at, last))


@keys_app.command("new")
def keys_new(
    folder: Annotated[Path, typer.Argument(help="Where to put them.", metavar="FOLDER")] = Path("keys"),
) -> None:
    """Make a pair of keys for each end of a socket."""
    from stream_ottt.cli.keys import new

    raise typer.Exit(new(folder))
