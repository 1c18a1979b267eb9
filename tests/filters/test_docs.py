"""docs/filters.md names every filter and every option, with the defaults that the code has; its examples are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stream_ottt.events.frames import FRAMES, open_frames
from stream_ottt.filters import FILTERS
from stream_ottt.filters.chain import parse_filter

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "filters.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, flags=re.DOTALL | re.MULTILINE))


def test_every_filter_has_its_section_in_order() -> None:
    assert list(SECTIONS) == [*FILTERS.names(), "Frames beside counts"]


@pytest.mark.parametrize("name", FILTERS.names())
def test_options_and_defaults(name: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", SECTIONS[name], flags=re.MULTILINE))
    filter_class = FILTERS.get(name)
    fields = filter_class.Config.model_fields
    assert list(rows) == list(fields)
    required = {key for key, field in fields.items() if field.is_required()}
    assert {key for key, default in rows.items() if default == "required"} == required
    given = {key: default.strip("`") for key, default in rows.items() if key not in required and default != "none"}
    values = {"width": 1, "height": 1, "degrees": 90, "keep": "on", "path": "x"}
    config = filter_class.Config.load({**{key: values[key] for key in required}, **given})
    assert all(getattr(config, key) == fields[key].default for key in given)
    assert all(not fields[key].default for key in set(rows) - set(given) - required)
    in_front = re.findall(r"^\| `(\w+)` \|.*may stand behind the colon", SECTIONS[name], flags=re.MULTILINE)
    assert in_front == ([filter_class.argument] if filter_class.argument else [])


@pytest.mark.parametrize("name", FILTERS.names())
def test_examples_are_valid(name: str) -> None:
    examples = re.findall(r"^    (\S+)$", SECTIONS[name], flags=re.MULTILINE)
    assert examples
    for example in examples:
        assert parse_filter(example)[0].name == name


def test_the_command_line_is_valid() -> None:
    specs = re.findall(r"--filter (\S+)", TEXT)
    assert len(specs) == 3
    for spec in specs:
        parse_filter(spec)


def test_every_frame_is_named() -> None:
    specs = re.findall(r"^\| `([^`]+)` \|", SECTIONS["Frames beside counts"], flags=re.MULTILINE)
    assert [spec.partition(":")[0] for spec in specs] == FRAMES.names()
    for spec in specs:
        name = spec.partition(":")[0]
        assert open_frames(spec, (2, 3, 3)).config == open_frames(name, (2, 3, 3)).config  # the defaults, as written
