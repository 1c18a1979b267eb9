// What the network says of the latest timestep, and the label once it is there.

import { byId, element, milliseconds, setText, share } from "./dom.js";

const list = byId("probabilities");
let shownClasses = "";

export function showPrediction(part, page) {
  const probabilities = part.arrays.probabilities;
  const names = page.classes.map((label) => page.name(label));
  if (shownClasses !== names.join("\n")) {
    shownClasses = names.join("\n");
    list.replaceChildren(...names.map(row));
  }
  let top = 0;
  probabilities.forEach((p, i) => {
    if (p > probabilities[top]) top = i;
  });
  page.classes.forEach((label, i) => {
    const item = list.children[i];
    const p = probabilities[i] ?? 0;
    item.classList.toggle("top", i === top);
    item.classList.toggle("true", label === part.truth);
    item.children[1].firstChild.style.transform = `scaleX(${Number.isFinite(p) ? p : 0})`;
    setText(item.children[2], Number.isFinite(p) ? share(p) : "–");
  });
  setText(byId("predicted"), part.unknown ? "unknown" : page.name(part.label));
  setText(byId("confidence"), Number.isFinite(probabilities[top]) ? share(probabilities[top]) : "");
  setText(byId("prediction-facts"), `latency ${milliseconds(part.latency_ms)}`);
  showVerdict(part, page);
}

function row(name) {
  return element(
    "li",
    {},
    element("span", { className: "name", textContent: name, title: name }),
    element("span", { className: "track" }, element("div", { className: "fill" })),
    element("span", { className: "value" }),
  );
}

function showVerdict(part, page) {
  const verdict = byId("verdict");
  if (part.truth == null) {
    verdict.className = "";
    setText(verdict, "no label");
    return;
  }
  const right = part.truth === part.label;
  verdict.className = right ? "right" : "wrong";
  setText(verdict, `${right ? "✓" : "✗"} label ${page.name(part.truth)}${part.scored ? " · scored" : ""}`);
}
