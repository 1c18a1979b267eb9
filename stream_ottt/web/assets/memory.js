// What is remembered for rehearsal: how much of each class, and what it looks like.

import { paintSigned } from "./frame.js";
import { byId, count, element, onThemeChange, rgb, setText } from "./dom.js";

let latest = null;
onThemeChange(() => latest && showMemory(...latest));

// thumbnails: uint8 [pictures, polarities, height, width]; of: the class of each.
export function showMemory(part, page) {
  latest = [part, page];
  const { thumbnails, of } = part.arrays;
  const stretches = Object.entries(part.stretches);
  const total = stretches.reduce((a, [, n]) => a + n, 0);
  setText(byId("memory-facts"), total ? `${count(total)} stretches, ${(part.bytes / 2 ** 20).toFixed(1)} MiB` : "");
  const list = byId("memory");
  if (!total) return list.replaceChildren();
  const [, polarities, height, width] = thumbnails.shape;
  const size = height * width;
  const colours = { paper: rgb("--paper"), on: rgb("--on"), off: rgb("--off") };
  const items = stretches.map(([label, n]) => {
    const row = element("div", { className: "row" });
    of.forEach((label_of, i) => {
      if (label_of === Number(label)) row.append(picture(thumbnails.subarray(i * polarities * size, (i + 1) * polarities * size), size, width, height, polarities, colours));
    });
    return element("li", {}, element("p", {}, element("span", { textContent: page.name(Number(label)) }), element("span", { textContent: count(n) })), row);
  });
  list.replaceChildren(...items);
}

function picture(values, size, width, height, polarities, colours) {
  const canvas = element("canvas", { className: "pixels", width, height, ariaHidden: "true" });
  const context = canvas.getContext("2d", { alpha: false });
  const image = context.createImageData(width, height);
  const level = (p) => Float32Array.from(values.subarray(p * size, (p + 1) * size), (v) => v / 255);
  paintSigned(image.data, level(polarities - 1), polarities > 1 ? level(0) : null, colours);
  context.putImageData(image, 0, 0);
  return canvas;
}
