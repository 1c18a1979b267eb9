"""The page alone, in Chromium, fed with an example."""

from __future__ import annotations

import json

import numpy as np
import pytest
from web.example import NAMES, Example
from web.helpers import served

from stream_ottt.events.packet import Ledger
from stream_ottt.pipeline.view import RunSnapshot
from stream_ottt.web.browser import IN_FLIGHT
from stream_ottt.web.message import encode_part
from stream_ottt.web.parts import Status, status_part
from stream_ottt.web.slot import Slot

SHOWN = {
    ".raster": "document.getElementById('layer').length === 2",
    ".memory": "document.querySelectorAll('#memory li').length === 3",
}

HIDE = """() => new Promise((done) => {
    const real = requestAnimationFrame;
    globalThis.requestAnimationFrame = () => 0;
    real(() => real(done));
})"""
"""What becomes of a page that is hidden: it gets messages, and is not asked to draw."""

PICTURES_LATER = """(n) => new Promise((done) => {
    const next = () => (n-- ? requestAnimationFrame(next) : done());
    next();
})"""


def show_all(page):
    """Look at every panel until it is filled. What fills above it may push it off a narrow screen, so it is looked for
    again; one that is off the screen is not asked for."""
    page.wait_for_function("() => document.getElementById('timesteps').textContent !== '–'")
    for panel, shown in SHOWN.items():
        page.wait_for_function(f"() => {{ document.querySelector('{panel}').scrollIntoView(); return {shown}; }}")


def test_it_loads_shows_every_part_and_updates(visit):
    example = Example()
    with served(example) as server:
        page = visit(server.url)
        page.wait_for_selector("text=of presentations right")
        page.wait_for_function("() => document.getElementById('timesteps').textContent === '1'")
        assert page.inner_text("#state") == "learning"
        assert page.inner_text("#predicted") == "circle"
        assert page.inner_text("#accuracy") == "50 %"
        assert page.locator("#per-class tbody tr").count() == 3
        assert page.locator("#confusion td").count() == 9
        assert "overflow" in page.inner_text("#account")
        show_all(page)
        example.step = 2
        page.wait_for_function("() => document.getElementById('timesteps').textContent === '2'")


class Waiting(Example):
    """A run to which nothing has come yet."""

    def slots(self, wish):
        status = Status(RunSnapshot(session=None, ledger=Ledger()), speed=0.0, events_per_s=0.0, ended=None)
        return [Slot(lambda: status, status_part, 0.0)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_before_the_first_events_every_panel_says_so_and_no_picture_is_black(visit, scheme):
    with served(Waiting()) as server:
        page = visit(server.url, color_scheme=scheme)
        page.wait_for_function("() => document.getElementById('state').textContent === 'waiting for events'")
        assert page.inner_text("#speed") == "–"
        for node in ("layers", "confusion", "memory", "updates", "latency-bars", "labels"):
            said = page.evaluate(f"getComputedStyle(document.getElementById('{node}'), '::before').content")
            assert len(said) > len("none."), node
        assert page.is_hidden("#latency-axis") and page.is_hidden("#weights-picture")
        paper = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--paper')").strip()
        for canvas in ("frame", "raster-picture"):
            pixel = page.evaluate(
                f"[...document.getElementById('{canvas}').getContext('2d').getImageData(3, 3, 1, 1).data].slice(0, 3)"
            )
            assert pixel == list(bytes.fromhex(paper[1:])), canvas


def test_what_comes_from_outside_is_text_and_never_markup(visit):
    with served(Example()) as server:
        page = visit(server.url)
        show_all(page)
        assert page.evaluate("window.hacked") is None
        assert page.locator("main img, header b").count() == 0
        assert NAMES[1] in page.inner_text("#labels")
        assert "<b>source</b>" in page.inner_text("#source")


def test_arrays_and_fields_arrive_as_they_were_sent(visit):
    parts = encode_part("µ", {"a": [1, None, "ü"]}, {"b": np.arange(5, dtype=np.uint8)})
    parts += encode_part("two", {}, {"f": np.array([[0.5], [np.nan]], np.float32), "i": np.array([-7], np.int32)})
    with served(Example()) as server:
        page = visit(server.url)
        found = page.evaluate(
            """async (bytes) => {
              const { decodeParts } = await import("./parts.js");
              return decodeParts(new Uint8Array(bytes).buffer).map((part) => ({
                ...part,
                arrays: Object.entries(part.arrays).map(
                  ([name, a]) => [name, a.constructor.name, a.shape, [...a].map(String)]),
              }));
            }""",
            list(parts),
        )
    assert found[0]["kind"] == "µ" and found[0]["a"] == [1, None, "ü"]
    assert found[0]["arrays"] == [["b", "Uint8Array", [5], ["0", "1", "2", "3", "4"]]]
    assert found[1]["arrays"] == [["f", "Float32Array", [2, 1], ["0.5", "NaN"]], ["i", "Int32Array", [1], ["-7"]]]


def test_everything_can_be_done_with_the_keyboard_alone(visit):
    example = Example()
    with served(example) as server:
        page = visit(server.url)
        page.wait_for_selector("#labels button")
        page.keyboard.press("2")
        page.keyboard.press("p")
        page.wait_for_function("() => document.getElementById('state').textContent === 'paused'")
        assert page.inner_text("#pause").startswith("Resume")
        page.keyboard.press("s")
        page.wait_for_selector(".said.failed")
        assert page.inner_text("#said") == "no file to save the model in"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "circle0"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('said').textContent === 'label circle'")
        assert [(c.name, c.label) for c in example.commands] == [
            ("label", 2),
            ("pause", None),
            ("save", None),
            ("label", 0),
        ]
        page.select_option("#span", "2000000")
        page.keyboard.press("Escape")
        page.locator("#labels button").nth(1).click()
        page.wait_for_function("() => document.getElementById('said').textContent.startsWith('label <img')")
        assert (example.commands[-1].label, example.commands[-1].span_us) == (1, 2_000_000)


def test_classes_beyond_the_digits_are_named_or_numbered(visit):
    names = {1: "cup", 10: "mug", 11: "mule", 12: "2nd mug", 13: "13b", 130: "<b>"}
    example = Example(names)
    with served(example) as server:
        page = visit(server.url)
        page.wait_for_selector("#labels button")
        page.keyboard.press("l")
        page.keyboard.type("mu")
        page.keyboard.press("Enter")
        assert page.inner_text("#said") == "which one: mug, mule?"
        page.keyboard.type("x")
        page.keyboard.press("Enter")
        assert page.inner_text("#said") == "no such class: mux"
        page.keyboard.press("Backspace")
        page.keyboard.type("L")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('said').textContent === 'label mule'")
        for typed in ("mug", "13", "2ND", "<"):
            page.keyboard.press("l")
            page.keyboard.type(typed)
            page.keyboard.press("Enter")
        page.keyboard.press("l")
        page.keyboard.type("cup")
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        page.wait_for_function("() => document.getElementById('said').textContent === 'label cup'")
        assert [c.label for c in example.commands] == [11, 10, 13, 12, 130, 1]
        assert page.inner_text("footer").startswith("Keys: digits give a label, l one by its name")


def test_what_this_run_does_not_offer_says_so(visit):
    with served(Example()) as server:
        page = visit(server.url)
        page.wait_for_selector("#labels button")
        for selector in ("#correct", "[data-command=retract]", "#new-class button", "[data-command=checkpoint]"):
            assert page.locator(selector).is_disabled()
            assert page.get_attribute(selector, "title")
        assert not page.locator("#replay").is_visible()
        page.keyboard.press("c")
        assert "not available" in page.inner_text("#said")
        page.keyboard.press("b")
        assert page.inner_text("#said") == "not available: labels cannot be taken back in this run"


def test_a_run_that_does_not_learn_is_not_paused(visit):
    example = Example()
    with served(example) as server:
        page = visit(server.url)
        page.wait_for_selector("#pause:enabled")
        example.learning = "off"
        page.wait_for_selector("#pause:disabled")
        page.keyboard.press("p")
        assert page.inner_text("#said") == "not available: this run does not learn"
        example.learning = "on"
        page.wait_for_selector("#pause:enabled")
    assert not example.commands


def test_rows_of_classes_that_were_not_shown_yet_are_there_from_the_first_score(visit):
    with served(Example({**NAMES, 3: "not shown yet"})) as server:
        page = visit(server.url)
        page.wait_for_function("() => document.querySelectorAll('#per-class tbody tr').length === 4")
        assert page.inner_text("#per-class tbody tr:last-child").split("\t")[:2] == ["not shown yet", "0"]
        assert page.locator("#confusion td").count() == 16


def test_many_classes_scroll_within_their_panels_beneath_their_heads(visit):
    with served(Example({label: str(label) for label in range(40)})) as server:
        page = visit(server.url)
        page.wait_for_function("() => document.querySelectorAll('#per-class tbody tr').length === 40")
        for table in ("#per-class", "#confusion"):
            scroll = page.locator(f".scroll:has({table})")
            head = scroll.locator("th[scope=col]").first
            assert scroll.bounding_box()["height"] <= 420
            before = head.bounding_box()["y"] - scroll.bounding_box()["y"]
            assert scroll.evaluate("(node) => (node.scrollTop = 300, node.scrollTop)") == 300
            assert 0 <= head.bounding_box()["y"] - scroll.bounding_box()["y"] <= before


def test_scores_of_what_was_learned_before_are_no_test(visit):
    example = Example()
    with served(example) as server:
        page = visit(server.url)
        page.wait_for_function("() => document.getElementById('timesteps').textContent === '1'")
        assert page.is_hidden("text=these scores are no test")
        example.seen_before = True
        example.step = 2
        page.wait_for_selector("text=these scores are no test", state="visible")


def test_every_control_and_picture_has_a_name(visit):
    with served(Example()) as server:
        page = visit(server.url)
        show_all(page)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, [role=img], [role=group], section")]
              .filter((node) => !(node.ariaLabel || node.textContent.trim() || node.labels?.length ||
                document.getElementById(node.getAttribute("aria-labelledby"))))
              .map((node) => node.outerHTML)"""
        )
        assert nameless == []


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440, 2560])
def test_no_width_scrolls_sideways(visit, width):
    with served(Example()) as server:
        page = visit(server.url, viewport={"width": width, "height": 800})
        show_all(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        heights = page.evaluate("[...document.querySelectorAll('#per-class td')].map((cell) => cell.offsetHeight)")
        assert heights and max(heights) < 36  # a share is not cut into two lines
        apart = """[...document.querySelectorAll('#curves-key .entry')].map((entry) => entry.offsetHeight)"""
        assert max(page.evaluate(apart)) < 24
        cut = "[...document.querySelectorAll('.scroll')].map((node) => node.scrollWidth - node.clientWidth)"
        assert page.evaluate(cut) == [0, 0]


def test_dark_and_reduced_motion_are_respected(visit):
    example = Example()
    with served(example) as server:
        light = visit(server.url, color_scheme="light")
        dark = visit(server.url, color_scheme="dark", reduced_motion="reduce")
        for page in (light, dark):
            page.wait_for_function("() => document.getElementById('timesteps').textContent === '1'")
        ground = "getComputedStyle(document.body).backgroundColor"
        assert light.evaluate(ground) != dark.evaluate(ground)
        bar = "getComputedStyle(document.querySelector('.histogram i')).transitionDuration"
        assert light.evaluate(bar) == "0.15s" and dark.evaluate(bar) == "0s"
        picture = "document.getElementById('frame').toDataURL()"
        before = dark.evaluate(picture)
        dark.emulate_media(color_scheme="light")
        dark.wait_for_function(f"(before) => {picture} !== before", arg=before)


def test_after_a_restart_the_page_connects_again_by_itself(visit):
    example = Example()
    with served(example) as server:
        port = server.port
        page = visit(server.url, noisy=True)
        page.wait_for_function("() => document.getElementById('timesteps').textContent === '1'")
    page.wait_for_function("() => document.getElementById('state').textContent === 'connecting again'")
    example.step = 77
    with served(example, port=port):
        page.wait_for_function("() => document.getElementById('timesteps').textContent === '77'")
        assert page.inner_text("#state") == "learning"
    with served(example, port=port, token="new"):
        page.wait_for_function("() => document.getElementById('notice').textContent.includes('token is needed')")


def test_a_page_that_was_hidden_when_the_run_ended_shows_its_last_figures(visit):
    example = Example()
    with served(example) as server:
        page = visit(server.url, noisy=True)
        page.wait_for_function("() => document.getElementById('timesteps').textContent === '1'")
        page.evaluate(HIDE)
        for messages in range(1, IN_FLIGHT):  # of one that was drawn nothing may have been said yet
            example.step += 1
            page.wait_for_function(f"() => globalThis.streamOttt.page.connection.pending.length >= {messages}")
        example.step = 77
        assert page.inner_text("#timesteps") == "1"
    page.wait_for_function("() => document.getElementById('timesteps').textContent === '77'")


def test_two_browsers_see_what_either_does(visit):
    with served(Example()) as server:
        one, two = visit(server.url), visit(server.url)
        one.click("#pause")
        two.wait_for_function("() => document.getElementById('state').textContent === 'paused'")
        two.click("#pause")
        one.wait_for_function("() => document.getElementById('state').textContent === 'learning'")


def test_a_wrong_token_gets_nothing_and_the_right_one_everything(visit):
    with served(Example(), token="right-token") as server:
        base = server.url.split("?")[0]
        wrong = visit(f"{base}?token=wrong", noisy=True)
        assert wrong.inner_text("body").startswith("stream-ottt: a token is needed")
        failed = wrong.evaluate(
            """(url) => new Promise((done) => {
              const socket = new WebSocket(url);
              socket.onerror = () => done(true);
              socket.onopen = () => done(false);
            })""",
            base.replace("http", "ws") + "live",
        )
        assert failed
        page = visit(server.url)
        page.wait_for_function("() => document.getElementById('timesteps').textContent === '1'")
        assert "token" not in page.url


def test_what_is_not_on_the_screen_is_looked_at_for_a_moment_and_then_not_asked_for(visit):
    example = Example()
    with served(example) as server:
        page = visit(server.url, viewport={"width": 390, "height": 600})
        page.wait_for_function(f"() => {' && '.join(SHOWN.values())}")
        page.wait_for_selector("#weights", state="visible")
        assert page.evaluate("scrollY") == 0
        page.wait_for_function(
            "() => !(streamOttt.page.connection.wish.inside || streamOttt.page.connection.wish.memory)"
        )
        page.locator(".raster").scroll_into_view_if_needed()
        page.wait_for_function(
            "() => streamOttt.page.connection.wish.inside && !streamOttt.page.connection.wish.memory"
        )
        page.select_option("#layer", "conv2")
        page.fill("#neuron", "33")
        page.keyboard.press("Enter")
        example.step += 1
        page.wait_for_function("() => streamOttt.inside.layer === 'conv2' && streamOttt.inside.neuron === 33")
        page.evaluate("scrollTo(0, 0)")
        example.step += 1
        page.wait_for_function("() => !streamOttt.page.connection.wish.inside")


def test_a_column_of_the_raster_is_a_timestep_also_where_some_were_not_watched(visit):
    example = Example()
    with served(example) as server:
        page = visit(server.url)
        page.locator(".raster").scroll_into_view_if_needed()
        page.wait_for_function("() => document.getElementById('layer').length === 2")
        columns = "() => [...streamOttt.inside.spikes.subarray(0, 256)].flatMap((n, i) => (n ? [i - 255] : [])).join()"
        for step, seen in ((5, "-4,0"), (7, "-6,-2,0"), (260, "-255,-253,0"), (2000, "0"), (3, "0")):
            example.step = step
            page.wait_for_function(f"() => ({columns})() === '{seen}'")


def test_while_nothing_comes_the_latest_events_stay_and_after_the_end_nothing_can_be_done(visit):
    example = Example()
    with served(example) as server:
        page = visit(server.url, noisy=True)
        page.wait_for_function("() => document.getElementById('timesteps').textContent === '1'")
        shown = """() => document.getElementById('frame').getContext('2d').getImageData(0, 0, 32, 32).data.join()"""
        example.held = True
        page.wait_for_selector("#hold[aria-pressed=true]", state="attached")
        held = page.evaluate(shown)
        assert len(set(held.split(","))) > 4  # not paper alone
        page.evaluate(PICTURES_LATER, 40)  # a frame would have faded away
        assert page.evaluate(shown) == held
        example.held, example.ended = False, "max-steps"
        page.wait_for_function("() => document.getElementById('state').textContent === 'ended: max-steps'")
        assert page.evaluate(shown) == held
        page.keyboard.press("p")
        assert page.inner_text("#said") == "the run has ended" and page.evaluate(
            "document.getElementById('controls').inert"
        )
        example.ended = "end"
        page.wait_for_function("() => document.getElementById('state').textContent === 'ended'")
    assert not example.commands


def test_a_command_to_a_run_that_is_not_there_is_refused_in_words(visit):
    example = Example()
    with served(example) as server:
        port = server.port
        page = visit(server.url, noisy=True)
        page.wait_for_function("() => document.getElementById('timesteps').textContent === '1'")
    page.wait_for_function("() => document.getElementById('state').textContent === 'connecting again'")
    page.keyboard.press("p")
    assert page.inner_text("#said") == "not connected to the run"
    with served(example, port=port):
        page.wait_for_function("() => document.getElementById('said').textContent === ''")
        page.keyboard.press("p")
        page.wait_for_function("() => document.getElementById('said').textContent === 'learning paused'")
    assert [command.name for command in example.commands] == ["pause"]


def test_an_open_page_does_not_grow(visit, chromium):
    example = Example()
    with served(example) as server:
        page = visit(server.url)
        show_all(page)
        session = page.context.new_cdp_session(page)

        def heap_after(steps):
            for _ in range(steps):
                example.step += 1
                page.wait_for_function(
                    f"() => document.getElementById('timesteps').textContent === '{example.step:,}'", polling="raf"
                )
            session.send("HeapProfiler.collectGarbage")
            return session.send("Runtime.getHeapUsage")["usedSize"]

        heap_after(30)
        before = heap_after(20)
        after = heap_after(60)
        assert after - before < 0.02 * before + 100_000, json.dumps([before, after])
