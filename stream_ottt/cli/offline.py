"""The commands that stream nothing: of settings, replays, reports, and networks for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_ottt.cli.app import DOTTED, app, text
from stream_ottt.cli.usage import App

config_app = App(help="Look at presets and settings.")
app.add_typer(config_app, name="config")


@config_app.command("show", context_settings=DOTTED)
def config_show(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            help="Preset, replay preset, table or TOML file; nothing for the defaults.", metavar="NAME|FILE"
        ),
    ] = None,
) -> None:
    """Print every setting as TOML, with what it means. --table.key VALUE changes it as in `run`.

    A name that both a preset and a replay preset have means the preset; replay/NAME means the other.
    """
    from stream_ottt.cli.config import show

    if name is not None and name.startswith("--"):
        context.args, name = [name, *context.args], None
    show(context, name)


@config_app.command("list")
def config_list() -> None:
    """Print all presets and tables, each with what it is."""
    from stream_ottt.cli.presets import list_all

    list_all()


@app.command(context_settings=DOTTED)
def replay(
    context: typer.Context,
    config: Annotated[str | None, text("Replay preset, or a TOML file.", "NAME|FILE")] = None,
    data: Annotated[str | None, text("Where the data set is.", "PATH")] = None,
    method: Annotated[str | None, text("ottt_o, bptt, er and so on, or rule.py:MyRule.", "NAME")] = None,
    protocol: Annotated[
        str | None, text("epochs, prequential, drift and so on; see docs/protocols.md.", "NAME")
    ] = None,
    seed: Annotated[str | None, text("Of weights, order, transforms, dropout, rehearsal.", "INTEGER")] = None,
    device: Annotated[str | None, text("cpu, cuda or cuda:1.", "DEVICE")] = None,
    out: Annotated[Path, text("The run's folder; an interrupted run in it goes on.", "FOLDER")] = Path("out/replay"),
    presets: Annotated[bool, typer.Option("--list", help="Print the presets.")] = False,
) -> None:
    """Run a learning method over a data set, by a protocol. It leaves a folder that `compare` and `report` take.

    Any setting can be given as --table.key VALUE, such as --data.time_steps 6; see docs/replay.md.
    """
    if presets:
        from stream_ottt.cli.presets import list_presets
        from stream_ottt.run.presets import REPLAYS

        list_presets(REPLAYS)
        return
    from stream_ottt.cli.options import overrides
    from stream_ottt.cli.replay import run_replay
    from stream_ottt.replay.config import ReplayConfig

    named = {
        "data": {"path": data},
        "method": {"name": method},
        "protocol": {"name": protocol},
        "compute": {"seed": seed, "device": device},
    }
    raise typer.Exit(run_replay(config, overrides(context, ReplayConfig, named), out))


@app.command(context_settings=DOTTED)
def bench(
    context: typer.Context,
    table: Annotated[
        str | None,
        typer.Argument(help="A table's name or TOML file; else all are listed.", metavar="NAME|FILE"),
    ] = None,
    data: Annotated[list[str] | None, text("Where a data set is; repeatable.", "NAME=PATH")] = None,
    out: Annotated[Path, text("Folder of the runs and the table.", "FOLDER")] = Path("out/bench"),
    jobs: Annotated[int, typer.Option(help="Runs at once.", metavar="INTEGER", min=1)] = 1,
    seeds: Annotated[int, typer.Option(help="Seeds 0, 1, … of each row.", metavar="INTEGER", min=1)] = 3,
    rows: Annotated[str | None, text("Only the rows whose name contains this.", "TEXT")] = None,
    device: Annotated[str | None, text("cpu, cuda or cuda:1.", "DEVICE")] = None,
    scheduler: Annotated[str | None, text("A Dask scheduler whose workers make the runs.", "tcp://HOST:PORT")] = None,
) -> None:
    """Reproduce a table of results. What is there already is kept; a run that fails does not end the rest."""
    from stream_ottt.cli.bench import run_bench
    from stream_ottt.cli.options import overrides
    from stream_ottt.replay.config import ReplayConfig

    given = overrides(context, ReplayConfig, {"compute": {"device": device}})
    raise typer.Exit(
        run_bench(
            table, data=data or [], out=out, jobs=jobs, seeds=seeds, overrides=given, rows=rows, scheduler=scheduler
        )
    )


@app.command(context_settings=DOTTED)
def search(
    context: typer.Context,
    config: Annotated[str | None, text("Replay preset, or a TOML file.", "NAME|FILE")] = None,
    data: Annotated[str | None, text("Where the data set is.", "PATH")] = None,
    vary: Annotated[
        list[str] | None, text("A setting and its values; repeatable.", "KEY=LOW..HIGH[:log]|KEY=A,B,C")
    ] = None,
    trials: Annotated[int, typer.Option(help="Runs in all.", metavar="INTEGER", min=1)] = 20,
    jobs: Annotated[int, typer.Option(help="Runs at once.", metavar="INTEGER", min=1)] = 1,
    scheduler: Annotated[str | None, text("A Dask scheduler whose workers make the runs.", "tcp://HOST:PORT")] = None,
    device: Annotated[str | None, text("cpu, cuda or cuda:1.", "DEVICE")] = None,
    out: Annotated[Path, text("Folder of the journal and the runs.", "FOLDER")] = Path("out/search"),
) -> None:
    """Search for the settings of the best accuracy. The same command goes on with what is missing; it needs Optuna."""
    from stream_ottt.cli.options import overrides
    from stream_ottt.cli.search import run_search
    from stream_ottt.replay.config import ReplayConfig

    given = overrides(context, ReplayConfig, {"data": {"path": data}, "compute": {"device": device}})
    raise typer.Exit(run_search(config, given, vary=vary or [], out=out, trials=trials, jobs=jobs, scheduler=scheduler))


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of `run --record` or `replay`, or summaries.", metavar="RUN")
    ],
) -> None:
    """Print finished runs side by side. It shows their figures, and every setting that differs."""
    from stream_ottt.cli.markdown import show
    from stream_ottt.replay.compare import compare as compare_runs

    show(compare_runs(runs))


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of `run --record`, `replay` or `bench`, or summaries.", metavar="RUN"),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.", metavar="FILE")] = Path("report.html"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write one HTML file about runs. It shows scores over time, classes, firing rates, time, memory, settings.

    Runs that differ in their seeds alone are drawn as mean and deviation.
    """
    from stream_ottt.cli.report import write_report

    raise typer.Exit(write_report(runs, out, force=force))


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="Model file of `run --save`.", metavar="MODEL")],
    format_: Annotated[str, typer.Argument(help="nir, onnx or pt.", metavar="FORMAT")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; else beside the model.", metavar="FILE")
    ] = None,
    pooling: Annotated[
        str, typer.Option(help="In nir: average, sum, or fold into the weights above.", metavar="NAME")
    ] = "average",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a trained network for other tools; see docs/export.md."""
    from stream_ottt.cli.export import export as export_model

    raise typer.Exit(export_model(model, format_, out, pooling=pooling, force=force))


@app.command(name="import", context_settings=DOTTED)
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Checkpoint of the paper's released code.", metavar="FILE")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Model file; else beside it.", metavar="FILE")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Read a checkpoint of the paper's released code. `run --load` takes what is written.

    Settings are given as in `run`, such as --binning.width 48 --binning.height 48 --network.decay 0.5.
    """
    from stream_ottt.cli.export import import_ as import_model
    from stream_ottt.cli.options import overrides
    from stream_ottt.run.config import RunConfig

    raise typer.Exit(import_model(file, out, overrides(context, RunConfig, {}), force=force))
