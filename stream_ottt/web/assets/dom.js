// Small helpers: elements, figures, colours. Text from outside is set as text, never as markup.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Writing only what has changed spares the browser a layout.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const count = (n) => (n == null ? "–" : whole.format(n));
export const share = (x) => (x == null ? "–" : `${(100 * x).toFixed(x > 0 && x < 0.01 ? 1 : 0)} %`);
export const figure = (x, digits = 3) => (x == null ? "–" : x.toFixed(digits));

export function short(n) {
  if (n == null) return "–";
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (n >= size) return `${(n / size).toPrecision(3)} ${unit}`;
  }
  return n.toFixed(0);
}

export function seconds(s) {
  if (s == null) return "–";
  if (s < 120) return `${s.toFixed(1)} s`;
  const minutes = Math.floor(s / 60);
  const rest = String(Math.floor(s % 60)).padStart(2, "0");
  return minutes < 60 ? `${minutes}:${rest} min` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")} h`;
}

export function milliseconds(ms) {
  if (ms == null) return "–";
  return ms >= 1000 ? `${(ms / 1000).toPrecision(3)} s` : `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;
}

// A list of terms: rows are [term, value, class name]; the nodes are made anew only when the terms change.
export function facts(list, rows) {
  const terms = rows.map((row) => row[0]).join("\n");
  if (list.dataset.terms !== terms) {
    list.dataset.terms = terms;
    list.replaceChildren(
      ...rows.map(([term, , name]) => element("div", { className: name ?? "" }, element("dt", { textContent: term }), element("dd"))),
    );
  }
  rows.forEach(([, value], i) => setText(list.children[i].lastChild, value));
}

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function rgb(name) {
  const hex = css(name).slice(1);
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

const palette = matchMedia("(prefers-color-scheme: dark)");
export const onThemeChange = (act) => palette.addEventListener("change", act);

const motion = matchMedia("(prefers-reduced-motion: reduce)");
export const isCalm = () => motion.matches;
