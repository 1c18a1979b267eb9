"""Where runs are made: in processes of this machine, or by the workers of a Dask cluster.

Both are executors of ``concurrent.futures``. A run leaves its results in its own folder, which all machines share.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.replay.config import ReplayConfig

K = TypeVar("K")

CONNECT_S = 10
ATTEMPTS = 3
"""How often a run is begun whose worker is lost each time."""


def results(
    calls: Mapping[K, tuple[Any, ...]], function: Callable[..., Any], jobs: int, scheduler: str | None = None
) -> Iterator[tuple[K, Future[Any]]]:
    """The calls of ``function`` as they end; those whose process was killed are made again.

    Args:
        calls: by any key, the arguments.
        function: one that other processes can import.
        jobs, scheduler: as of :func:`open_executor`.
    """
    left = dict(calls)
    for attempt in range(ATTEMPTS):
        with open_executor(jobs, scheduler) as executor:
            running = {executor.submit(function, *arguments): key for key, arguments in left.items()}
            for future in as_completed(running):
                broken = not future.cancelled() and isinstance(future.exception(), BrokenExecutor)
                if broken and attempt + 1 < ATTEMPTS:
                    continue  # one killed process ends all that share its pool
                key = running[future]
                del left[key]
                yield key, future
        if not left:
            return


@contextmanager
def open_executor(jobs: int, scheduler: str | None = None) -> Iterator[Executor]:
    """What makes runs, until the block ends; what has not begun by then is given up.

    Args:
        jobs: runs at once, each in a process of its own, where there is no scheduler.
        scheduler: address of a Dask scheduler, ``tcp://host:8786``. It gives a run whose worker was lost
            to another one.

    Raises:
        UsageError: no such scheduler, or ``distributed`` is not installed.
    """
    if scheduler is None:
        with _processes(jobs) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError as e:
        raise UsageError("--scheduler needs Dask: pip install 'stream-ottt[cluster]'") from e
    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as e:
        raise UsageError(
            f"--scheduler {scheduler}: no scheduler answered within {CONNECT_S} s; start one with `dask scheduler`, "
            "and give its address as tcp://HOST:8786"
        ) from e
    with client:
        executor = client.get_executor(pure=False)  # type: ignore[no-untyped-call]
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)


@contextmanager
def _processes(jobs: int) -> Iterator[Executor]:
    # Spawned, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        try:
            yield pool
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


def make_run(settings: str, out: str) -> None:
    """One run, wherever it is made.

    Args:
        settings: of a :class:`ReplayConfig`, as JSON.
        out: its folder.
    """
    from stream_ottt.replay.runs import replay

    folder = Path(out)
    try:
        replay(ReplayConfig.model_validate_json(settings), folder, say=lambda line: None)
    except Exception:
        _note(folder)
        raise


def _note(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(traceback.format_exc())
    except OSError as e:
        raise OutputError(f"{folder}: cannot be written: {e.strerror}") from e
