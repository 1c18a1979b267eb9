"""How settings are written: durations with their unit, finite numbers, no key that is unknown, none taken back."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from stream_ottt.errors import UsageError
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.run.config import RunConfig, parse_every, parse_overrides, to_tables
from stream_ottt.settings import LONGEST_US, Delay, Duration, Settings, format_duration, model_of, parse_duration_us


class Inner(Settings):
    window: Duration = Field(20_000, ge=1)
    delay: Delay = 0
    span: Duration | None = None
    size: int | Literal["sensor"] = 4
    rate: float = 1.0
    name: str = ""


class Outer(Settings):
    inner: Inner = Inner()


def load(**inner: object) -> Inner:
    return Outer.load({"inner": inner}).inner


@pytest.mark.parametrize(
    ("text", "us"),
    [("20ms", 20_000), ("1.001s", 1_001_000), ("300us", 300), ("7µs", 7), ("2min", 120_000_000), (" 1 h ", 36 * 10**8),
     ("0", 0), ("0.000001s", 1)],
)  # fmt: skip
def test_durations(text: str, us: int) -> None:
    assert parse_duration_us(text) == us


@pytest.mark.parametrize("text", ["20", "1.5", "", "ms", "-1s", "1.5us", "0.0000001s", "1e3ms", "1 fortnight", "1s1s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|whole number"):
        parse_duration_us(text)


@given(st.integers(0, LONGEST_US))
def test_a_duration_that_was_written_is_read_again(us: int) -> None:
    assert parse_duration_us(format_duration(us)) == us


@given(st.integers(1, LONGEST_US), st.integers(0, LONGEST_US) | st.just("end"))
def test_settings_that_were_written_are_read_again(window: int, delay: int | Literal["end"]) -> None:
    settings = Inner(window=window, delay=delay)
    assert load(**settings.model_dump(mode="json", exclude_none=True)) == settings


def test_python_gives_microseconds_and_text_gives_a_unit() -> None:
    assert Inner(window=20).window == 20 and Inner(window="20us").window == 20
    for value in (20, "20", 20.0):
        with pytest.raises(UsageError, match=r"inner\.window.*needs its unit: write '20(\.0)?ms', '20(\.0)?us'"):
            load(window=value)


def test_checkpoints_come_after_a_time_or_so_many_timesteps() -> None:
    assert parse_every("30s") == (30.0, None) and parse_every("10ms") == (0.01, None)
    assert parse_every("1000") == (None, 1000) and parse_every("1") == (None, 1)
    for nothing in ("0", "9ms", "-1", "often"):
        with pytest.raises(ValueError):
            parse_every(nothing)


def test_none_takes_a_value_back() -> None:
    assert load(span="1s").span == 1_000_000 and load(span="none").span is None
    with pytest.raises(UsageError, match="duration with its unit"):
        load(window="none")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"rate": "inf"}, "key 'inner.rate': should be a finite number (found 'inf')"),
        ({"rate": float("nan")}, "key 'inner.rate': should be a finite number (found nan)"),
        ({"size": "big"}, "key 'inner.size': should be a valid integer, unable to parse string as an integer or should "
                          "be 'sensor' (found 'big')"),
        ({"window": "0"}, "key 'inner.window': should be greater than or equal to 1 (found 0)"),
        ({"windw": "1s"}, "unknown key 'inner.windw'; did you mean 'window'?"),
        ({"delay": f"{2**60}s"}, f"key 'inner.delay': expected a duration between 0 and 277,777h (found '{2**60}s')"),
        ({"rate": {"x": 1}}, "key 'inner.rate': should be a valid number (found {'x': 1})"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line(values: dict[str, object], line: str) -> None:
    with pytest.raises(UsageError) as e:
        load(**values)
    assert str(e.value) == line


def test_a_number_may_be_a_name() -> None:
    assert load(name=2024).name == "2024"


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--learner.lr", "0.1", "--learner.lr.x", "2"], "learner.lr has a value"),
        (["--learner.lr.x", "2", "--learner.lr", "0.1"], "learner.lr is a table"),
        (["--learner.lr"], "needs a value"),
        (["--learner"], "unknown option"),
    ],
)
def test_options_that_contradict_each_other(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_overrides(words)


def test_what_is_no_number_list_or_truth_value_is_text() -> None:
    words = [
        "--a.a",
        "2024-01-01",
        "--a.b",
        "{x=1}",
        "--a.c",
        "1\nd = 2",
        "--a.e=[1, 2]",
        "--a.f",
        "true",
        "--a.g",
        "1e3",
    ]
    got = parse_overrides(words)["a"]
    assert got == {"a": "2024-01-01", "b": "{x=1}", "c": "1\nd = 2", "e": [1, 2], "f": True, "g": 1000.0}


# --- all models ------------------------------------------------------------------------------------------------------


def keys(model: type[BaseModel]) -> list[str]:
    """``table.key`` of every setting of a configuration."""
    return [f"{table}.{key}" for table in model.model_fields for key in (model_of(model, table) or model).model_fields]


@pytest.mark.parametrize("model", [RunConfig, ReplayConfig])
def test_no_number_is_without_bounds(model: type[BaseModel]) -> None:
    """Nor is one bound stated twice: pydantic takes only one of them."""
    for key in keys(model):
        table, _, name = key.partition(".")
        field = (model_of(model, table) or model).model_fields[name]
        limits = [a for m in field.metadata for a in ("ge", "gt", "le", "lt") if getattr(m, a, None) is not None]
        assert len(limits) == len(set(limits)), key
        if field.annotation is int and "time" not in str(field.metadata):
            with pytest.raises(UsageError):
                model.load({table: {name: 10**30}})
            with pytest.raises(UsageError):
                model.load({table: {name: -1}})


@pytest.mark.parametrize("model", [RunConfig, ReplayConfig])
def test_all_settings_survive_being_written(model: type[RunConfig]) -> None:
    config = model()
    assert model.load(to_tables(config)) == config
