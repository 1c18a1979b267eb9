// What became of every event, how long predictions take, what was learned.

import { byId, count, css, element, facts, milliseconds, onThemeChange, setText, short } from "./dom.js";

const bars = byId("latency-bars");
const BUCKETS_PER_DECADE = 5;
const PLACES = { merge: "waiting for other sources", queue: "queue behind the source", window: "open window", timesteps: "timesteps that wait" };

export function showAccount(part) {
  const { events, latency, updates } = part;
  setText(byId("event-rate"), part.events_per_s == null ? "" : `${short(part.events_per_s)} events/s`);
  const dropped = Object.entries(events.dropped).map(([reason, n]) => [`dropped: ${reason}`, n, "--bad"]);
  const rows = [
    ["binned", events.binned, "--accent"],
    ["late", events.late, "--warn"],
    ["malformed", events.malformed, "--warn"],
    ...dropped,
    ["in hand", events.in_hand, "--muted"],
  ].filter(([term, n]) => n || term === "binned" || term === "in hand");
  stack(byId("account-bar"), rows);
  facts(byId("account"), [["read", count(events.read)], ...rows.map(([term, n], i) => [term, count(n), i ? "" : "rule"])]);
  facts(byId("queues"), Object.entries(part.in_hand).map(([place, n]) => [`in hand: ${PLACES[place] ?? place}`, count(n)]));

  showLatency(latency, part.arrays.latency);
  if (!updates) return;
  const kinds = [["live", updates.live, "--accent"], ["deferred", updates.deferred, "--off"], ["rehearsed", updates.rehearsed, "--muted"]];
  stack(byId("updates-bar"), kinds);
  const labels = part.labels ?? {};
  facts(byId("updates"), [
    ...kinds.map(([term, n]) => [term, count(n)]),
    ["due", count(part.due), "rule"],
    ["waiting for a label", part.waiting == null ? "–" : `${count(part.waiting)} timesteps`],
    ["not kept", count(part.timesteps_not_kept)],
    ["labels taken, refused", `${count(labels.taken)}, ${count(labels.refused)}`],
    ["corrected, taken back", `${count(labels.corrected)}, ${count(labels.retracted)}`],
  ]);
  setText(byId("step-time"), part.step_ms == null ? "" : `${milliseconds(part.step_ms.p50_ms)} a timestep`);
}

function stack(holder, rows) {
  while (holder.children.length > rows.length) holder.lastChild.remove();
  while (holder.children.length < rows.length) holder.append(element("i"));
  const sum = rows.reduce((a, [, n]) => a + n, 0) || 1;
  rows.forEach(([term, n, colour], i) => {
    const piece = holder.children[i];
    piece.style.flex = `${n / sum} 0 0`;
    piece.style.background = `var(${colour})`;
    piece.title = `${term}: ${count(n)}`;
  });
}

// Buckets from 1 µs up, five a decade; shown from the first to the last that is not empty.
function showLatency(latency, buckets) {
  setText(byId("latency-p50"), milliseconds(latency.n ? latency.p50_ms : null));
  setText(byId("latency-p99"), milliseconds(latency.n ? latency.p99_ms : null));
  let first = buckets.findIndex((n) => n > 0);
  let last = buckets.findLastIndex((n) => n > 0);
  byId("latency-axis").hidden = first < 0;
  if (first < 0) return bars.replaceChildren();
  [first, last] = [Math.max(0, first - 1), Math.min(buckets.length - 1, Math.max(last + 1, first + 8))];
  const shown = buckets.subarray(first, last + 1);
  const most = Math.max(1, ...shown);
  while (bars.children.length > shown.length) bars.lastChild.remove();
  while (bars.children.length < shown.length) bars.append(element("i"));
  shown.forEach((n, i) => {
    bars.children[i].style.transform = `scaleY(${n ? Math.max(0.02, n / most) : 0})`;
    bars.children[i].title = `${milliseconds(edge(first + i))} to ${milliseconds(edge(first + i + 1))}: ${count(n)}`;
  });
  const [from, to] = byId("latency-axis").children;
  setText(from, milliseconds(edge(first)));
  setText(to, milliseconds(edge(last + 1)));
}

const edge = (bucket) => 10 ** (bucket / BUCKETS_PER_DECADE) / 1000;
