// Joins the connection to what is shown.

import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Curves } from "./curves.js";
import { Inside } from "./inside.js";
import { showAccount } from "./account.js";
import { keepFrame, showFrame } from "./frame.js";
import { showMemory } from "./memory.js";
import { showPrediction } from "./prediction.js";
import { showScores } from "./scores.js";
import { byId, count, seconds, setText } from "./dom.js";

const LEARNING = { on: "learning", paused: "paused", off: "not learning", "no labels": "no labels yet", waiting: "waiting for events" };

const page = {
  classes: [],
  names: {},
  name: (label) => page.names[label] ?? String(label),
  send: (message) => page.connection.send(message),
};

const controls = new Controls(page);
const curves = new Curves(page);

const show = {
  facts(part) {
    [page.classes, page.names] = [part.classes, part.names];
    const details = [part.source, part.network, part.parameters ? `${count(part.parameters)} weights` : "", part.sensor ? part.sensor.join("×") : ""];
    setText(byId("source"), details.filter(Boolean).join("  ·  "));
    byId("source").title = byId("source").textContent;
    document.title = `${part.source} · stream-ottt`;
    byId("seen-before").hidden = !part.seen_before;
    controls.showFacts(part);
  },
  frame(part) {
    showFrame(part);
    showPrediction(part, page);
  },
  status(part) {
    setText(byId("stream-time"), seconds(part.stream_s));
    setText(byId("speed"), part.speed == null ? "–" : `${part.speed.toFixed(part.speed < 10 ? 1 : 0)}×`);
    setText(byId("timesteps"), count(part.timesteps));
    const learning = part.learning ?? "waiting";
    if (part.ended) showState("ended", part.ended === "end" ? "ended" : `ended: ${part.ended}`);
    else showState(learning, LEARNING[learning]);
    controls.setAway(part.ended ? "the run has ended" : "", { over: Boolean(part.ended) });
    keepFrame(part.held || Boolean(part.ended));
    if (part.timesteps && performance.now() - glancedAt > GLANCE_EVERY_MS) glance();
    showNotice(part.warnings);
    controls.showLearning(learning);
    controls.showPlayback(part);
    if (part.accuracy) showScores(part, page);
    showAccount(part);
  },
  curves: (part) => curves.show(part),
  inside: (part) => inside.show(part),
  weights: (part) => inside.showWeights(part),
  memory: (part) => showMemory(part, page),
  answer: (part) => controls.showAnswer(part),
};

let ended = false;

function showState(state, words) {
  ended = state === "ended";
  byId("state").dataset.state = state;
  setText(byId("state"), words);
}

function showNotice(lines) {
  byId("notice").hidden = !lines?.length;
  setText(byId("notice"), (lines ?? []).join(" · "));
}

page.connection = new Connection({
  onParts(parts) {
    for (const part of parts) show[part.kind]?.(part);
  },
  onState(state, why) {
    if (state === "refused") return showNotice([why]);
    if (state === "open") showNotice([]);
    if (state !== "lost" || ended) return;
    showState("lost", "connecting again");
    controls.setAway("not connected to the run");
  },
});
const inside = new Inside(page);

// What is not on the screen is asked for once in a while, so that it is there when it is looked at, also after the end.
const GLANCE_EVERY_MS = 5000;
const GLANCE_MS = 1000;
const seen = { inside: new Set(), memory: new Set() };
let glancedAt = -Infinity;

function glance() {
  glancedAt = performance.now();
  page.connection.ask({ inside: true, memory: true });
  setTimeout(askForSeen, GLANCE_MS);
}

function askForSeen() {
  page.connection.ask({ inside: seen.inside.size > 0, memory: seen.memory.size > 0 });
}

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const of = target.classList.contains("memory") ? seen.memory : seen.inside;
    if (isIntersecting) of.add(target);
    else of.delete(target);
  }
  askForSeen();
});
for (const panel of document.querySelectorAll(".layers, .raster, .weights, .memory")) watcher.observe(panel);

// For tests: how much is held.
globalThis.streamOttt = { page, controls, curves, inside };
