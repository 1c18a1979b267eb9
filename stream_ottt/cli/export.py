"""``stream-ottt export`` and ``import``: networks out to other tools, and in from the released code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from stream_ottt.cli.progress import loading
from stream_ottt.errors import ModelError, UsageError
from stream_ottt.log import say
from stream_ottt.outputs import check_writable
from stream_ottt.registry import near_miss
from stream_ottt.run.model_file import load_checkpoint

Kind = Literal["nir", "onnx", "pt"]
NEEDS = {"nir": "nir", "onnx": "onnx"}


def export(model: Path, kind: str, out: Path | None, *, pooling: str, force: bool) -> int:
    """Write the network of a model file in another form.

    Returns:
        0.

    Raises:
        StreamOtttError: one line for the user.
    """
    if kind not in get_args(Kind):
        raise UsageError(f"unknown format {kind!r}{near_miss(kind, get_args(Kind))}")
    if pooling not in ("average", "sum", "fold"):
        raise UsageError(f"--pooling {pooling!r}{near_miss(pooling, ('average', 'sum', 'fold'))}")
    if kind != "nir" and pooling != "average":
        raise UsageError(f"--pooling {pooling}: only nir has it")
    load_checkpoint(model)  # what is wrong with it is said before torch is imported
    out = out or model.with_suffix(f".{kind}")
    check_writable(out, overwrite=force)
    _require(kind)
    loading(str(model))
    from stream_ottt.export.model import facts, load_network

    network, checkpoint = load_network(model)
    about = facts(checkpoint, network)
    if kind == "nir":
        from stream_ottt.export.nir import write_nir

        write_nir(out, network, about, pooling=pooling)  # type: ignore[arg-type] # checked above
    elif kind == "onnx":
        from stream_ottt.export.onnx import write_onnx

        write_onnx(out, network, about)
    else:
        from stream_ottt.export.released import write_released

        write_released(out, network)
    say(str(out))
    return 0


def _find(model: Path) -> None:
    if not model.is_file():  # said before torch is imported
        raise ModelError(f"{model}: no such model file")


def _require(kind: str) -> None:
    from importlib.util import find_spec

    package = NEEDS.get(kind)
    if package is not None and find_spec(package) is None:
        raise UsageError(f"export to {kind} needs a package: pip install 'stream-ottt[export]'")


def import_(file: Path, out: Path | None, overrides: dict[str, Any], *, force: bool) -> int:
    """Write a checkpoint of the released code as a model file.

    Args:
        file: the checkpoint.
        out: the model file; None for the same name with ``.safetensors``.
        overrides: settings on top; of the network, all but its layers.
        force: whether a file that exists is replaced.

    Returns:
        0.

    Raises:
        StreamOtttError: one line for the user.
    """
    _find(file)
    out = out or file.with_suffix(".safetensors")
    check_writable(out, overwrite=force)
    loading(str(file))
    from stream_ottt.export.importing import import_released

    line = import_released(file, out, overrides)
    say(f"{out}: {line}")
    return 0
