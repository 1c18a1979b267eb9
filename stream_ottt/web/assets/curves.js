// Prequential accuracy, kappa and the baselines over stream time; label changes as marks beneath.

import { byId, css, element, figure, onThemeChange, seconds, setText } from "./dom.js";

const SERIES = [
  { name: "accuracy", key: "presentations", colour: "--accent", width: 2.5, swatch: "" },
  { name: "last timesteps", key: "windowed", colour: "--accent-faded", width: 1.5, swatch: "" },
  { name: "kappa", key: "kappa", colour: "--ink", width: 1, dash: [5, 4], swatch: "dashed" },
  { name: "majority class", key: "majority", colour: "--muted", width: 1, swatch: "" },
  { name: "no change", key: "no_change", colour: "--muted", width: 1, dash: [2, 3], swatch: "dotted" },
];
const RIBBON = 7; // pixels

export class Curves {
  constructor(page) {
    this.page = page;
    this.changes = { t: [], label: [] };
    const holder = byId("curves");
    this.plot = new uPlot(this.options(holder), [[], ...SERIES.map(() => [])], holder);
    new ResizeObserver(() => this.plot.setSize(sizeOf(holder))).observe(holder);
    onThemeChange(() => this.plot.redraw(false, true));
    for (const { name, colour, swatch, width } of SERIES) {
      const mark = element("span", { className: `swatch line ${swatch}` });
      mark.style.borderTopColor = `var(${colour})`;
      mark.style.borderTopWidth = `${Math.max(1, width)}px`;
      byId("curves-key").append(element("span", { className: "entry" }, mark, name));
    }
  }

  options(holder) {
    const axis = { stroke: () => css("--muted"), grid: { stroke: () => css("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    return {
      ...sizeOf(holder),
      legend: { show: false },
      padding: [8, 14, 0, 0],
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: false, range: (_, from, to) => spread(from, to) }, y: { range: [0, 1] } },
      axes: [
        { ...axis, size: 30, values: (_, ticks) => ticks.map((t) => (t >= 120 ? `${+(t / 60).toFixed(1)} min` : `${t} s`)) },
        { ...axis, size: 40, values: (_, ticks) => ticks.map((v) => +v.toFixed(2)) },
      ],
      series: [
        {},
        ...SERIES.map(({ name, colour, width, dash }) => ({
          label: name, stroke: () => css(colour), width, dash, spanGaps: true, points: { show: false },
        })),
      ],
      hooks: { draw: [(plot) => this.drawChanges(plot)], setCursor: [(plot) => this.showCursor(plot)] },
    };
  }

  show(part) {
    const { arrays } = part;
    this.changes = { t: arrays.change_t, label: arrays.change_label };
    const nulls = (values) => Array.from(values, (v) => (Number.isNaN(v) ? null : v));
    this.plot.setData([Array.from(arrays.t), ...SERIES.map(({ key }) => nulls(arrays[key]))]);
  }

  // A ribbon of alternating shades: one piece a label, named where there is room; a gap where there is none.
  drawChanges(plot) {
    const { t, label } = this.changes;
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    const top = bbox.top + bbox.height - RIBBON * ratio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.font = `${10 * ratio}px system-ui`;
    let last = -Infinity;
    for (let i = 0; i < t.length; i++) {
      const from = plot.valToPos(t[i], "x", true);
      const to = i + 1 < t.length ? plot.valToPos(t[i + 1], "x", true) : bbox.left + bbox.width;
      if (label[i] >= 0) {
        ctx.fillStyle = css(i % 4 < 2 ? "--accent" : "--muted");
        ctx.globalAlpha = 0.55;
        ctx.fillRect(from, top, Math.max(ratio, to - from - ratio), RIBBON * ratio);
        const name = this.page.name(label[i]);
        if (to - from > ctx.measureText(name).width + 8 * ratio) {
          ctx.globalAlpha = 1;
          ctx.fillStyle = css("--muted");
          ctx.fillText(name, from + 2 * ratio, top - 4 * ratio);
        }
      }
      if (from - last > 5 * ratio) {
        ctx.globalAlpha = 0.35;
        ctx.fillStyle = css("--line");
        ctx.fillRect(from, bbox.top, ratio, bbox.height);
        last = from;
      }
    }
    ctx.restore();
  }

  showCursor(plot) {
    const at = plot.cursor.idx;
    if (at == null) return setText(byId("at-cursor"), "");
    const values = SERIES.map(({ name }, i) => `${name} ${figure(plot.data[i + 1][at], 2)}`);
    setText(byId("at-cursor"), [seconds(plot.data[0][at]), ...values].join(" · "));
  }
}

// Room for an axis also where there are no values yet, or one.
export function spread(from, to) {
  if (from == null) return [0, 1];
  return to > from ? [from, to] : [from, from + 1];
}

export function sizeOf(holder) {
  return { width: Math.max(120, holder.clientWidth), height: Math.max(60, holder.clientHeight) };
}
