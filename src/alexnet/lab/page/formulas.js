// The formula of one unit with its own numbers: the sum worked out, the norm, the pool.
import * as backend from "./backend.js";
import { make, range, tiles } from "./draw.js";
import { reads } from "./field.js";
import { state } from "./state.js";
import { say } from "./words.js";

const MOST = 8; // terms of a sum that are written out
export const short = (x) => (x === 0 ? "0" : Math.abs(x) >= 1e6 || Math.abs(x) < 1e-3 ? x.toExponential(2) : String(Number(x.toPrecision(Math.abs(x) >= 1e4 ? 6 : 4)))).replace("-", "−");

// The value of a layer's array at (map, row, column); 0 outside, as for padding.
function at(array, map, row = 0, column = 0) {
  const [maps, height = 1, width = 1] = array.shape;
  const outside = row < 0 || column < 0 || row >= height || column >= width || map < 0 || map >= maps;
  return outside ? 0 : array.data[(map * height + row) * width + column];
}

const line = (text) => make("p", { className: "formula" }, text);

// Explain unit `place` of `layer`, the output `out` of the input `given`; return elements to show.
export async function explain(layer, place, given, out, settings) {
  const value = at(out, place.map, place.row, place.column);
  const same = at(given, place.map, place.row, place.column);
  switch (layer.kind) {
    case "convolution": return convolution(layer, place, given, silenced(layer, place, settings));
    case "full": return full(layer, place, given, silenced(layer, place, settings));
    case "pool": return pool(layer, place, given, value);
    case "norm": return layer.within ? within(layer, place, given, value) : across(layer, place, given, value);
    case "activation": return [line(`${{ relu: "max(0, x)", tanh: "tanh(x)", logistic: "1 / (1 + exp(-x))" }[layer.kind_of || "relu"]}: x = ${short(same)} → ${short(value)}`)];
    case "dropout": {
      const how = settings.dropout === null ? say("scaled", { by: short(layer.scale === "testing" ? 1 - layer.p : 1) }) : say(value === 0 && same !== 0 ? "dropped" : "kept");
      return [line(`${how}: ${short(same)} → ${short(value)}`)];
    }
    case "flatten": return [line(`${say("copied")}: ${short(value)}`)];
    default: return [line(short(value))];
  }
}

// The tower of a unit, if the reader silenced it; the layer's sum is then replaced by 0.
function silenced(layer, place, settings) {
  const tower = Math.floor(place.map / (layer.maps / state.facts.switches.towers));
  return layer !== state.facts.layers.at(-1) && settings.silent.includes(tower) ? tower : null;
}

async function convolution(layer, place, given, silent) {
  const { kernel, bias } = await backend.unit(layer.name, place.map);
  const [maps, height, width] = kernel.shape, group = Math.floor(place.map / (layer.maps / layer.groups));
  const [top, left] = [reads(layer, place.row)[0], reads(layer, place.column)[0]], terms = [];
  for (let m = 0; m < maps; m++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const weight = kernel.data[(m * height + y) * width + x], input = at(given, group * maps + m, top + y, left + x);
        terms.push({ weight, input, name: `${layer.seen === 3 ? "RGB"[m] : group * maps + m}, ${top + y}, ${left + x}` });
      }
  const canvas = make("canvas", { className: "pixels", role: "img", ariaLabel: say("kernel-of", { layer: layer.name, map: place.map }) });
  tiles(canvas, kernel.data, maps, height, width, maps === 3 ? 1 : Math.ceil(Math.sqrt(maps)), maps === 3);
  return [make("figure", {}, canvas, make("figcaption", {}, say("kernel", { maps, height, width }))), ...sum(terms, bias.data[0], silent, "place", layer.seen === 3)];
}

async function full(layer, place, given, silent) {
  const { kernel, bias } = await backend.unit(layer.name, place.map);
  const each = kernel.data.length, group = Math.floor(place.map / (layer.maps / layer.groups));
  const flat = state.facts.layers.find((one) => one.kind === "flatten" && one.seen * one.width ** 2 === given.data.length), area = flat ? flat.width ** 2 : 1;
  const name = (i) => (area > 1 ? [Math.floor(i / area), Math.floor((i % area) / flat.width), i % flat.width].join(", ") : String(i));
  const terms = Array.from(kernel.data, (weight, i) => ({ weight, input: given.data[group * each + i], name: name(group * each + i) }));
  return sum(terms, bias.data[0], silent, area > 1 ? "place" : "unit-number");
}

// The largest terms of a weighted sum, the rest, and the bias.
function sum(terms, bias, silent, where, pixels = false) {
  const product = ({ weight, input }) => weight * input;
  const order = [...terms].sort((a, b) => Math.abs(product(b)) - Math.abs(product(a))), shown = order.slice(0, MOST);
  const rest = order.slice(MOST).reduce((total, term) => total + product(term), 0);
  const cells = (...words) => words.map((word) => make("td", {}, word));
  const rows = shown.map((term) => make("tr", {}, make("th", { scope: "row" }, term.name), ...cells(short(term.input), short(term.weight), short(product(term)))));
  rows.push(make("tr", {}, make("th", { scope: "row" }, say("rest", { count: terms.length - shown.length })), ...cells("", "", short(rest))));
  rows.push(make("tr", {}, make("th", { scope: "row" }, say("bias")), ...cells("", "", short(bias))));
  rows.push(make("tr", { className: "total" }, make("th", { scope: "row" }, say("sum")), ...cells("", "", short(order.reduce((total, term) => total + product(term), 0) + bias))));
  const heads = [where, "input", "weight", "product"].map((word) => make("th", { scope: "col" }, say(word)));
  const made = [make("table", { className: "terms" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows))];
  if (silent !== null) made.push(line(say("sum-silent", { name: "AB"[silent] })));
  if (pixels) made.push(make("p", { className: "soft" }, say("pixels-note")));
  return made;
}

function pool(layer, place, given, value) {
  const [top, bottom] = reads(layer, place.row), [left, right] = reads(layer, place.column), rows = [];
  for (let y = top; y <= bottom; y++) {
    const cells = [];
    for (let x = left; x <= right; x++) {
      const inside = y < given.shape[1] && x < given.shape[2], number = at(given, place.map, y, x);
      cells.push(make("td", { className: inside && layer.kind_of === "max" && number === value ? "most" : "" }, inside ? short(number) : "–"));
    }
    rows.push(make("tr", {}, ...cells));
  }
  return [make("table", { className: "window" }, make("tbody", {}, ...rows)), line(`${layer.kind_of} = ${short(value)}`)];
}

// Section 3.3: b = a / (k + alpha * sum of a^2)^beta over the n maps around, in one tower.
function across(layer, place, given, value) {
  const each = layer.maps / layer.towers, tower = Math.floor(place.map / each), half = Math.floor(layer.n / 2), squares = [];
  for (let m = Math.max(tower * each, place.map - half); m <= Math.min((tower + 1) * each - 1, place.map - half + layer.n - 1); m++)
    squares.push([m, at(given, m, place.row, place.column)]);
  return norm(layer, squares, at(given, place.map, place.row, place.column), value, String);
}

// The norm within a map of the 2012 code.
function within(layer, place, given, value) {
  const [top, bottom] = reads(layer, place.row), [left, right] = reads(layer, place.column), squares = [];
  for (let y = top; y <= bottom; y++) for (let x = left; x <= right; x++) squares.push([`${y}, ${x}`, at(given, place.map, y, x)]);
  return norm(layer, squares, at(given, place.map, place.row, place.column), value, String);
}

function norm(layer, squares, a, value, name) {
  const total = squares.reduce((sum, [, x]) => sum + x * x, 0), base = layer.k + layer.a * total;
  const rows = squares.map(([place, x]) => make("tr", {}, make("th", { scope: "row" }, name(place)), make("td", {}, short(x)), make("td", {}, short(x * x))));
  const heads = [layer.within ? "row-column" : "map", "input", "square"].map((word) => make("th", { scope: "col" }, say(word)));
  return [
    line("b = a / (k + α Σ a²)^β"),
    line(`k = ${short(layer.k)}, n = ${layer.n}, α = ${layer.a === layer.alpha ? "" : `${short(layer.alpha)} / ${Math.round(layer.alpha / layer.a)} = `}${short(layer.a)}, β = ${short(layer.beta)}`),
    line(`${short(a)} / (${short(layer.k)} + ${short(layer.a)} × ${short(total)})^${short(layer.beta)} = ${short(a)} / ${short(base ** layer.beta)} = ${short(value)}`),
    make("details", {}, make("summary", {}, say("window-of", { count: squares.length })),
      make("table", { className: "terms" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows))),
  ];
}

// The value of a unit in words, and how large it is among its layer's.
export function valued(out, place) {
  const value = at(out, place.map, place.row, place.column), [least, most] = range(out.data);
  return say("value", { value: short(value), least: short(least), most: short(most) });
}
