// Scores in figures: over all presentations, for each class, and label against prediction.

import { byId, count, element, facts, figure, rgb, setText, share } from "./dom.js";

let tableOf = "";

export function showScores({ accuracy, presentations, per_class, confusion }, page) {
  setText(byId("accuracy"), share(accuracy.presentations));
  setText(byId("presentations"), `${count(presentations)} presentation${presentations === 1 ? "" : "s"}`);
  facts(byId("scores"), [
    ["second half", share(accuracy.second_half)],
    ["last timesteps", share(accuracy.windowed)],
    ["kappa", figure(accuracy.kappa)],
    ["kappa against no change", figure(accuracy.kappa_t)],
    ["majority class", share(accuracy.majority), "rule"],
    ["no change", share(accuracy.no_change)],
  ]);
  // All classes at once: rows that came one by one would push down what is below them.
  const classes = presentations ? page.classes : [];
  showPerClass(per_class, classes, page);
  showConfusion(confusion, classes, page);
}

function showPerClass(scored, classes, page) {
  const of = new Map(scored.map((row) => [row.label, row]));
  const rows = [...new Set([...classes, ...of.keys()])].sort((a, b) => a - b).map((label) => of.get(label) ?? { label, support: 0 });
  const body = byId("per-class").tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  while (body.rows.length < rows.length) {
    body.append(element("tr", {}, element("th", { scope: "row" }), element("td"), meterCell(), meterCell()));
  }
  rows.forEach((row, i) => {
    const cells = body.rows[i].cells;
    setText(cells[0], page.name(row.label));
    setText(cells[1], count(row.support));
    setMeter(cells[2], row.recall);
    setMeter(cells[3], row.precision);
  });
}

function meterCell() {
  return element("td", {}, element("span", { className: "meter", ariaHidden: "true" }, element("i")), element("span"));
}

function setMeter(cell, value) {
  cell.firstChild.firstChild.style.transform = `scaleX(${value ?? 0})`;
  setText(cell.lastChild, share(value));
}

function showConfusion(entries, classes, page) {
  const labels = [...new Set([...classes, ...entries.flatMap(([truth, predicted]) => [truth, predicted])])].sort((a, b) => a - b);
  const table = byId("confusion");
  const names = labels.map((label) => page.name(label));
  if (tableOf !== names.join("\n")) {
    tableOf = names.join("\n");
    const heads = names.map((name) => element("th", { scope: "col", textContent: name, title: name }));
    const rows = names.map((name) =>
      element("tr", {}, element("th", { scope: "row", textContent: name, title: name }), ...names.map(() => element("td"))),
    );
    table.replaceChildren(...(names.length ? [element("tr", {}, element("th"), ...heads), ...rows] : []));
    table.style.setProperty("--classes", names.length);
    table.classList.toggle("long-names", names.some((name) => name.length > 3));
  }
  const found = new Map(entries.map(([truth, predicted, n]) => [`${truth},${predicted}`, n]));
  const [r, g, b] = rgb("--accent");
  labels.forEach((truth, i) => {
    const counts = labels.map((predicted) => found.get(`${truth},${predicted}`) ?? 0);
    const sum = counts.reduce((a, c) => a + c, 0) || 1;
    counts.forEach((n, j) => {
      const cell = table.rows[i + 1].cells[j + 1];
      setText(cell, String(n));
      cell.classList.toggle("empty", n === 0);
      cell.classList.toggle("dark", n / sum > 0.55);
      cell.style.backgroundColor = n ? `rgba(${r}, ${g}, ${b}, ${0.12 + 0.88 * (n / sum)})` : "";
    });
  });
}
