// The chosen unit: its place in its map and in the view, its value, and its sum.
import * as draw from "./draw.js";
import { field } from "./field.js";
import { explain, valued } from "./formulas.js";
import { setUnit, state, write } from "./state.js";
import { view } from "./views.js";
import { say } from "./words.js";

const at = (id) => document.getElementById(id);

// Read the unit from its controls.
export function chosen() {
  setUnit(at("unit-layer").value, at("unit-map").value, at("unit-row").value, at("unit-column").value);
}

// Go some units on, in the map, row or column.
export function step(of, by) {
  const { layer, map, row, column } = { ...state.unit, [of]: state.unit[of] + by };
  setUnit(layer, map, row, column);
  examine();
}

// Show the chosen unit.
export async function examine() {
  const { unit, facts, found, settings } = state, order = Object.keys(found.now).slice(2), layer = facts.layers.find((each) => each.name === unit.layer);
  write();
  at("unit-layer").value = unit.layer;
  at("unit-map-words").textContent = say(layer.side > 1 ? "map" : "unit-number");
  for (const [name, most] of [["map", layer.maps], ["row", layer.side], ["column", layer.side]]) {
    at(`unit-${name}`).value = unit[name];
    at(`unit-${name}`).max = most - 1;
    at(`unit-${name}`).closest(".stepper").hidden = name !== "map" && layer.side === 1;
  }
  const here = order.indexOf(unit.layer), shown = here >= 0, size = facts.size, out = found.now[unit.layer];
  at("unit-value").textContent = shown ? valued(out, unit) : say("off");
  tile(shown && layer.side > 1 ? out : null);
  view(at("view"), facts.switches.places[settings.places[0]]);
  const before = order.slice(0, here + 1).map((name) => facts.layers.find((each) => each.name === name));
  const [top, bottom] = field(before, unit.row, size), [left, right] = field(before, unit.column, size);
  at("field").setAttribute("viewBox", `0 0 ${size} ${size}`);
  at("field").replaceChildren(...(shown ? ["under marked", "over marked"] : []).map((kind) => draw.box(left, top, right - left + 1, bottom - top + 1, kind)));
  at("field-words").textContent = shown ? say("field", { top, bottom, left, right, count: (bottom - top + 1) * (right - left + 1) }) : "";
  const explained = shown ? await explain(layer, unit, found.now[here ? order[here - 1] : "input"], out, settings).catch((error) => [error.message]) : [];
  if (unit === state.unit) at("sum").replaceChildren(...explained);
}

// Draw the unit's map, with the unit marked; a click chooses another place.
function tile(out) {
  at("tile-part").hidden = !out;
  if (!out) return;
  const [, height, width] = out.shape, { map, row, column } = state.unit;
  draw.tiles(at("tile"), out.data.subarray(map * height * width, (map + 1) * height * width), 1, height, width, 1);
  at("tile-mark").setAttribute("viewBox", `0 0 ${width} ${height}`);
  at("tile-mark").replaceChildren(...["under marked", "over marked"].map((kind) => draw.box(column, row, 1, 1, kind)));
}

at("tile").addEventListener("click", (event) => {
  const canvas = at("tile"), place = (along, length, count) => Math.floor((along / length) * count);
  const { layer, map } = state.unit;
  setUnit(layer, map, place(event.offsetY, canvas.clientHeight, canvas.height), place(event.offsetX, canvas.clientWidth, canvas.width));
  examine();
});
