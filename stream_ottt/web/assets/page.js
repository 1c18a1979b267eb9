// Joins the connection to what is shown.

import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Curves } from "./curves.js";
import { Inside } from "./inside.js";
import { showAccount } from "./account.js";
import { showFrame } from "./frame.js";
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
    showState(part.ended ? "ended" : learning, part.ended ? `ended: ${part.ended}` : LEARNING[learning]);
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
    if (state === "lost" && !ended) showState("lost", "connecting again");
  },
});
const inside = new Inside(page);

// What is not on the screen is not asked for.
const seen = { inside: new Set(), memory: new Set() };
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const of = target.classList.contains("memory") ? seen.memory : seen.inside;
    if (isIntersecting) of.add(target);
    else of.delete(target);
  }
  page.connection.ask({ inside: seen.inside.size > 0, memory: seen.memory.size > 0 });
});
for (const panel of document.querySelectorAll(".layers, .raster, .weights, .memory")) watcher.observe(panel);

// For tests: how much is held.
globalThis.streamOttt = { page, controls, curves, inside };
