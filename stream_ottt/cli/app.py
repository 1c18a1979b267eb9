"""``stream-ottt``: the commands and their options; the work is done elsewhere. Those for sockets are in
``sockets.py``, those for work offline in ``offline.py``."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from stream_ottt.cli.usage import WRONG_USAGE, App, in_one_line
from stream_ottt.errors import ModelError, StreamOtttError, UsageError
from stream_ottt.leaving import leave
from stream_ottt.log import say, set_up

app = App(
    name="stream-ottt",
    help="Watch an event camera and train a spiking network on it, at every timestep.",
    pretty_exceptions_enable=False,
)

DOTTED = {"allow_extra_args": True, "ignore_unknown_options": True}


LEFT_BEHIND = "left behind"
"""Beginning of the name of a thread that does not come back."""


def main() -> None:
    """Entry point: an error that a user can correct ends in one line and its exit code."""
    # "-?format=csv" is standard input with an option, which the parser of options would take for one of its own.
    sys.argv[1:] = ["stdin:" + word[1:] if word.startswith("-?") else word for word in sys.argv[1:]]
    try:
        sys.exit(app(args=_with_web_address(sys.argv[1:]), standalone_mode=False))
    except WRONG_USAGE as e:
        if (line := in_one_line(e)) is None:
            print(e, file=sys.stderr)
        else:
            say(line, "error", level=logging.ERROR, code=UsageError.exit_code)
        sys.exit(UsageError.exit_code)
    except StreamOtttError as e:
        say(str(e), "error", level=logging.ERROR, code=e.exit_code)
        sys.exit(e.exit_code)
    except SystemExit as e:
        if any(t.name.startswith(LEFT_BEHIND) for t in threading.enumerate()):
            # A sink in a write to a terminal or pipe that nobody reads; ending in order would wait for its lock.
            sys.stderr.flush()
            leave()
            os._exit(e.code if isinstance(e.code, int) else 1)
        raise


def _show_version(asked: bool) -> None:
    if asked:
        from stream_ottt import __version__

        print(f"stream-ottt {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


def text(what: str, metavar: str = "TEXT", /, *names: str) -> object:
    """An option whose value is read by the settings, which say what is wrong with it in one line."""
    return typer.Option(*names, help=what, metavar=metavar)


@app.command(context_settings=DOTTED)
def run(
    context: typer.Context,
    source: Annotated[
        list[str] | None,
        text("Recording, folder or address; repeatable: several are merged into one stream.", "SOURCE"),
    ] = None,
    config: Annotated[str | None, text("Preset name, or a TOML file.", "NAME|FILE")] = None,
    labels: Annotated[
        list[str] | None,
        text("CSV of class, startTime_usec, endTime_usec; of several sources one for all, or one for each.", "FILE"),
    ] = None,
    label_delay: Annotated[
        str | None, text("When a label becomes known after its start: 500ms, 0, or end.", "DURATION|end")
    ] = None,
    passes: Annotated[str | None, text("How often to see the stream; the first pass is scored.", "INTEGER")] = None,
    load: Annotated[Path | None, text("Model file to start from, with its settings.", "FILE")] = None,
    save: Annotated[Path | None, text("Model file to write at the end.", "FILE")] = None,
    no_learn: Annotated[bool, typer.Option("--no-learn", help="Only predict and score.")] = False,
    summary: Annotated[Path | None, text("Summary JSON to write at the end.", "FILE")] = None,
    record: Annotated[str | None, text("Folder that keeps the run for `report`.", "FOLDER")] = None,
    record_events: Annotated[
        bool, typer.Option("--record-events", help="Keep the events there, too, as AEDAT4.")
    ] = False,
    tensorboard: Annotated[str | None, text("Folder for TensorBoard's files.", "FOLDER")] = None,
    predictions: Annotated[str | None, text("JSON lines, one a timestep ('-' for stdout).", "FILE")] = None,
    filter_: Annotated[
        list[str] | None,
        text("Filter of events, such as hot or roi:?width=64&height=64; repeatable.", "FILTER", "--filter"),
    ] = None,
    sink: Annotated[list[str] | None, text("More sinks, such as csv:out.csv; repeatable.", "SINK")] = None,
    speed: Annotated[str | None, text("max, or a multiple of the stream's pace such as 1x.", "max|FACTOR")] = None,
    seed: Annotated[str | None, text("Of weights, dropout, rehearsal and shuffles.", "INTEGER")] = None,
    max_steps: Annotated[str | None, text("Stop after this many timesteps.", "INTEGER")] = None,
    precision: Annotated[
        str | None, text("Of the convolutions; 16 bits where they are faster.", "float32|bf16-backward|bf16")
    ] = None,
    device: Annotated[str | None, text("cpu, cuda or cuda:1.", "DEVICE")] = None,
    web: Annotated[
        str | None, text("Show the run on a page for browsers, at 127.0.0.1:8765 or there.", "[HOST:PORT]")
    ] = None,
    metrics: Annotated[
        str | None, text("Serve /metrics, /healthz and /readyz there; on this machine unless told.", "[HOST:]PORT")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No terminal view.")] = False,
    checkpoint: Annotated[Path | None, text("Folder for checkpoints, to `resume` from.", "FOLDER")] = None,
    checkpoint_every: Annotated[str | None, text("Time between two of them, or timesteps.", "DURATION|INTEGER")] = None,
    resume_: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in that folder, where there is one.")
    ] = False,
    control: Annotated[str | None, text("Take commands at zmq+rep://HOST:PORT; see `control`.", "ADDRESS")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let others reach sockets without keys.")] = False,
    log_format: Annotated[str, text("Lines on stderr: for people, or one JSON object each.", "text|json")] = "text",
    force: Annotated[bool, typer.Option("--force", help="Write outputs anew that exist already.")] = False,
) -> None:
    """Stream a source through a network that learns while it watches.

    Any setting can be given as --table.key VALUE, such as --learner.lr 0.01; `stream-ottt config show NAME` lists them.
    """
    from stream_ottt.run.stopping import Stopping

    set_up(log_format)
    with Stopping() as stopping:
        if resume_:
            from stream_ottt.cli.resume import resumable
            from stream_ottt.cli.resume import resume as go_on

            if (folder := resumable(checkpoint)) is not None:
                raise typer.Exit(go_on(folder, force=force, stopping=stopping))
        from stream_ottt.cli.options import overrides
        from stream_ottt.run.config import RunConfig
        from stream_ottt.run.opening import with_labels

        named: dict[str, dict[str, object]] = {
            "binning": {"filters": filter_ or None},
            "labels": {"delay": label_delay},
            "engine": {"precision": precision, "device": device},
            "stream": {
                "passes": passes,
                "speed": speed,
                "seed": seed,
                "max_steps": max_steps,
                "control": control,
                "checkpoint_every": checkpoint_every,
            },
        }
        sinks = [] if quiet else ["terminal"]
        if sys.stderr.isatty() and log_format == "text" and (quiet or not sys.stdout.isatty()):
            sinks.append("progress")  # there is no view
        if predictions is not None:
            sinks.append(f"jsonl:{predictions}")
        if record is not None:
            sinks.append(f"record:{record}" + ("?events=true" if record_events else ""))
        elif record_events:
            raise UsageError("--record-events needs a folder: --record FOLDER")
        if tensorboard is not None:
            sinks.append(f"tensorboard:{tensorboard}")
        if web is not None:
            sinks.append(f"web:{web}")
        if metrics is not None:
            sinks.append(f"metrics:{metrics}")
        sinks += sink or []
        if insecure:
            from stream_ottt.live.zmq_socket import allow_exposure

            source = [allow_exposure(s) for s in source or ()]
            sinks = [allow_exposure(s) for s in sinks]
        source, named["labels"]["file"] = with_labels(source or [], labels or [])
        first, more = (source[0], source[1:]) if source else (None, [])
        named["stream"]["sources"] = more or None
        settings = overrides(context, RunConfig, named)
        from stream_ottt.cli.check import check_run
        from stream_ottt.run.request import RunRequest

        request = RunRequest(
            source=first,
            preset=config,
            overrides=settings,
            sinks=sinks,
            load=load,
            save=save,
            summary=summary,
            learn=not no_learn,
            force=force,
            checkpoints=checkpoint,
        )
        check_run(request)
        if log_format == "text":
            from stream_ottt.cli.progress import loading

            loading(" + ".join(source or ()))
        from stream_ottt.run.run import run as run_request

        raise typer.Exit(run_request(request, stopping))


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="Of the checkpoints, as given to `run`.", metavar="FOLDER")],
    force: Annotated[bool, typer.Option("--force", help="Go on also where lines of an output are gone.")] = False,
    log_format: Annotated[str, text("Lines on stderr: for people, or one JSON object each.", "text|json")] = "text",
) -> None:
    """Go on with a run that was stopped, as if it had never stopped. It goes on from its newest good checkpoint."""
    if not folder.is_dir():  # said before torch is imported
        raise ModelError(f"{folder}: there is no such folder of checkpoints")
    from stream_ottt.run.stopping import Stopping

    set_up(log_format)
    with Stopping() as stopping:
        from stream_ottt.cli.progress import loading

        if log_format == "text":
            loading(str(folder))
        from stream_ottt.cli.resume import resume as go_on

        raise typer.Exit(go_on(folder, force=force, stopping=stopping))


def _with_web_address(words: list[str]) -> list[str]:
    """The command line with ``--web=`` where no address follows ``--web``, which must have a value for typer."""
    following = [*words[1:], "-"]
    bare = [word == "--web" and after.startswith("-") for word, after in zip(words, following, strict=False)]
    return [f"{word}=" if is_bare else word for word, is_bare in zip(words, bare, strict=True)]


@app.command()
def info(
    source: Annotated[str, typer.Argument(help="Recording, folder or address.", metavar="SOURCE")],
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what is in a recording: format, sensor, events, span, rate."""
    # Nothing is multiplied here, and the threads that numpy's BLAS starts take a tenth of a second of processor time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from stream_ottt.cli.info import show

    raise typer.Exit(show(source, as_json=json_output))


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="Recording or folder.", metavar="SOURCE")],
    target: Annotated[
        str, typer.Argument(help="File to write; its ending names the format, or ?format=NAME.", metavar="TARGET")
    ],
    shift: Annotated[str | None, text("The first event to 0, or so much is added.", "auto|MICROSECONDS")] = None,
    from_: Annotated[str | None, text("Leave out what comes before, such as 10s.", "DURATION", "--from")] = None,
    to: Annotated[str | None, text("Leave out what comes from then on, such as 20s.", "DURATION")] = None,
    filter_: Annotated[
        list[str] | None, text("Filter of events, such as hot; repeatable.", "FILTER", "--filter")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a recording in another event file format."""
    from stream_ottt.cli.convert import convert as convert_file

    times = {"shift": shift, "from": from_, "to": to}
    raise typer.Exit(convert_file(source, target, filters=filter_ or (), force=force, **times))
