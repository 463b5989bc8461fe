// The walk through the layers: the maps of each tower as tiles, in a row for each layer.
import { make, tiles } from "./draw.js";
import { say } from "./words.js";

const SHOWN = new Set(["convolution", "local", "norm", "pool", "activation", "full", "dropout"]);

// Rows for all layers of a run's arrays; `choose` is called with a unit that the reader points to.
export function rows(facts, arrays, choose) {
  const towers = facts.switches.towers;
  return Object.entries(arrays).flatMap(([name, array]) => {
    const layer = facts.layers.find((each) => each.name === name);
    if (!layer || !SHOWN.has(layer.kind)) return [];
    const parts = array.shape[0] % towers || name === facts.layers.at(-1).name ? 1 : towers;
    const size = array.shape.length === 1 ? `${array.shape[0]}` : array.shape.join(" × ");
    const title = make("h3", {}, name, make("span", { className: "soft" }, ` ${size}${layer.working ? `; ${layer.working}` : ""}`));
    return make("div", { className: "layer" }, title, make("div", { className: "towers" }, ...Array.from({ length: parts }, (_, t) => tower(layer, array, t, parts, choose))));
  });
}

function tower(layer, array, number, towers, choose) {
  const [all, height, width] = array.shape.length === 1 ? [array.shape[0], 1, 1] : array.shape, maps = all / towers;
  const columns = height === 1 ? Math.min(128, maps) : Math.ceil(Math.sqrt(maps * 2)), data = array.data.subarray(number * maps * height * width, (number + 1) * maps * height * width);
  const named = towers > 1 ? say("tower", { name: "AB"[number] ?? number }) : say("maps");
  const canvas = make("canvas", { className: "pixels maps", role: "img", ariaLabel: say("maps-of", { layer: layer.name, tower: named, count: maps }) });
  // Units of a full layer lie without lines between them.
  if (height === 1) tiles(canvas, padded(data, columns), 1, Math.ceil(maps / columns), columns, 1);
  else tiles(canvas, data, maps, height, width, columns);
  canvas.addEventListener("click", (event) => {
    const x = (event.offsetX / canvas.clientWidth) * canvas.width, y = (event.offsetY / canvas.clientHeight) * canvas.height;
    const step = height === 1 ? 1 : width + 1, map = Math.floor(y / step) * columns + Math.floor(x / step);
    if (map < maps) choose(layer.name, number * maps + map, height === 1 ? 0 : Math.min(height - 1, Math.floor(y % step)), height === 1 ? 0 : Math.min(width - 1, Math.floor(x % step)));
  });
  return make("figure", {}, canvas, make("figcaption", {}, named));
}

function padded(data, columns) {
  const whole = new Float32Array(Math.ceil(data.length / columns) * columns);
  whole.set(data);
  return whole;
}
