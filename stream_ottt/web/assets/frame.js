// The event frame: ON and OFF fade away unless they come again.

import { byId, count, css, isCalm, onThemeChange, rgb, setText } from "./dom.js";

const FADE_MS = 200;
const CALM_MS = 250;
const FADE_STEP_MS = 50; // shorter than that nobody sees it, and a run on this machine pays for each picture

const canvas = byId("frame");
const context = canvas.getContext("2d", { alpha: false });
let colours;
let levels = []; // one Float32Array a polarity
let image = null;
let brightest = 1;
let drawnAt = 0;
let running = false;
let latest = null;
let kept = false; // nothing comes for now: the latest frame stays as it is

function readColours() {
  colours = { paper: rgb("--paper"), on: rgb("--on"), off: rgb("--off") };
  if (image) return paint();
  context.fillStyle = css("--paper"); // a canvas that nothing was drawn on is black
  context.fillRect(0, 0, canvas.width, canvas.height);
}
readColours();
onThemeChange(readColours);

export function showFrame(part) {
  const frame = part.arrays.frame;
  const [polarities, height, width] = frame.shape;
  const now = performance.now();
  if (isCalm() && now - drawnAt < CALM_MS && image) return;
  if (!image || canvas.width !== width || canvas.height !== height || levels.length !== polarities) {
    canvas.width = width;
    canvas.height = height;
    image = context.createImageData(width, height);
    levels = Array.from({ length: polarities }, () => new Float32Array(width * height));
  }
  fade(isCalm() ? Infinity : now - drawnAt);
  drawnAt = now;
  latest = frame;
  add(frame);
  setText(byId("frame-facts"), `timestep ${count(part.step)} · ${count(part.events)} events · ${width}×${height}`);
  if (!running && !kept && !isCalm()) {
    running = true;
    requestAnimationFrame(fadeOn);
  }
}

export function keepFrame(keep) {
  if (keep === kept) return;
  kept = keep;
  if (!kept || !latest) return;
  for (const level of levels) level.fill(0);
  add(latest);
}

function add(frame) {
  let most = 1;
  for (const n of frame) if (n > most) most = n;
  brightest += 0.2 * (Math.max(1, 0.7 * most) - brightest);
  levels.forEach((level, p) => {
    const size = level.length;
    for (let i = 0; i < size; i++) {
      const n = frame[p * size + i];
      if (n) level[i] = Math.max(level[i], Math.min(1, Math.sqrt(n / brightest)));
    }
  });
  paint();
}

function fade(elapsed) {
  const factor = Math.exp(-elapsed / FADE_MS);
  let left = 0;
  for (const level of levels) {
    for (let i = 0; i < level.length; i++) {
      level[i] *= factor;
      if (level[i] > left) left = level[i];
    }
  }
  return left;
}

function fadeOn(now) {
  if (kept) return (running = false);
  if (now - drawnAt < FADE_STEP_MS) return requestAnimationFrame(fadeOn);
  const left = fade(now - drawnAt);
  drawnAt = now;
  paint();
  running = left > 0.02;
  if (running) requestAnimationFrame(fadeOn);
}

function paint() {
  paintSigned(image.data, levels.length > 1 ? levels[1] : levels[0], levels.length > 1 ? levels[0] : null, colours);
  context.putImageData(image, 0, 0);
}

// RGBA bytes of a picture: ``on`` and ``off`` in [0, 1] mix their colours into the paper.
export function paintSigned(data, on, off, { paper, on: onColour, off: offColour }) {
  for (let i = 0; i < on.length; i++) {
    const a = on[i];
    const b = off ? off[i] : 0;
    const rest = Math.max(0, 1 - a - b);
    const sum = rest + a + b;
    for (let c = 0; c < 3; c++) {
      data[4 * i + c] = (rest * paper[c] + a * onColour[c] + b * offColour[c]) / sum;
    }
    data[4 * i + 3] = 255;
  }
}
