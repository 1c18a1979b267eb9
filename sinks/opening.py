"""From a URI or a table to a configured sink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from stream_ottt.pipeline.sink import Sink
from stream_ottt.registry import split_uri
from stream_ottt.sinks import SINKS


def open_sink(spec: str | Mapping[str, Any]) -> Sink:
    """The sink that ``name``, ``name:target``, ``name:target?options`` or an address ``scheme://…`` describes.

    Raises:
        UsageError: unknown sink, or an option that it does not have.
    """
    extra: dict[str, Any] = {}
    if isinstance(spec, Mapping):
        extra = {k: v for k, v in spec.items() if k != "uri"}
        spec = str(spec["uri"])
    scheme, rest, options = split_uri(spec)
    merged = {**options, **extra}
    word = scheme or rest
    cls = SINKS.of_scheme(word)
    target = f"{scheme}:{rest}" if word in cls.schemes else (rest if scheme else "")
    return cast("Sink", cls.from_options(target=target, **merged))
