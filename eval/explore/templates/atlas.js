"use strict";
// A map of many points. They are written into the pixels of a canvas: 100,000 of them take a few milliseconds.
const data = JSON.parse(document.getElementById("data").textContent);
const numbers = (text) => new Uint16Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const keys = data.keys.split("\n");
const total = keys.length;
const [X, Y] = data.position.map((text) => Float32Array.from(numbers(text), (value) => value / 65535));
const columns = data.columns.map((one) => ({ ...one, codes: numbers(one.codes) }));
const element = (id) => document.getElementById(id);
const canvas = element("points");
const paint = canvas.getContext("2d", { alpha: false });
const lasso = element("lasso").getContext("2d");
const box = element("hovered");
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const count = (number) => number.toLocaleString("en");

// ---- state
const view = { scale: 1, left: 0, top: 0 }; // pixels of the canvas per unit of the map, and its corner
let ratio = 1;
let column = 0;
let colours = new Uint32Array(0);
const shown = new Uint8Array(total).fill(1); // fits the search
let selected = null; // Uint8Array, or null
let buffer = null;
let waiting = false;

// ---- colours
const NAMED = 20; // values with a line in the legend
const rgb = (hue, light) => {
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - 0.62 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [part(0), part(8), part(4)];
};
const colourOf = (index) => rgb((index * 137.508 + 205) % 360, [0.5, 0.38, 0.62][index % 3]);
const packed = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

function recolour() {
  const { values } = columns[column];
  colours = Uint32Array.from(values, (_, index) => packed(colourOf(index)));
  const tally = new Uint32Array(values.length);
  for (let i = 0; i < total; i++) tally[columns[column].codes[i]] += shown[i];
  const legend = element("legend");
  legend.querySelector("h2").textContent = `${columns[column].title}: ${count(values.length)}`;
  const order = [...values.keys()].filter((index) => tally[index]).sort((a, b) => tally[b] - tally[a] || a - b);
  legend.querySelector("ul").replaceChildren(...order.slice(0, NAMED).map((index) => {
    const button = document.createElement("button");
    button.type = "button";
    const patch = document.createElement("i");
    patch.style.background = `rgb(${colourOf(index).join(" ")})`;
    const number = document.createElement("span");
    number.textContent = count(tally[index]);
    button.append(patch, values[index], number);
    button.addEventListener("click", () => { element("words").value = `"${values[index]}"`; search(); });
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  legend.querySelector("p").textContent = order.length > NAMED ? `and ${count(order.length - NAMED)} more` : "";
  redraw();
}

// ---- drawing
function fit() {
  const side = Math.min(canvas.width, canvas.height);
  Object.assign(view, { scale: side, left: (canvas.width - side) / 2, top: (canvas.height - side) / 2 });
}

function resize() {
  ratio = Math.min(window.devicePixelRatio || 1, 2);
  const before = canvas.width;
  for (const one of [canvas, lasso.canvas]) {
    one.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    one.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  }
  const image = paint.createImageData(canvas.width, canvas.height);
  buffer = { image, pixels: new Uint32Array(image.data.buffer) };
  if (before !== canvas.width) fit();
  redraw();
}

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

function draw() {
  const start = performance.now();
  const { pixels, image } = buffer;
  const { width, height } = canvas;
  const { codes } = columns[column];
  const faint = packed(isDark() ? [48, 53, 58] : [226, 229, 232]);
  pixels.fill(packed(isDark() ? [21, 24, 27] : [255, 255, 255]));
  const zoom = view.scale / Math.min(width, height);
  const size = Math.max(1, Math.round(ratio * Math.min(7, (total > 20000 ? 1.6 : 3) * zoom ** 0.5)));
  const half = size >> 1;
  const narrowed = selected !== null || found < total;
  for (let pass = narrowed ? 0 : 1; pass < 2; pass++) { // what does not fit first, below the rest
    for (let i = 0; i < total; i++) {
      const active = shown[i] && (selected === null || selected[i]) ? 1 : 0;
      if (active !== pass) continue;
      const x = Math.round(X[i] * view.scale + view.left) - half;
      const y = Math.round(Y[i] * view.scale + view.top) - half;
      if (x < 0 || y < 0 || x + size > width || y + size > height) continue;
      const colour = pass ? colours[codes[i]] : faint;
      for (let row = y * width + x, end = row + size * width; row < end; row += width) {
        for (let at = row; at < row + size; at++) pixels[at] = colour;
      }
    }
  }
  paint.putImageData(image, 0, 0);
  canvas.dataset.milliseconds = (performance.now() - start).toFixed(1);
}

// ---- finding points: a grid of cells, each with its points
const CELLS = 256;
const cellOf = (i) => Math.min(CELLS - 1, Math.floor(X[i] * CELLS)) + CELLS * Math.min(CELLS - 1, Math.floor(Y[i] * CELLS));
const first = new Uint32Array(CELLS * CELLS + 1);
for (let i = 0; i < total; i++) first[cellOf(i) + 1]++;
for (let cell = 0; cell < CELLS * CELLS; cell++) first[cell + 1] += first[cell];
const inCell = new Uint32Array(total);
{
  const next = first.slice();
  for (let i = 0; i < total; i++) inCell[next[cellOf(i)]++] = i;
}

function nearest(x, y, reach) {
  // x, y and reach in pixels of the canvas
  const [u, v, r] = [(x - view.left) / view.scale, (y - view.top) / view.scale, reach / view.scale];
  const clamp = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor(value * CELLS)));
  let best = -1;
  let distance = r * r;
  for (let row = clamp(v - r); row <= clamp(v + r); row++) {
    for (let place = first[row * CELLS + clamp(u - r)]; place < first[row * CELLS + clamp(u + r) + 1]; place++) {
      const i = inCell[place];
      const d = (X[i] - u) ** 2 + (Y[i] - v) ** 2;
      if (shown[i] && d <= distance) [best, distance] = [i, d];
    }
  }
  return best;
}

// ---- pictures
const texts = [...document.getElementsByClassName("sheet")];
const decoded = new Map();
function sheetOf(number) {
  if (!decoded.has(number)) {
    const image = new Image();
    image.src = `data:image/webp;base64,${texts[number].textContent}`;
    decoded.set(number, image.decode().then(() => image));
  }
  return decoded.get(number);
}

function picture(i, target) {
  const { columns: across, rows, side } = data.sheet;
  const place = i % (across * rows);
  return sheetOf(Math.floor(i / (across * rows))).then((image) => {
    const pen = target.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(image, (place % across) * side, Math.floor(place / across) * side, side, side, 0, 0, target.width, target.height);
  });
}

// ---- hovering
let hovered = -1;
function hover(i, x, y) {
  hovered = i;
  box.hidden = i < 0;
  if (i < 0) return;
  const caption = box.querySelector("figcaption");
  const lines = columns.map((one, index) => {
    const line = document.createElement(index ? "span" : "b");
    line.textContent = index ? `${one.title}: ${one.values[one.codes[i]]}` : one.values[one.codes[i]];
    return line;
  });
  const key = document.createElement("span");
  key.textContent = keys[i];
  caption.replaceChildren(...lines, key);
  const target = box.querySelector("canvas");
  target.getContext("2d").clearRect(0, 0, target.width, target.height);
  picture(i, target).then(() => { if (hovered !== i && hovered >= 0) picture(hovered, target); });
  const area = canvas.getBoundingClientRect();
  const [px, py] = [x / ratio, y / ratio];
  box.style.left = `${Math.max(0, px + 14 + box.offsetWidth > area.width ? px - 14 - box.offsetWidth : px + 14)}px`;
  box.style.top = `${Math.max(0, Math.min(py, area.height - box.offsetHeight))}px`;
}

// ---- search
let found = total;
const searchable = ["class", "source"].map((title) => columns.find((one) => one.title === title)).filter(Boolean);
function search() {
  const typed = plain(element("words").value.trim());
  const exact = /^".*"$/.test(typed) ? typed.slice(1, -1) : null;
  const words = typed.split(/\s+/).filter(Boolean);
  // each column has few values: they are compared once
  const fits = searchable.map((one) => one.values.map(plain));
  const exactly = exact === null ? null : columns.map((one) => one.values.map((value) => plain(value) === exact));
  found = 0;
  for (let i = 0; i < total; i++) {
    shown[i] = exactly
      ? columns.some((one, index) => exactly[index][one.codes[i]])
      : words.every((word) => searchable.some((one, index) => fits[index][one.codes[i]].includes(word)) || keys[i].toLowerCase().includes(word));
    found += shown[i];
  }
  element("found").textContent = `${count(found)} of ${count(total)} images`;
  hover(-1);
  recolour();
}

// ---- selecting
let outline = null;
function drawOutline() {
  lasso.clearRect(0, 0, lasso.canvas.width, lasso.canvas.height);
  if (!outline || outline.length < 2) return;
  lasso.lineWidth = 1.5 * ratio;
  lasso.strokeStyle = isDark() ? "#fff" : "#000";
  lasso.beginPath();
  for (const [x, y] of outline) lasso.lineTo(x, y);
  lasso.closePath();
  lasso.stroke();
}

function inside(polygon, x, y) {
  let within = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i];
    const [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) within = !within;
  }
  return within;
}

function select(polygon) {
  selected = new Uint8Array(total);
  const chosen = [];
  for (let i = 0; i < total; i++) {
    if (shown[i] && inside(polygon, X[i] * view.scale + view.left, Y[i] * view.scale + view.top)) {
      selected[i] = 1;
      chosen.push(i);
    }
  }
  const section = element("selection");
  section.hidden = false;
  section.querySelector("h2").textContent = `${count(chosen.length)} selected`;
  const one = columns[column];
  const tally = new Map();
  for (const i of chosen) tally.set(one.codes[i], (tally.get(one.codes[i]) ?? 0) + 1);
  section.querySelector("ul").replaceChildren(...[...tally].sort((a, b) => b[1] - a[1]).slice(0, 10).map(([code, number]) => {
    const item = document.createElement("li");
    const name = document.createElement("span");
    name.textContent = one.values[code];
    const value = document.createElement("span");
    value.textContent = count(number);
    item.append(name, value);
    return item;
  }));
  section.querySelector(".pictures").replaceChildren(...chosen.slice(0, 40).map((i) => {
    const tile = document.createElement("canvas");
    tile.width = tile.height = data.sheet.side;
    tile.title = `${columns[0].values[columns[0].codes[i]]}, ${keys[i]}`;
    picture(i, tile);
    return tile;
  }));
  redraw();
}

function csv() {
  const cell = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [["key", ...columns.map((one) => one.title)].join(",")];
  for (let i = 0; i < total; i++) {
    if (selected && selected[i]) lines.push([keys[i], ...columns.map((one) => one.values[one.codes[i]])].map(cell).join(","));
  }
  return lines.join("\r\n") + "\r\n";
}

element("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.download = "selection.csv";
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.click();
  URL.revokeObjectURL(link.href);
});
element("clear").addEventListener("click", () => {
  [selected, outline] = [null, null];
  element("selection").hidden = true;
  drawOutline();
  redraw();
});

// ---- moving
function zoom(factor, x = canvas.width / 2, y = canvas.height / 2) {
  const scale = Math.max(0.5 * Math.min(canvas.width, canvas.height), Math.min(400 * Math.min(canvas.width, canvas.height), view.scale * factor));
  const change = scale / view.scale;
  Object.assign(view, { scale, left: x - (x - view.left) * change, top: y - (y - view.top) * change });
  forgetOutline();
}

function move(right, down) {
  view.left += right;
  view.top += down;
  forgetOutline();
}

function forgetOutline() {
  outline = null; // it belongs to the former view; the selection stays
  drawOutline();
  hover(-1);
  redraw();
}

const pointers = new Map();
const placeOf = (event) => {
  const area = canvas.getBoundingClientRect();
  return [(event.clientX - area.left) * ratio, (event.clientY - area.top) * ratio];
};
const selecting = () => element("select").getAttribute("aria-pressed") === "true";

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, placeOf(event));
  if (selecting() && pointers.size === 1) outline = [placeOf(event)];
});
canvas.addEventListener("pointermove", (event) => {
  const [x, y] = placeOf(event);
  const before = pointers.get(event.pointerId);
  if (!before) {
    hover(nearest(x, y, 9 * ratio), x, y);
    return;
  }
  if (selecting() && outline) {
    outline.push([x, y]);
    drawOutline();
  } else if (pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    const apart = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
    zoom(apart([x, y]) / Math.max(1, apart(before)), (x + other[0]) / 2, (y + other[1]) / 2);
  } else {
    move(x - before[0], y - before[1]);
  }
  pointers.set(event.pointerId, [x, y]);
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    const [x, y] = placeOf(event);
    pointers.delete(event.pointerId);
    if (selecting() && outline && outline.length > 2) select(outline);
    else if (event.pointerType === "touch") hover(nearest(x, y, 16 * ratio), x, y);
    if (selecting()) element("select").click(); // one region at a time
  });
}
canvas.addEventListener("pointerleave", () => hover(-1));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...placeOf(event));
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const step = 60 * ratio;
  const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  if (moves[event.key]) move(...moves[event.key]);
  else if (event.key === "+" || event.key === "=") zoom(1.4);
  else if (event.key === "-") zoom(1 / 1.4);
  else return;
  event.preventDefault();
});
element("closer").addEventListener("click", () => zoom(1.6));
element("farther").addEventListener("click", () => zoom(1 / 1.6));
element("reset").addEventListener("click", () => { fit(); element("words").value = ""; forgetOutline(); search(); });
element("select").addEventListener("click", () => {
  const on = !selecting();
  element("select").setAttribute("aria-pressed", String(on));
  document.body.classList.toggle("selecting", on);
});
element("words").addEventListener("input", search);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
element("colour").addEventListener("change", () => { column = Number(element("colour").value); recolour(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
new ResizeObserver(resize).observe(canvas);
resize();
search();
