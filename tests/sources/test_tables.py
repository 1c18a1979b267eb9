"""What all table-like recordings have in common: columns, units of time, sensors, wraps, and the options of time."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from stream_ottt.cli.info import show
from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.sources.columns import find_columns, to_us, unit_in
from stream_ottt.sources.guesses import guess_sensor
from stream_ottt.sources.opening import open_source

N = 1500
RNG = np.random.default_rng(5)
T = np.sort(RNG.integers(0, 37_900, N))
T[0] = 0
BASE = make_events(RNG.integers(0, 323, N), RNG.integers(0, 244, N), T, RNG.random(N) < 0.5)
BASE[1]["x"], BASE[1]["y"] = 322, 243
T_, X, Y, P = (BASE[k].astype(np.int64) for k in "txyp")
TABLE = np.stack([T_, X, Y, P], axis=1)
EPOCH = 1_589_163_147_368_868


def read(uri: object) -> EventArray:
    source = open_source(str(uri))
    assert isinstance(source, BlockingSource)
    packets = list(source.excerpt())
    assert {(p.width, p.height) for p in packets} == {(346, 260)} and source.size_from == "guess"
    return np.concatenate([p.events for p in packets])


def why(uri: object) -> str:
    source = open_source(str(uri))
    assert isinstance(source, BlockingSource)
    with pytest.raises(InputError) as error:
        list(source.excerpt())
    assert "\n" not in str(error.value)
    return str(error.value)


def text(rows: Any, form: str = "{},{},{},{}", head: str = "") -> bytes:
    return (head + "".join(form.format(*row) + "\n" for row in rows)).encode()


SECONDS = [(f"{t // 10**6}.{t % 10**6:06}", x, y, p) for t, x, y, p in TABLE.tolist()]
TEXTS = {
    "seconds, as in the RPG data sets": text(SECONDS, "{}000 {} {} {}"),
    "polarity -1 and 1": text([(t, x, y, 2 * p - 1) for t, x, y, p in SECONDS], "{} {} {} {}"),
    "seconds under a name": text(SECONDS, head="timestamp,x,y,polarity\n"),
    "tabs, x y t p": text(TABLE[:, [1, 2, 0, 3]], "{}\t{}\t{}\t{}"),
    "x y p t without a header": text(TABLE[:, [1, 2, 3, 0]]),
    "semicolons": text(TABLE, "{};{};{};{}", "t;x;y;p\n"),
    "blanks in any number": text(TABLE, "  {}   {}\t{} {} "),
    "words": text([(i, *r[:3], bool(r[3])) for i, r in enumerate(TABLE)], "{},{},{},{},{}", ",t,x,y,p\n"),
    "whole floats": text(TABLE.astype(float), head="t,x,y,p\n"),
    "exponents": text(TABLE.astype(float), "{:.18e} {:.18e} {:.18e} {:.18e}"),
    "comments": text(TABLE, head="% a recording\n# t, x, y, p\n"),
    "ns under a name": text([(1000 * t + 499, x, y, p) for t, x, y, p in TABLE.tolist()], head="t_ns,x,y,p\n"),
    "carriage returns": text(TABLE, "{},{},{},{}\r", "Time [us],X,Y,Polarity\r\n"),
    "bars": text(TABLE, "{}|{}|{}|{}", "t|x|y|p\n"),
    "a tab at the end": text(TABLE, "{}\t{}\t{}\t{}\t"),
    "a comma at the end of lines, but not of the header": text(TABLE, "{},{},{},{},", "t,x,y,p\n"),
    "a title before the header": text(TABLE, head="Exported by a viewer, 2024\nt,x,y,p\n"),
    "units of all columns": text(TABLE[:, [1, 2, 3, 0]], head="x [px],y (pixels),p,t [us]\n"),
    "quoted names, an index, a byte order mark": text(
        [(i, *r) for i, r in enumerate(TABLE)], "{},{},{},{},{}", '\ufeff"","t_us","x_pos","y_pos","polarity"\n'
    ),
    "all quoted": text(TABLE, '"{}","{}","{}","{}"', '"t","x","y","p"\n'),
    "ms with fractions": text([(f"{t / 1000:.3f}", x, y, p) for t, x, y, p in TABLE.tolist()], head="time_ms,x,y,p\n"),
    "blank lines between": text(TABLE, "{},{},{},{}\n", "t,x,y,p\n\n"),
    "gzip": gzip.compress(text(TABLE, head="t,x,y,p\n")),
}


@pytest.mark.parametrize("name", TEXTS)
def test_every_dialect_of_text(tmp_path: Path, name: str) -> None:
    (tmp_path / "events").write_bytes(TEXTS[name])
    assert np.array_equal(read(tmp_path / "events"), BASE)


@pytest.mark.parametrize(
    "head",
    [
        "346 260\n",
        "%geometry:346,260\n",
        "# geometry 346x260\n",
        "# sensor resolution: 346 x 260\n",
        "# width=346, height=260\n",
        "# height: 260, width: 346\n",
        "t,x@346,y@260,p\n",
    ],
)
def test_a_size_that_the_text_says(tmp_path: Path, head: str) -> None:
    blanks = "," not in head
    (tmp_path / "a.txt").write_bytes(text(TABLE, "{} {} {} {}" if blanks else "{},{},{},{}", head))
    source = open_source(tmp_path / "a.txt")
    (packet,) = source.packets()  # type: ignore[attr-defined]
    assert (packet.width, packet.height, source.size_from) == (346, 260, "file")
    assert np.array_equal(packet.events, BASE)


def arrays(path: Path, **columns: Any) -> Path:
    np.savez(path, **columns)
    return path.with_name(path.name + ".npz")


@pytest.mark.parametrize("order", ["txyp", "xytp", "xypt", "tpxy", "ptxy"])
@pytest.mark.parametrize("turned", [False, True])
def test_arrays_without_names(tmp_path: Path, order: str, turned: bool) -> None:
    table = np.stack([BASE[c].astype(np.int64) for c in order], axis=1)
    table = table.T if turned else table
    np.save(tmp_path / "a.npy", table)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["events"] = table.T if turned else table
    savemat(tmp_path / "a.mat", {"data": table})
    arrays(tmp_path / "b", anything=table, other=np.arange(3))
    for name in ("a.npy", "a.h5", "a.mat", "b.npz"):
        assert np.array_equal(read(tmp_path / name), BASE), name


def test_arrays_under_other_names(tmp_path: Path) -> None:
    xy = np.stack([X, Y], axis=1).astype(np.uint16)
    assert np.array_equal(read(arrays(tmp_path / "a", events_xy=xy, events_t=T_ / 1e6, events_p=P.astype("u1"))), BASE)
    two = arrays(tmp_path / "b", left=TABLE, right=TABLE[::-1][:9])
    assert "left [1500, 4], right [9, 4]; say which holds the events with array=" in why(two)
    assert np.array_equal(read(f"{two}?array=left"), BASE)
    assert "no array 'middle'; found left, right" in why(f"{two}?array=middle")
    savemat(tmp_path / "c.mat", {"ts": T_[:, None], "x": X[:, None], "y": Y[:, None], "pol": P[:, None]})
    assert np.array_equal(read(tmp_path / "c.mat"), BASE)
    savemat(tmp_path / "d.mat", {"spikes": np.zeros((3, 5))})
    assert "it holds spikes [3, 5]" in why(tmp_path / "d.mat")


def test_float_seconds_are_found_in_all_tables(tmp_path: Path) -> None:
    columns = {"t": (T_ + EPOCH) * 1e-6, "x": X, "y": Y, "p": P}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, column in columns.items():
            file[f"raw_events/{name}"] = column
    for uri in (arrays(tmp_path / "a", **columns), tmp_path / "a.h5"):
        assert np.array_equal(read(uri)["t"], T_ + EPOCH)
        assert np.array_equal(read(f"{uri}?shift=auto"), BASE)


def test_a_unit_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    columns = {"x": X, "y": Y, "p": P}
    coarse = arrays(tmp_path / "a", t=T_ // 1000 * 1000 / 1e6, **columns)  # s with three digits, or ms
    assert "say their unit with time=, such as time=s or time=ms" in why(coarse)
    assert np.array_equal(read(f"{coarse}?time=s")["t"], T_ // 1000 * 1000)
    fine = arrays(tmp_path / "d", t=(T_ / 1000).astype(np.float32), **columns)  # ms, or s with errors of float32
    assert "say their unit with time=" in why(fine)
    assert np.array_equal(read(f"{fine}?time=ms"), BASE)
    ms = arrays(tmp_path / "b", t=T_ // 1000, **columns)
    assert "1,500 events in 37 µs is more than a camera gives; say the unit of the times with ?time=ms" in why(ms)
    assert np.array_equal(read(f"{ms}?time=ms")["t"], T_ // 1000 * 1000)
    assert np.array_equal(read(f"{ms}?time=us")["t"], T_ // 1000)
    since_1970 = arrays(tmp_path / "e", t=(EPOCH + 5 * T_) // 1000, **columns)  # 8 in each ms
    assert "say the unit of the times with ?time=ms" in why(since_1970)
    assert np.array_equal(read(f"{since_1970}?time=ms")["t"], (EPOCH + 5 * T_) // 1000 * 1000)
    ns = arrays(tmp_path / "c", t=(T_ + EPOCH) * 1000 + 400, **columns)
    assert np.array_equal(read(ns)["t"], T_ + EPOCH)
    with pytest.raises(UsageError, match=r"source\.time"):
        open_source(f"{ms}?time=min")


def test_rows_of_events_in_groups_as_in_mvsec(tmp_path: Path) -> None:
    rows = np.stack([X, Y, (T_ + EPOCH) / 1e6, 2 * P - 1], axis=1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["davis/left/events"] = rows
        file["davis/left/imu"] = rows  # is none of events
    assert np.array_equal(read(f"{tmp_path / 'a.h5'}?shift=auto"), BASE)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["davis/right/events"] = rows
    assert "events lie in davis/left/events, davis/right/events; say which with group=" in why(tmp_path / "a.h5")
    assert np.array_equal(read(f"{tmp_path / 'a.h5'}?shift=auto&group=davis/right/events"), BASE)


def test_a_folder_with_one_recording_among_other_texts_names_it(tmp_path: Path) -> None:
    (tmp_path / "events.txt").write_bytes(text(TABLE, "{} {} {} {}"))
    for name in ("imu.txt", "images.txt"):
        (tmp_path / name).write_text("0.1 1 2 3 4 5\n")
    for beside in ("", "images"):
        (tmp_path / beside).mkdir(exist_ok=True)
        (tmp_path / beside / "frame_0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        with pytest.raises(UsageError, match=r"give .*events\.txt, if that is the recording"):
            list(open_source(tmp_path).packets())  # type: ignore[attr-defined]


def test_times_before_zero_come_with_their_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = arrays(tmp_path / "a", t=T_ - 5000, x=X, y=Y, p=P)
    assert show(str(path), as_json=False) == 3 and "shift=auto moves the first event" in capsys.readouterr().err
    assert np.array_equal(read(f"{path}?shift=auto"), BASE)


def test_columns_that_cannot_be_told_are_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.tile([[1, 1, 1, 1]], (20, 1)))
    assert read_any(f"{tmp_path / 'a.npy'}?columns=xytp") == 20
    np.save(tmp_path / "b.npy", np.stack([T_ % 99, X, Y, P + 5], axis=1))
    assert "say it with columns=" in why(tmp_path / "b.npy")
    (tmp_path / "c.csv").write_bytes(text(np.stack([T_ % 99, X, Y, P + 5], axis=1)))
    assert "say it with columns=" in why(tmp_path / "c.csv")
    np.save(tmp_path / "d.npy", TABLE[:, [1, 2, 0, 3]][:5])
    assert "say it with columns=" in why(tmp_path / "d.npy")  # too few for an unusual order
    far = arrays(tmp_path / "e", t=T_, x=32 * X, y=32 * Y, p=P)
    assert "lie outside of any sensor" in why(far)


def read_any(uri: object) -> int:
    return sum(map(len, open_source(str(uri)).packets()))  # type: ignore[attr-defined]


def read_times(uri: object) -> Any:
    return np.concatenate([p.events["t"] for p in open_source(str(uri)).packets()])  # type: ignore[attr-defined]


def test_fractions_of_pixels_on_request(tmp_path: Path) -> None:
    path = arrays(tmp_path / "a", t=T_, x=X + 0.37, y=Y + 0.81, p=P)
    assert "pixels=floor" in why(path)
    assert np.array_equal(read(f"{path}?pixels=floor"), BASE)
    (tmp_path / "a.csv").write_bytes(
        text([(t, x + 0.25, y + 0.5, p) for t, x, y, p in TABLE.tolist()], head="t,x,y,p\n")
    )
    assert "x is " in why(tmp_path / "a.csv")
    assert np.array_equal(read(f"{tmp_path / 'a.csv'}?pixels=floor"), BASE)


@settings(max_examples=30)
@given(
    start=st.integers(0, 2**32 - 1),
    steps=st.lists(st.integers(0, 10**8), min_size=2, max_size=99),
    dtype=st.sampled_from(["u4", "i4"]),
)
def test_times_of_32_bits_go_on_after_a_turn(
    tmp_path_factory: pytest.TempPathFactory, start: int, steps: list[int], dtype: str
) -> None:
    path = tmp_path_factory.mktemp("w") / "a.npy"
    t = start + np.cumsum(steps)
    table = np.empty(len(t), [("t", dtype), ("x", "u2"), ("y", "u2"), ("p", "u1")])
    table["t"], table["x"], table["y"], table["p"] = (t % 2**32).astype("u4").view(dtype), 3, 4, 1
    np.save(path, table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_ottt.sources.tables.PACKET_EVENTS", 7)
        out = np.concatenate([p.events["t"] for p in open_source(path).packets()])  # type: ignore[attr-defined]
    assert np.array_equal(np.diff(out), np.diff(t))


@settings(max_examples=30)
@given(
    start=st.integers(0, 2**31 - 1),
    steps=st.lists(st.integers(0, 9_000_000) | st.integers(0, 30), min_size=2, max_size=150),
)
@example(start=2**31 - 100, steps=[30] * 20)
@example(start=2**31 - 8_000_000, steps=[9_000_000] * 150)
def test_times_of_31_bits_go_on_after_a_turn(
    tmp_path_factory: pytest.TempPathFactory, start: int, steps: list[int]
) -> None:
    """As libcaer's, written by what leaves out how often they turned."""
    folder = tmp_path_factory.mktemp("w")
    t = start + np.cumsum(steps)
    rows = [(now, 3, 4, 1) for now in (t % 2**31).tolist()]
    (folder / "a.csv").write_bytes(text(rows, head="t_us,x,y,p\n"))
    np.savez(folder / "a.npz", **dict(zip("txyp", np.transpose(rows), strict=True)))
    for name in ("a.csv", "a.npz"):
        assert np.array_equal(np.diff(read_times(folder / name)), np.diff(t))
    assert read_times(f"{folder / 'a.csv'}?time=us").tolist() == (t % 2**31).tolist()  # taken as they are


@pytest.mark.parametrize(
    "t",
    [
        [2**31 - 20_000_000, 2**31 - 11_000_000, 5],  # set to 0 some time before the turn
        [2**31 - 5, 2**31 - 2, 12_000_000],
        [2**31 - 5, 2**31 + 5, 5],  # has more bits
        [2**31 - 5, 2**31 - 2, -5],
        [2**30 - 5, 2**30 - 2, 5],
    ],
)
def test_other_clocks_that_are_set_to_0_do_not_turn(tmp_path: Path, t: list[int]) -> None:
    (tmp_path / "a.csv").write_bytes(text([(now, 3, 4, 1) for now in t], head="t_us,x,y,p\n"))
    assert read_times(tmp_path / "a.csv").tolist() == t


@pytest.mark.parametrize("ending", ["csv", "npy", "npz", "h5"])
@pytest.mark.parametrize(("start", "stop"), [("50ms", "60ms"), (None, "1s"), ("190ms", None), ("0ms", "1ms")])
def test_an_excerpt_is_what_lies_between_two_times(
    tmp_path: Path, ending: str, start: str | None, stop: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_ottt.sources.tables.PACKET_EVENTS", 1000)
    t = 7_000_000 + np.arange(200_000)
    events = make_events(np.full(len(t), 322), np.full(len(t), 243), t, t % 2 == 0)
    path = tmp_path / f"a.{ending}"
    if ending == "csv":
        path.write_bytes(text(np.stack([t, events["x"], events["y"], events["p"]], axis=1)))
    elif ending == "npz":
        np.savez(path, **{k: events[k] for k in "txyp"})
    elif ending == "npy":
        np.save(path, events)
    else:
        with h5py.File(path, "w") as file:
            for k in "txyp":
                file[f"events/{k}"] = events[k]
    options = "&".join(f"{k}={v}" for k, v in (("from", start), ("to", stop)) if v)
    low = 7_000_000 + (int(start[:-2]) * 1000 if start else 0)
    high = 7_000_000 + ({"60ms": 60_000, "1s": 10**6, "1ms": 1000}[stop] if stop else 10**9)
    out = [p.events for p in open_source(f"{path}?{options}").excerpt()]  # type: ignore[attr-defined]
    assert np.array_equal(np.concatenate([events[:0], *out]), events[(t >= low) & (t < high)])


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("from=5s", "no events in this part; its last event comes 1.000000 s after its first"),
        ("from=300ms&to=400ms", "no events in this part; say another with from= and to="),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "npy"])
def test_a_part_without_events_says_how_long_the_recording_is(
    tmp_path: Path, part: str, said: str, ending: str
) -> None:
    rows = np.array([[EPOCH, 1, 1, 1], [EPOCH + 1000, 2, 2, 0], [EPOCH + 10**6, 3, 3, 1]])
    path = tmp_path / f"a.{ending}"
    np.save(path, rows) if ending == "npy" else path.write_bytes(text(rows))
    assert said in why(f"{path}?{part}")
    with pytest.raises(UsageError, match="from= must lie before to="):
        open_source(f"{path}?from=2s&to=1s")


def test_times_of_few_bits_are_named(tmp_path: Path) -> None:
    late = arrays(tmp_path / "a", t=(T_ / 1e6 + 60_000.25).astype("f4"), x=X, y=Y, p=P)
    source: Any = open_source(f"{late}?time=s")
    assert sum(map(len, source.excerpt())) == N and source.describe() == {"time_step_us": 3906.25}
    epoch = arrays(tmp_path / "b", t=((T_ + EPOCH) / 1e6).astype("f4"), x=X, y=Y, p=P)
    assert "float32 tells times such as 1589163136 only 128 apart; save them as float64" in why(f"{epoch}?time=s")
    assert "all 1,500 events have the same time" in why(epoch) and "only 128 apart" in why(epoch)


def test_times_that_were_written_with_too_few_digits(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(text([((t + EPOCH) / 1e6, x, y, p) for t, x, y, p in TABLE], "{:.9e} {} {} {}"))
    assert "all 1,500 events have the same time, 1589163147 µs; they were written with too few" in why(
        tmp_path / "a.txt"
    )


def test_a_header_that_names_another_column_the_polarity(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(text(TABLE, head="p,t,x,y\n"))
    assert "if another column holds it, say the order with columns=" in why(tmp_path / "a.csv")
    assert np.array_equal(read(f"{tmp_path / 'a.csv'}?columns=t,x,y,p"), BASE)


def test_labels_of_single_events_make_no_collection(tmp_path: Path) -> None:
    path = arrays(tmp_path / "a", t=T_, x=X, y=Y, p=P, labels=np.arange(N) % 3)
    assert np.array_equal(read(path), BASE)
    source: Any = open_source(path)
    assert len(list(source.packets())) and source.describe() == {"labels_of_events": "passed over"}
    assert "offsets is missing" in why(arrays(tmp_path / "b", t=T_, x=X, y=Y, p=P, labels=[1, 2]))


def test_columns_with_names_take_no_others(tmp_path: Path) -> None:
    named = arrays(tmp_path / "a", t=T_, x=X, y=Y, p=P)
    np.save(tmp_path / "b.npy", BASE)
    for path in (named, tmp_path / "b.npy"):
        assert "columns= has no use" in why(f"{path}?columns=x,y,t,p")


def test_a_time_that_is_no_number_has_no_unit(tmp_path: Path) -> None:
    path = arrays(tmp_path / "a", t=np.where(np.arange(N) == 7, np.nan, T_), x=X, y=Y, p=P)
    assert "event 7: t is nan, which is no number; leave that event out" in why(path)


def test_the_beginning_of_an_excerpt_is_found_without_reading_what_comes_before(tmp_path: Path) -> None:
    t = np.arange(1 << 20)
    np.save(tmp_path / "a.npy", make_events(t % 300, t % 200, t, t % 2 == 0))
    source: Any = open_source(f"{tmp_path / 'a.npy'}?width=346&height=260")
    first = next(source.packets_from(10**6)).events["t"][0]
    assert 10**6 - 4 * (1 << 16) < first <= 10**6


@pytest.mark.parametrize("how", ["zeros", "restart", "disorder"])
def test_an_excerpt_of_rows_that_are_not_in_order_loses_nothing(tmp_path: Path, how: str) -> None:
    n = 400_000
    t = np.arange(n) * 10
    t = {"zeros": t * (np.arange(n) < 0.97 * n), "restart": t % 2_400_000, "disorder": t[::-1].copy()}[how]
    rows = np.empty(n, [("t", "i8"), ("x", "u2"), ("y", "u2"), ("p", "u1")])
    rows["t"], rows["x"], rows["y"], rows["p"] = t, 3, 4, 1
    rows[t == 0] = 0
    np.save(tmp_path / "a.npy", rows)
    for start in (300_000, 1_000_000, 2_300_000, 3_700_000):
        source: Any = open_source(f"{tmp_path / 'a.npy'}?width=9&height=9&from={start}us")
        found = []
        try:
            for packet in source.excerpt():
                found.append(packet.events["t"])
        except InputError as e:
            assert how == "zeros" or "no events in this part" in str(e)
        expected = t[t - t[0] >= start]
        assert np.array_equal(np.concatenate([expected[:0], *found]), expected)


def test_an_unsorted_recording_is_sorted_on_request(tmp_path: Path) -> None:
    path = arrays(tmp_path / "a", **{k: BASE[np.random.default_rng(0).permutation(N)][k] for k in "txyp"})
    out = read(f"{path}?sort=true")
    assert np.array_equal(out["t"], T_) and np.array_equal(np.sort(out, order=["t", "x", "y", "p"]),
                                                           np.sort(BASE, order=["t", "x", "y", "p"]))  # fmt: skip


@pytest.mark.parametrize(("shift", "added"), [("-1s", -(10**6)), ("1500", 1500), ("2ms", 2000), ("-7", -7)])
def test_times_are_shifted(tmp_path: Path, shift: str, added: int) -> None:
    path = arrays(tmp_path / "a", t=T_ + 10**7, x=X, y=Y, p=P)
    assert np.array_equal(read(f"{path}?shift={shift}")["t"], T_ + 10**7 + added)
    with pytest.raises(UsageError, match=r"source\.shift"):
        open_source(f"{path}?shift=soon")


def test_what_options_of_time_are_not_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", t=[1, 2], x=[1, 1], y=[1, 1], p=[0, 1], offsets=[0, 1, 2], labels=[0, 1])
    with pytest.raises(UsageError, match="begins at 0 already"):
        list(open_source(f"{tmp_path / 'a.npz'}?shift=auto").excerpt())  # type: ignore[attr-defined]


def test_an_hdf5_file_that_becomes_shorter_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.sources.tables.PACKET_EVENTS", 1000)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for k, column in zip("xypt", (X, Y, P, T_), strict=True):
            file[f"events/{k}"] = np.tile(column, 100)
    source: Any = open_source(f"{path}?width=346&height=260&time=us")
    packets = source.packets()
    next(packets)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(InputError, match="has become shorter while it was read"):
        next(packets)


def test_links_of_hdf5_to_other_files_are_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        for k in "txyp":
            file[f"events/{k}"] = BASE[k]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["events"] = h5py.ExternalLink("secret.h5", "/events")
    assert "a link to the file 'secret.h5', which is not followed" in why(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for k in "txy":
            file[f"events/{k}"] = BASE[k]
        file["events/p"] = h5py.ExternalLink("secret.h5", "/events/p")
    assert "not followed" in why(tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        for k in "txyp":
            file[f"real/{k}"] = BASE[k]
        file["events"] = h5py.SoftLink("/real")
        file["loop"] = h5py.SoftLink("/loop")
    assert np.array_equal(read(tmp_path / "c.h5"), BASE)
    assert "leads nowhere" in why(f"{tmp_path / 'c.h5'}?group=loop")


def test_blosc_and_other_codecs_of_hdf5plugin(tmp_path: Path) -> None:
    import hdf5plugin

    for codec in (hdf5plugin.Blosc(), hdf5plugin.Zstd(), hdf5plugin.LZ4()):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for k in "txyp":
                file.create_dataset(f"events/{k}", data=BASE[k], chunks=(500,), **codec)
        assert np.array_equal(read(tmp_path / "a.h5"), BASE)


def test_a_shuffled_collection_does_not_fill_the_temporary_folder(tmp_path: Path) -> None:
    n = 1 << 24
    zeros = np.zeros(n, np.int64)
    np.savez_compressed(tmp_path / "a.npz", t=zeros, x=zeros, y=zeros, p=zeros, offsets=[0, n], labels=[0],
                        width=9, height=9)  # fmt: skip
    assert (tmp_path / "a.npz").stat().st_size < 1 << 20
    assert "which is no recording" in why(f"{tmp_path / 'a.npz'}?shuffle=true&duration=1s")


def test_names_of_columns() -> None:
    assert find_columns(["Events_X", "ys", "timestamp (ns)", "on"]) == {
        "x": "Events_X", "y": "ys", "t": "timestamp (ns)", "p": "on"
    }  # fmt: skip
    assert [unit_in(n) for n in ("t", "ts", "t_us", "time[s]", "t (ms)", "timestamp_ns", "time_seconds", "xs")] == [
        None, None, "us", "s", "ms", "ns", "s", None
    ]  # fmt: skip


@given(st.integers(-(2**60), 2**60), st.sampled_from(["s", "ms", "us", "ns"]))
def test_whole_times_are_exact(value: int, unit: Any) -> None:
    exact = {"s": value * 10**6, "ms": value * 1000, "us": value, "ns": (value + 500) // 1000}[unit]
    (out,) = to_us(np.array([value]), unit)[0].tolist()
    assert out == exact or (abs(exact) >= 2**62 - 10**6 and abs(out) >= 2**62 - 10**6)


def test_a_guessed_sensor_is_a_real_one_or_what_is_seen() -> None:
    assert guess_sensor(323, 244) == (346, 260)
    assert guess_sensor(34, 34) == (34, 34)
    assert guess_sensor(1200, 700) == (1280, 720)
    assert guess_sensor(100, 128) == (128, 128)
    assert guess_sensor(5, 4) == (5, 4) and guess_sensor(2000, 900) == (2000, 900)
