"""What the page takes from a run and does to it, without a browser."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
from sinks.conftest import make_result

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import Ledger
from stream_ottt.learning.snapshot import Durations
from stream_ottt.pipeline.view import Controls, RunFacts, RunSnapshot, RunView
from stream_ottt.run.summary import NOTHING
from stream_ottt.sinks.opening import open_sink
from stream_ottt.web import curves as curves_module
from stream_ottt.web import parts
from stream_ottt.web.asked import Asked
from stream_ottt.web.curves import Curves
from stream_ottt.web.message import Command, Wish, decode_parts
from stream_ottt.web.run_page import RunPage, first_weights
from stream_ottt.web.slot import Slot


def done(value):
    future = Future()
    future.set_result(value)
    return future


def failed(error):
    future = Future()
    future.set_exception(error)
    return future


def view(**controls):
    accuracy = {**NOTHING.accuracy, "presentations": 0.75, "kappa": 0.5}
    session = replace(NOTHING, timesteps=7, stream_us=140_000, accuracy=accuracy, confusion=((0, 1, 3),))
    ledger = Ledger(read=10, binned=6, late=1, dropped={"overflow": 2})
    snapshot = RunSnapshot(session, ledger, {"queue": 0, "window": 1, "timesteps": 0}, latency=Durations(counts=(0, 4)))
    run = RunView(RunFacts("here", classes=(0, 1), class_names={0: "a", 1: "b"}), lambda: snapshot)
    run.controls = Controls(**controls)
    return run


def shown(page, **wish):
    """All parts that a browser with this wish gets, by kind."""
    found = {}
    for slot in page.slots(Wish(kind="wish", **wish)):
        if slot.poll(at_once=True):
            (part,) = decode_parts(slot.part())
            found[part["kind"]] = part
    return found


def command(page, name, **fields):
    return asyncio.run(page.carry_out(Command(kind="command", id=1, name=name, **fields)))


# --- parts ---------------------------------------------------------------------------------------------------------


def test_a_page_before_the_first_result_shows_what_is_known():
    page = RunPage(view())
    found = shown(page)
    assert found["facts"]["source"] == "here" and found["facts"]["names"] == {"0": "a", "1": "b"}
    assert not any(found["facts"]["commands"].values())
    assert "frame" not in found


def test_counters_add_up_on_the_page():
    status = shown(RunPage(view()))["status"]
    events = status["events"]
    assert events["in_hand"] == 1
    assert events["read"] == events["binned"] + events["late"] + events["malformed"] + 2 + events["in_hand"]
    assert status["confusion"] == [[0, 1, 3]]
    assert status["arrays"]["latency"].tolist() == [0, 4]
    assert status["ended"] is None


def test_the_latest_result_is_shown_with_its_probabilities():
    page = RunPage(view())
    frame = np.zeros((2, 4, 5), np.float32)
    frame[1, 2, 3] = 300
    page.take(make_result(0))
    page.take(make_result(1, said=2, truth=1, frame=frame))
    part = shown(page)["frame"]
    assert (part["step"], part["label"], part["truth"], part["scored"]) == (1, 2, 1, True)
    assert part["arrays"]["frame"].shape == (2, 4, 5) and part["arrays"]["frame"][1, 2, 3] == 255
    assert part["arrays"]["probabilities"].sum() == pytest.approx(1)
    assert part["arrays"]["probabilities"].argmax() == 2


def test_a_network_that_diverged_is_shown_too():
    page = RunPage(view())
    page.take(make_result(0, logits=np.full(6, np.nan), confidence=float("nan")))
    assert np.isnan(shown(page)["frame"]["arrays"]["probabilities"]).all()


def test_large_frames_are_put_together_and_no_event_is_lost():
    frame = np.random.default_rng(0).poisson(0.01, (2, 480, 641)).astype(np.float32)
    (part,) = decode_parts(parts.frame_part(make_result(0, frame=frame)))
    small = part["arrays"]["frame"]
    assert max(small.shape[1:]) <= parts.LONGEST_SIDE and small.sum() == frame.sum()


def test_the_curves_follow_the_stream_also_over_results_that_were_missed():
    page = RunPage(view())
    page.take(make_result(0, truth=0))
    page.take(make_result(9, truth=1))  # of 20 ms each
    page.take(make_result(10, truth=None))
    page.end("end")
    found = shown(page)
    assert found["status"]["ended"] == "end"
    arrays = found["curves"]["arrays"]
    np.testing.assert_allclose(arrays["change_t"], [0.02, 0.2, 0.22], rtol=1e-6)
    assert arrays["change_label"].tolist() == [0, 1, -1]
    assert arrays["t"][-1] == pytest.approx(0.22)
    assert arrays["presentations"][-1] == pytest.approx(0.75) and np.isnan(arrays["majority"][-1])


def test_curves_are_bounded_and_stay_evenly_spread(monkeypatch):
    monkeypatch.setattr(curves_module, "POINTS", 16)
    curves = Curves()
    for i in range(1000):
        curves.sample(float(i), {"presentations": i / 1000})
        curves.label(float(i), i)
    arrays = curves.arrays()
    t = arrays["t"]
    assert 8 <= len(t) <= 16 and t[0] == 0 and len(set(np.diff(t))) == 1 and t[-1] > 900
    np.testing.assert_allclose(arrays["presentations"], t / 1000, rtol=1e-5)
    assert len(arrays["change_t"]) == 1000
    for i in range(1000, 1100):
        curves.label(float(i), i)
    assert len(curves.arrays()["change_t"]) == curves_module.CHANGES


def test_thumbnails_show_each_class_in_its_own_brightness():
    frames = np.zeros((9, 2, 96, 64), np.uint8)
    frames[4, 1, 50, 30] = 40
    memory = parts.Remembered({0: 5, 3: 1}, 1000, (4, 7), {0: [frames], 3: [frames[:1]]})
    (part,) = decode_parts(parts.memory_part(memory))
    pictures = part["arrays"]["thumbnails"]
    assert pictures.shape == (2, 2, 48, 32) and part["arrays"]["of"].tolist() == [0, 3]
    assert pictures[0, 1, 25, 15] == 255 and pictures[0].astype(int).sum() == 255 and pictures[1].max() == 0
    assert part["stretches"] == {"0": 5, "3": 1}
    (nothing,) = decode_parts(parts.memory_part(parts.Remembered({}, 0, (), {})))
    assert nothing["arrays"]["thumbnails"].size == 0


# --- slots and questions -------------------------------------------------------------------------------------------


def test_a_slot_reads_and_encodes_only_when_asked():
    values, reads, encoded = [], [], []

    def read():
        reads.append(1)
        return values[-1] if values else None

    slot = Slot(read, lambda v: encoded.append(v) or str(v).encode(), 3600.0)
    assert slot.poll() == 0 and len(reads) == 1
    values.append("a")
    assert slot.poll() == 0 and len(reads) == 1  # too early for another look
    assert slot.poll(at_once=True) == 1
    assert slot.poll(at_once=True) == 1  # the same object
    assert not encoded
    assert slot.part() == slot.part() == b"a"
    assert encoded == ["a"]


def test_one_question_at_a_time_goes_to_the_learner():
    asked = []

    def ask(act):
        asked.append(Future())
        return asked[-1]

    value = Asked(ask, lambda session: session, 0.0)
    assert value.read() is None and value.read() is None
    assert len(asked) == 1
    asked[0].set_result("first")
    assert value.read() == "first" and len(asked) == 2
    asked[1].set_exception(UsageError("the run is ending"))
    assert value.read() == "first" and len(asked) == 3


def test_the_inside_is_asked_for_only_by_a_browser_that_shows_it():
    asked, watched = [], []
    page = RunPage(view(ask=lambda act: asked.append(act) or Future(), watch=lambda w: watched.append(w) or done(None)))
    shown(page)
    assert not asked and not watched
    shown(page, inside=True, layer="conv1", neuron=4)
    shown(page, inside=True, layer="conv1", neuron=4)
    assert asked == [first_weights] and len(watched) == 1
    shown(page, inside=True, layer="conv1", neuron=5)
    assert len(watched) == 2
    shown(page, memory=True)
    assert len(asked) == 2


def test_a_probe_that_could_not_begin_begins_later():
    watched = []
    refused = [failed(UsageError("the stream has not begun")), done(None)]
    page = RunPage(view(watch=lambda w: watched.append(w) or refused[len(watched) - 1]))
    for _ in range(3):
        shown(page, inside=True)
    assert len(watched) == 2


# --- commands ------------------------------------------------------------------------------------------------------


def test_commands_reach_their_controls_and_answers_come_back():
    calls = []

    def control(name, result):
        return lambda *given: calls.append((name, *given)) or done(result)

    page = RunPage(
        view(
            label_now=control("now", 3),
            label_last=control("last", 4),
            pause=control("pause", "paused"),
            resume=control("resume", "on"),
            reset=control("reset", None),
            save=control("save", "m.safetensors"),
            correct=control("correct", (0, 10)),
            retract=control("retract", (0, 10)),
            add_class=control("add", 5),
        )
    )
    assert command(page, "correct", label=1) == {}
    assert command(page, "retract") == {}
    assert command(page, "new_class", text="mug") == {"label": 5}
    assert [calls.pop(0) for _ in range(3)] == [("correct", 1, None), ("retract", None), ("add", "mug")]
    assert command(page, "label", label=1) == {"timesteps": 3}
    assert command(page, "label", label=1, span_us=500_000) == {"timesteps": 4}
    assert command(page, "pause") == {"learning": "paused"}
    assert command(page, "resume") == {"learning": "on"}
    assert command(page, "reset") == {}
    assert command(page, "save") == {"path": "m.safetensors"}
    assert calls == [("now", 1), ("last", 1, 500_000), ("pause",), ("resume",), ("reset",), ("save",)]
    assert shown(page)["facts"]["commands"] == {
        **dict.fromkeys(("label", "pause", "resume", "reset", "save", "correct", "retract", "new_class"), True),
        **dict.fromkeys(("checkpoint", "speed", "hold", "step"), False),
    }


@pytest.mark.parametrize(
    "name", ["label", "correct", "retract", "new_class", "checkpoint", "speed", "hold", "step", "save"]
)
def test_what_a_run_does_not_offer_is_said(name):
    with pytest.raises(UsageError, match="not available in this run"):
        command(RunPage(view()), name, label=1)


def test_a_label_without_a_class_and_a_refusal_are_said():
    page = RunPage(view(label_now=lambda label: failed(UsageError(f"label {label} is not among the classes"))))
    with pytest.raises(UsageError, match="which class"):
        command(page, "label")
    with pytest.raises(UsageError, match="label 7 is not among the classes"):
        command(page, "label", label=7)


def test_a_busy_run_is_said_and_the_command_is_not_lost(monkeypatch):
    monkeypatch.setattr("stream_ottt.web.run_page.ANSWER_S", 0.01)
    future = Future()
    with pytest.raises(UsageError, match="the run is busy"):
        command(RunPage(view(reset=lambda: future)), "reset")
    assert not future.cancelled()


# --- the sink ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ("web", ("127.0.0.1", 8765)),
        ("web:", ("127.0.0.1", 8765)),
        ("web:9000", ("127.0.0.1", 9000)),
        ("web::9000", ("127.0.0.1", 9000)),
        ("web:0.0.0.0:0", ("0.0.0.0", 0)),
        ("web:robot.lab", ("robot.lab", 8765)),
        ("web:[::1]:80?token=12345678&names=a,b", ("::1", 80)),
        ("web:[::]", ("::", 8765)),
    ],
)
def test_addresses(spec, address):
    assert open_sink(spec).config.address() == address


def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused():
    for token in ("", "short", "with blank", "naïve-token"):
        with pytest.raises(UsageError, match=r"'sink\.token': expected 8 or more of letters"):
            open_sink({"uri": "web", "token": token})


@pytest.mark.parametrize("spec", ["web:a:b", "web:127.0.0.1:65536", "web:::1", "web:http://x/", "web:a b", "web:[::1"])
def test_what_is_no_address_is_one_line(spec):
    with pytest.raises(UsageError, match="HOST:PORT"):
        open_sink(spec)


def test_the_bare_option_stands_for_the_usual_address():
    from stream_ottt.cli.app import _with_web_address as expanded

    assert expanded(["run", "--web", "--source", "x"]) == ["run", "--web=", "--source", "x"]
    assert expanded(["run", "--source", "x", "--web"]) == ["run", "--source", "x", "--web="]
    assert expanded(["run", "--web", ":9000"]) == ["run", "--web", ":9000"]
    assert expanded([]) == []


def test_the_memory_is_shown_anew_only_when_it_has_changed():
    from stream_ottt.learning.rehearsal import RehearsalMemory, Stretch

    class Holder:
        memory = RehearsalMemory(10**6, np.random.default_rng(0))

    page = RunPage(view())
    for label in (0, 1, 1, 1, 1):
        Holder.memory.store(Stretch(np.full((3, 2, 4, 4), label, np.uint8), label))
    first = page._remembered(Holder)
    assert first.stretches == {0: 1, 1: 4} and [len(some) for some in first.frames.values()] == [1, 3]
    assert page._remembered(Holder) is first
    Holder.memory.store(Stretch(np.zeros((3, 2, 4, 4), np.uint8), 0))
    assert page._remembered(Holder).stretches == {0: 2, 1: 4}
