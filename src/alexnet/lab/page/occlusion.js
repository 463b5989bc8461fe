// What the answer hangs on: each part of the view is covered in turn.
import * as backend from "./backend.js";
import * as draw from "./draw.js";
import { state } from "./state.js";
import { likeliest, place, row, view } from "./views.js";
import { say } from "./words.js";

const GRID = 15; // squares on a side
const at = (id) => document.getElementById(id);

// Squares (top, left, side) of one size from edge to edge; they overlap.
export function covers() {
  const { size } = state.facts, side = Math.min(size, 2 * Math.ceil(size / GRID)), start = (i) => Math.round((i * (size - side)) / (GRID - 1));
  return Array.from({ length: GRID * GRID }, (_, i) => [start(Math.floor(i / GRID)), start(i % GRID), side]);
}

// The probabilities with each part of the view covered, as rows of one array.
export async function occlude() {
  return (await backend.run(state.square, { ...state.settings, covers: covers() })).probabilities;
}

// Draw how far the likeliest class falls when a part is covered.
export function cover() {
  const { facts, fallen, found, settings } = state;
  at("fall").hidden = !fallen;
  if (!fallen) return;
  const usual = found.now.probabilities.data, best = likeliest(usual), falls = Float32Array.from({ length: GRID * GRID }, (_, i) => usual[best] - row(fallen, i)[best]);
  const [least, most] = draw.range(falls), where = falls.indexOf(most);
  draw.tiles(at("falls"), falls, 1, GRID, GRID, 1, false, true);
  for (const id of ["covered-view", "under-falls"]) view(at(id), facts.switches.places[settings.places[0]]);
  const percent = (i) => draw.percent(row(fallen, i)[best]), side = covers()[0][2];
  at("fall-words").textContent = say("fall", { class: facts.classes[best], from: draw.percent(usual[best]), to: percent(where), row: Math.floor(where / GRID), column: where % GRID, of: GRID, side, low: percent(where), high: percent(falls.indexOf(least)), place: place(facts.switches.places[settings.places[0]]) });
  at("cell").setAttribute("viewBox", `0 0 ${facts.size} ${facts.size}`);
  const point = (i) => {
    const [top, left] = covers()[i];
    at("cell").replaceChildren(...["under marked", "over marked"].map((kind) => draw.box(left, top, side, side, kind)));
    at("cell-words").textContent = say("cell", { row: Math.floor(i / GRID), column: i % GRID, percent: percent(i) });
  };
  point(where);
  at("falls").onpointermove = at("falls").onclick = ({ offsetX, offsetY }) => {
    const along = (offset, length) => Math.min(GRID - 1, Math.max(0, Math.floor((offset / length) * GRID)));
    point(along(offsetY, at("falls").clientHeight) * GRID + along(offsetX, at("falls").clientWidth));
  };
}
