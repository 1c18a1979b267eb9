"""``stream-ottt``: the commands and their options; the work is done elsewhere."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from stream_ottt.errors import StreamOtttError

app = typer.Typer(
    name="stream-ottt",
    help="Watch an event camera and train a spiking network on it, at every timestep.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Look at presets and settings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")
keys_app = typer.Typer(help="Keys for sockets that others can reach.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys_app, name="keys")

DOTTED = {"allow_extra_args": True, "ignore_unknown_options": True}


LEFT_BEHIND = "left behind"
"""Beginning of the name of a thread that does not come back."""


def main() -> None:
    """Entry point: errors of the user's making end in one line and their exit code."""
    try:
        app(args=_with_web_address(sys.argv[1:]))
    except StreamOtttError as e:
        print(f"stream-ottt: {e}", file=sys.stderr)
        sys.exit(e.exit_code)
    except SystemExit as e:
        if any(t.name.startswith(LEFT_BEHIND) for t in threading.enumerate()):
            # A sink in a write to a terminal or pipe that nobody reads; ending in order would wait for its lock.
            sys.stderr.flush()
            os._exit(e.code if isinstance(e.code, int) else 1)
        raise


@app.command(context_settings=DOTTED)
def run(
    context: typer.Context,
    source: Annotated[str, typer.Option(help="Recording, folder or address; see the README for all forms.")],
    config: Annotated[str | None, typer.Option(help="Preset name, or a TOML file.", metavar="NAME|FILE.toml")] = None,
    labels: Annotated[str | None, typer.Option(help="CSV: class,startTime_usec,endTime_usec.")] = None,
    label_delay: Annotated[
        str | None, typer.Option(help="When a label becomes known after its start: 500ms, 0, or end.")
    ] = None,
    passes: Annotated[str | None, typer.Option(help="How often to see the stream; the first pass is scored.")] = None,
    load: Annotated[Path | None, typer.Option(help="Model file to start from, with its settings.")] = None,
    save: Annotated[Path | None, typer.Option(help="Model file to write at the end.")] = None,
    no_learn: Annotated[bool, typer.Option("--no-learn", help="Only predict and score.")] = False,
    summary: Annotated[Path | None, typer.Option(help="Summary JSON to write at the end.")] = None,
    predictions: Annotated[str | None, typer.Option(help="JSON lines, one a timestep ('-' for stdout).")] = None,
    sink: Annotated[list[str] | None, typer.Option(help="More sinks, such as csv:out.csv; repeatable.")] = None,
    speed: Annotated[str | None, typer.Option(help="max, or a multiple of the stream's pace such as 1x.")] = None,
    seed: Annotated[str | None, typer.Option(help="Of weights, dropout, rehearsal and shuffles.")] = None,
    max_steps: Annotated[str | None, typer.Option(help="Stop after this many timesteps.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Of the convolutions: float32, or bf16-backward, bf16 where faster."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1.")] = None,
    web: Annotated[
        str | None,
        typer.Option(help="Show the run on a page for browsers, at 127.0.0.1:8765 or there.", metavar="[HOST:PORT]"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No terminal view.")] = False,
    control: Annotated[str | None, typer.Option(help="Take commands at zmq+rep://HOST:PORT; see `control`.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let others reach sockets without keys.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write outputs anew that exist already.")] = False,
) -> None:
    """Stream a source through a network that learns while it watches.

    Any setting can be given as --table.key VALUE, such as --learner.lr 0.01; `stream-ottt config show NAME` lists them.
    """
    from stream_ottt.run.stopping import Stopping

    with Stopping() as stopping:
        if sys.stderr.isatty():
            print(f"stream-ottt: loading {source} …", file=sys.stderr)
        from stream_ottt.run.config import merge, parse_overrides
        from stream_ottt.run.run import RunRequest
        from stream_ottt.run.run import run as run_request

        named = {
            "labels": {"file": labels, "delay": label_delay},
            "engine": {"precision": precision, "device": device},
            "stream": {"passes": passes, "speed": speed, "seed": seed, "max_steps": max_steps, "control": control},
        }
        given = {t: {k: v for k, v in keys.items() if v is not None} for t, keys in named.items()}
        sinks = [] if quiet else ["terminal"]
        if predictions is not None:
            sinks.append(f"jsonl:{predictions}")
        if web is not None:
            sinks.append(f"web:{web}")
        sinks += sink or []
        if insecure:
            from stream_ottt.live.zmq_socket import allow_exposure

            source, sinks = allow_exposure(source), [allow_exposure(s) for s in sinks]
        request = RunRequest(
            source=source,
            preset=config,
            overrides=merge(given, parse_overrides(_known_or_dotted(context))),
            sinks=sinks,
            load=load,
            save=save,
            summary=summary,
            learn=not no_learn,
            force=force,
        )
        raise typer.Exit(run_request(request, stopping))


def _with_web_address(words: list[str]) -> list[str]:
    """The command line with ``--web=`` where no address follows ``--web``, which must have a value for typer."""
    following = [*words[1:], "--"]
    pairs = zip(words, following, strict=True)
    return [f"{word}=" if word == "--web" and after.startswith("-") else word for word, after in pairs]


def _known_or_dotted(context: typer.Context) -> list[str]:
    """What is left of the command line; a mistyped option is told from a setting by its missing dot."""
    from stream_ottt.errors import UsageError
    from stream_ottt.registry import near_miss

    words = list(context.args)
    for i, word in enumerate(words):
        name = word.partition("=")[0]
        value_of_dotted = i > 0 and words[i - 1].startswith("--") and "=" not in words[i - 1]
        if name.startswith("--") and "." not in name and not value_of_dotted:
            options = [o for p in context.command.params for o in p.opts]
            raise UsageError(f"unknown option {name!r}{near_miss(name, options)}")
    return words


@app.command()
def info(
    source: Annotated[str, typer.Argument(help="Recording, folder or address.")],
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what is in a recording: format, resolution, events, span, rate, polarity, streams."""
    # Nothing is multiplied here, and the threads that numpy's BLAS starts take a tenth of a second of processor time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from stream_ottt.cli.info import show

    raise typer.Exit(show(source, as_json=json_output))


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="Recording or folder.")],
    target: Annotated[str, typer.Argument(help="File to write; its ending names the format, or ?format=NAME.")],
) -> None:
    """Write a recording in another event file format."""
    from stream_ottt.cli.convert import convert as convert_file

    raise typer.Exit(convert_file(source, target))


@app.command()
def publish(
    source: Annotated[str, typer.Argument(help="Recording, folder or address.")],
    to: Annotated[str, typer.Option(help="zmq+pub://HOST:PORT, zmq+push://HOST:PORT or tcp://HOST:PORT.")],
    speed: Annotated[str, typer.Option(help="max, or a multiple of the stream's pace such as 1x.")] = "1x",
    labels: Annotated[str | None, typer.Option(help="CSV: class,startTime_usec,endTime_usec.")] = None,
    label_delay: Annotated[str, typer.Option(help="When to send a label after its start: 500ms, 0, or end.")] = "end",
    name: Annotated[str | None, typer.Option(help="The source's name in topics.")] = None,
    wait: Annotated[int, typer.Option(help="Readers to wait for.", min=0)] = 1,
    wait_for: Annotated[float, typer.Option(help="Longest such wait, seconds.", min=0)] = 60.0,
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
        name=name,
        wait=wait,
        wait_for=wait_for,
        insecure=insecure,
    )
    raise typer.Exit(publish_request(request))


@app.command()
def listen(
    source: Annotated[str, typer.Argument(help="zmq+sub://HOST:PORT, or any other source.")],
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object a message.")] = False,
    count: Annotated[int | None, typer.Option(help="Stop after so many messages.", min=1)] = None,
) -> None:
    """Print what passes: events, labels, predictions."""
    from stream_ottt.cli.listen import listen as listen_to

    raise typer.Exit(listen_to(source, as_json=json_output, count=count))


@app.command()
def control(
    address: Annotated[str, typer.Argument(help="zmq+rep://HOST:PORT, as given to `run --control`.")],
    command: Annotated[str, typer.Argument(help="pause, resume, reset, save or status.")],
) -> None:
    """Send a command to a run, and print its answer."""
    from stream_ottt.cli.control import control as send

    raise typer.Exit(send(address, command))


@keys_app.command("new")
def keys_new(
    folder: Annotated[Path, typer.Argument(help="Where to put them.")] = Path("keys"),
) -> None:
    """Make a pair of keys for each end of a socket."""
    from stream_ottt.cli.keys import new

    raise typer.Exit(new(folder))


@config_app.command("show", context_settings=DOTTED)
def config_show(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Preset or TOML file; nothing for the defaults.")] = None,
) -> None:
    """Print the effective settings as TOML; --table.key VALUE changes them as in `run`."""
    import tomli_w

    from stream_ottt.run.config import RunConfig, merge, parse_overrides, read_preset, to_tables

    words = list(context.args)
    if name is not None and name.startswith("--"):
        words, name = [name, *words], None
    tables = merge({} if name is None else read_preset(name), parse_overrides(words))
    print(tomli_w.dumps(to_tables(RunConfig.load(tables))), end="")


@config_app.command("list")
def config_list() -> None:
    """Print the names of the presets."""
    from stream_ottt.run.config import preset_names

    print("\n".join(preset_names()))


@app.command(context_settings=DOTTED)
def replay(
    context: typer.Context,
    config: Annotated[str | None, typer.Option(help="Replay preset, or a TOML file.", metavar="NAME|FILE.toml")] = None,
    data: Annotated[str | None, typer.Option(help="Where the data set is.", metavar="PATH")] = None,
    method: Annotated[str | None, typer.Option(help="ottt_o, ottt_a, bptt, sltt, frozen, or a package's own.")] = None,
    protocol: Annotated[str | None, typer.Option(help="epochs, prequential, class-incremental or drift.")] = None,
    seed: Annotated[str | None, typer.Option(help="Of weights, order, transforms, dropout, rehearsal.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, or cuda.")] = None,
    out: Annotated[Path, typer.Option(help="The run's folder; an interrupted run in it goes on.")] = Path("out/replay"),
    presets: Annotated[bool, typer.Option("--list", help="Print the presets' names.")] = False,
) -> None:
    """Run a learning method over a data set under a protocol, and leave a folder that can be compared.

    Any setting can be given as --table.key VALUE, such as --data.time_steps 6; see docs/replay.md.
    """
    from stream_ottt.cli.replay import run_replay
    from stream_ottt.replay.config import preset_names
    from stream_ottt.run.config import merge, parse_overrides

    if presets:
        print("\n".join(preset_names()))
        return
    named = {
        "data": {"path": data},
        "method": {"name": method},
        "protocol": {"name": protocol},
        "compute": {"seed": seed, "device": device},
    }
    given = {t: {k: v for k, v in keys.items() if v is not None} for t, keys in named.items()}
    raise typer.Exit(run_replay(config, merge(given, parse_overrides(_known_or_dotted(context))), out))


@app.command(context_settings=DOTTED)
def bench(
    context: typer.Context,
    table: Annotated[str | None, typer.Argument(help="A table's name or TOML file; nothing lists them.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="NAME=PATH of a data set; repeatable.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs and the table.")] = Path("out/bench"),
    jobs: Annotated[int, typer.Option(help="Runs at once.", min=1)] = 1,
    seeds: Annotated[int, typer.Option(help="Seeds 0, 1, … of each row.", min=1)] = 3,
    rows: Annotated[str | None, typer.Option(help="Only the rows whose name contains this.")] = None,
) -> None:
    """Reproduce a table of results; what is there already is kept, and a run that fails does not end the rest."""
    from stream_ottt.cli.bench import run_bench
    from stream_ottt.run.config import parse_overrides

    overrides = parse_overrides(_known_or_dotted(context))
    raise typer.Exit(run_bench(table, data=data or [], out=out, jobs=jobs, seeds=seeds, overrides=overrides, rows=rows))
