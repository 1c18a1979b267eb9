// The network's inside: spikes per layer, a raster, one neuron, the first layer's weights. Asked for only while seen.

import { paintSigned } from "./frame.js";
import { byId, count, css, element, onThemeChange, rgb, setText, share } from "./dom.js";
import { sizeOf, spread } from "./curves.js";

const COLUMNS = 256; // timesteps that are kept and shown

const raster = byId("raster-picture");
const pen = raster.getContext("2d", { alpha: false });

export class Inside {
  constructor(page) {
    this.page = page;
    this.layer = null;
    this.rows = []; // which neuron each row of the raster shows
    this.spikes = new Uint8Array(0);
    this.u = new Float32Array(COLUMNS).fill(NaN);
    this.trace = new Float32Array(COLUMNS).fill(NaN);
    this.steps = new Float64Array(COLUMNS).fill(NaN);
    this.threshold = 1;
    byId("layer").addEventListener("change", (event) => page.connection.ask({ layer: event.target.value, neuron: null }));
    byId("neuron").addEventListener("change", (event) => this.pick(Math.max(0, Math.floor(Number(event.target.value)) || 0)));
    raster.addEventListener("click", (event) => {
      const box = raster.getBoundingClientRect();
      const row = Math.floor(((event.clientY - box.top) / box.height) * this.rows.length);
      if (this.rows[row] != null) this.pick(this.rows[row]);
    });
    const holder = byId("neuron-plot");
    this.plot = new uPlot(this.options(holder), [[], [], []], holder);
    new ResizeObserver(() => this.plot.setSize(sizeOf(holder))).observe(holder);
    this.clear();
    onThemeChange(() => {
      if (!this.rows.length) return this.clear();
      this.draw();
      this.plot.redraw(false, true);
      if (this.weights) this.showWeights(this.weights);
    });
  }

  options(holder) {
    const axis = { stroke: () => css("--muted"), grid: { stroke: () => css("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    return {
      ...sizeOf(holder), legend: { show: false }, cursor: { show: false }, padding: [6, 14, 0, 0],
      // The threshold is always in sight.
      scales: {
        x: { time: false, range: (_, from, to) => spread(from, to) },
        y: { range: (_, from, to) => [Math.min(0, from ?? 0), 1.1 * Math.max(this.threshold, to ?? 0)] },
      },
      axes: [{ ...axis, size: 24 }, { ...axis, size: 36 }],
      series: [
        {},
        { stroke: () => css("--accent"), width: 1.5, points: { show: false } },
        { stroke: () => css("--muted"), width: 1, points: { show: false } },
      ],
      hooks: { draw: [(plot) => this.drawThreshold(plot)] },
    };
  }

  pick(neuron) {
    byId("neuron").value = String(neuron);
    this.page.connection.ask({ neuron });
  }

  show(part) {
    this.showLayers(part);
    const { spikes, rows, steps, u, trace } = part.arrays;
    const newest = steps[steps.length - 1];
    const isNew = part.layer !== this.layer || rows.length !== this.rows.length || newest < this.newest;
    if (isNew || part.neuron !== this.neuron) {
      this.u.fill(NaN);
      this.trace.fill(NaN);
      this.steps.fill(NaN);
    }
    if (isNew || rows.some((row, i) => row !== this.rows[i])) {
      this.spikes = new Uint8Array(rows.length * COLUMNS);
      this.steps.fill(NaN);
    }
    [this.layer, this.neuron, this.rows, this.threshold] = [part.layer, part.neuron, Array.from(rows), part.threshold];
    // A column is a timestep, also where some were not watched.
    const passed = isNew ? COLUMNS : Math.min(COLUMNS, newest - this.newest);
    this.newest = newest;
    const put = (ring, empty, value) => {
      ring.copyWithin(0, passed);
      ring.fill(empty, COLUMNS - passed);
      steps.forEach((step, i) => {
        const column = COLUMNS - 1 - (newest - step);
        if (column >= 0) ring[column] = value(i);
      });
    };
    put(this.u, NaN, (i) => u[i]);
    put(this.trace, NaN, (i) => trace[i]);
    put(this.steps, NaN, (i) => steps[i]);
    for (let r = 0; r < rows.length; r++) {
      put(this.spikes.subarray(r * COLUMNS, (r + 1) * COLUMNS), 0, (i) => spikes[i * rows.length + r]);
    }
    this.draw();
    this.plot.setData(this.series());
    byId("neuron").max = String(part.neurons - 1);
    if (document.activeElement !== byId("neuron")) byId("neuron").value = String(part.neuron);
  }

  // Plain arrays for the plot; null where timesteps are missing.
  series() {
    const x = [];
    const y = [];
    const z = [];
    let last = NaN;
    for (let i = 0; i < COLUMNS; i++) {
      const step = this.steps[i];
      if (Number.isNaN(step)) continue;
      if (step > last + 1) {
        x.push(last + 0.5);
        y.push(null);
        z.push(null);
      }
      x.push(step);
      y.push(this.u[i]);
      z.push(Number.isNaN(this.trace[i]) ? null : this.trace[i]);
      last = step;
    }
    return [x, y, z];
  }

  // A canvas that nothing was drawn on yet is black.
  clear() {
    pen.fillStyle = css("--paper");
    pen.fillRect(0, 0, raster.width, raster.height);
  }

  draw() {
    const rows = this.rows.length;
    if (!rows) return;
    if (raster.height !== rows) raster.height = rows;
    raster.width = COLUMNS;
    const image = pen.createImageData(COLUMNS, rows);
    const [paper, ink, accent, faint] = ["--paper", "--ink", "--accent", "--accent-soft"].map(rgb);
    for (let r = 0; r < rows; r++) {
      const picked = this.rows[r] === this.neuron;
      for (let i = 0; i < COLUMNS; i++) {
        const at = r * COLUMNS + i;
        const colour = this.spikes[at] ? (picked ? accent : ink) : picked ? faint : paper;
        image.data.set(colour, 4 * at);
        image.data[4 * at + 3] = 255;
      }
    }
    pen.putImageData(image, 0, 0);
  }

  drawThreshold(plot) {
    const { ctx, bbox } = plot;
    const y = plot.valToPos(this.threshold, "y", true);
    if (!(y > bbox.top && y < bbox.top + bbox.height)) return;
    ctx.save();
    ctx.strokeStyle = css("--on");
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }

  showLayers(part) {
    const select = byId("layer");
    const names = part.layers.map(({ name }) => name);
    if (select.dataset.names !== names.join("\n")) {
      select.dataset.names = names.join("\n");
      select.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
      byId("layers").replaceChildren(
        ...part.layers.map(({ name, neurons }) =>
          element("li", {}, element("span", { className: "name", textContent: `${name} · ${count(neurons)}` }),
            element("span", { className: "track" }, element("div", { className: "fill" })), element("span", { className: "value" })),
        ),
      );
    }
    if (document.activeElement !== select) select.value = part.layer;
    const most = Math.max(0.2, ...part.layers.map(({ rate }) => rate));
    part.layers.forEach(({ rate }, i) => {
      const item = byId("layers").children[i];
      item.children[1].firstChild.style.transform = `scaleX(${rate / most})`;
      setText(item.children[2], share(rate));
    });
  }

  // Each filter is a row of small pictures, one for each input channel.
  showWeights(part) {
    this.weights = part;
    byId("weights").hidden = false;
    const weights = part.arrays.weights;
    const [filters, channels, height, width] = weights.shape;
    const cell = { width: channels * (width + 1) + 1, height: height + 2 };
    const across = columns(filters, cell.width / cell.height);
    const down = Math.ceil(filters / across);
    const canvas = byId("weights-picture");
    canvas.width = across * cell.width - 2;
    canvas.height = down * cell.height - 2;
    const size = canvas.width * canvas.height;
    const [on, off] = [new Float32Array(size), new Float32Array(size)];
    const blank = new Uint8Array(size).fill(1);
    let most = 1e-9;
    for (const w of weights) most = Math.max(most, Math.abs(w));
    for (let f = 0; f < filters; f++) {
      const [left, top] = [(f % across) * cell.width, Math.floor(f / across) * cell.height];
      for (let c = 0; c < channels; c++) {
        for (let y = 0; y < height; y++) {
          for (let x = 0; x < width; x++) {
            const w = weights[((f * channels + c) * height + y) * width + x] / most;
            const at = (top + y) * canvas.width + left + c * (width + 1) + x;
            on[at] = Math.max(0, w);
            off[at] = Math.max(0, -w);
            blank[at] = 0;
          }
        }
      }
    }
    const context = canvas.getContext("2d", { alpha: false });
    const image = context.createImageData(canvas.width, canvas.height);
    paintSigned(image.data, on, off, { paper: rgb("--paper"), on: rgb("--on"), off: rgb("--off") });
    const ground = rgb("--panel");
    blank.forEach((is, at) => is && image.data.set(ground, 4 * at));
    context.putImageData(image, 0, 0);
    const each = channels === 2 ? "OFF, ON" : `${channels} channel${channels === 1 ? "" : "s"}`;
    setText(byId("weights-facts"), `${filters === part.filters ? "" : `${filters} of `}${count(part.filters)} · ${each}`);
  }
}

// Columns of a grid of ``n`` cells that comes near a square, without an unfinished row where that can be.
function columns(n, aspect) {
  const best = Math.max(1, Math.round(Math.sqrt(n / aspect)));
  for (let away = 0; away <= best / 2; away++) {
    for (const across of [best + away, best - away]) if (across > 0 && n % across === 0) return across;
  }
  return best;
}
