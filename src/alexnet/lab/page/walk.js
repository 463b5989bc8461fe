// The walk through the layers: the maps of each tower as tiles, under a heading for each layer.
import { make, range, tiles } from "./draw.js";
import { short } from "./formulas.js";
import { say } from "./words.js";

const SHOWN = new Set(["convolution", "local", "norm", "pool", "activation", "full", "dropout"]);
const NARROW = 640; // pixels; there a layer begins closed
const opened = new Map(); // what the reader opened or closed

// Headings and maps of all layers of a run's arrays; `choose` is called with a unit that the reader clicks.
export function rows(facts, arrays, choose) {
  const names = Object.keys(arrays).filter((name) => name !== "input");
  for (const layer of facts.layers.filter((each) => each.kind === "norm" && !names.includes(each.name))) {
    const before = facts.layers.slice(0, facts.layers.indexOf(layer)).map((each) => each.name).filter((name) => names.includes(name)).at(-1);
    names.splice(names.indexOf(before) + 1, 0, layer.name); // a norm that is off keeps its heading
  }
  return names.flatMap((name) => {
    const layer = facts.layers.find((each) => each.name === name);
    return layer && SHOWN.has(layer.kind) ? [heading(facts, layer, arrays[name], choose)] : [];
  });
}

function heading(facts, layer, array, choose) {
  const last = layer === facts.layers.at(-1), towers = layer.maps % facts.switches.towers || last ? 1 : facts.switches.towers;
  const maps = layer.maps / towers, count = towers > 1 ? `${towers} × ${maps}` : maps;
  const said = [
    layer.side > 1 ? say("maps-shape", { count, side: layer.side }) : say(last ? "classes-shape" : "units-shape", { count }),
    ...(layer.working ? [layer.working + (layer.over ? say("over", { columns: layer.over }) : "")] : []),
    ...(layer.reads ? [say(`reads-${layer.reads}`)] : []),
    ...(layer.within ? [say("within-note", layer)] : []),
    ...(array ? [] : [say("off")]),
  ];
  const summary = make("summary", {}, make("h3", {}, layer.name), make("span", { className: "soft" }, said.join("; ")));
  const made = make("details", { className: "layer", id: `layer-${layer.name}`, open: opened.get(layer.name) ?? innerWidth > NARROW }, summary);
  made.addEventListener("toggle", () => opened.set(layer.name, made.open));
  if (array) made.append(make("div", { className: "towers" }, ...Array.from({ length: towers }, (_, t) => tower(layer, array, t, towers, last, choose))));
  return made;
}

function tower(layer, array, number, towers, last, choose) {
  const [all, height, width] = array.shape.length === 1 ? [array.shape[0], 1, 1] : array.shape, maps = all / towers;
  const columns = height === 1 ? Math.min(64, maps) : Math.ceil(Math.sqrt(maps * 2)), data = array.data.subarray(number * maps * height * width, (number + 1) * maps * height * width);
  const named = towers > 1 ? say("tower", { name: "AB"[number] ?? number }) : say(last ? "classes" : "maps"), [least, most] = range(data);
  const canvas = make("canvas", { className: "pixels maps", role: "img", ariaLabel: say("maps-of", { layer: layer.name, tower: named, count: maps }) });
  // Units of a full layer lie without lines between them.
  if (height === 1) tiles(canvas, padded(data, columns), 1, Math.ceil(maps / columns), columns, 1);
  else tiles(canvas, data, maps, height, width, columns);
  canvas.addEventListener("click", (event) => {
    const x = (event.offsetX / canvas.clientWidth) * canvas.width, y = (event.offsetY / canvas.clientHeight) * canvas.height;
    const step = height === 1 ? 1 : width + 1, map = Math.floor(y / step) * columns + Math.floor(x / step);
    if (map < maps) choose(layer.name, number * maps + map, height === 1 ? 0 : Math.min(height - 1, Math.floor(y % step)), height === 1 ? 0 : Math.min(width - 1, Math.floor(x % step)));
  });
  return make("figure", {}, canvas, make("figcaption", {}, say("range", { name: named, least: short(least), most: short(most) })));
}

function padded(data, columns) {
  const whole = new Float32Array(Math.ceil(data.length / columns) * columns);
  whole.set(data);
  return whole;
}
