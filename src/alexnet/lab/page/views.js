// The ten views: their frames on the picture, each with its classes, and their mean.
import * as draw from "./draw.js";
import { state } from "./state.js";
import { say } from "./words.js";

const at = (id) => document.getElementById(id);

export const row = (array, number) => array.data.subarray(number * array.shape[1], (number + 1) * array.shape[1]);

// The mean of the rows of probabilities (section 4.1).
export function mean(array) {
  const [count, classes] = array.shape;
  return Float32Array.from({ length: classes }, (_, i) => { let total = 0; for (let v = 0; v < count; v++) total += row(array, v)[i]; return total / count; });
}

// Show the picture, the views and their mean; `choose` is called with a view that the reader wants to see below.
export function show(choose) {
  const { facts, found, square } = state, { places } = facts.switches, { views } = found, average = mean(views), best = likeliest(average);
  at("views-words").textContent = say("views-help", { size: facts.size, side: facts.side });
  draw.square(at("square"), square, facts.side);
  at("frames").setAttribute("viewBox", `0 0 ${facts.side} ${facts.side}`);
  at("frames").replaceChildren(...places.flatMap(([top, left], i) =>
    ["under", "over"].map((kind) => { const frame = draw.box(left, top, facts.size, facts.size, kind); frame.dataset.view = i; return frame; })));
  draw.classes(at("mean"), facts.classes, average);
  const agree = places.filter((_, i) => likeliest(row(views, i)) === best).length;
  at("agree").textContent = say("agree", { agree, count: places.length, class: facts.classes[best] });
  at("each").replaceChildren(...places.map((where, i) => card(where, i, row(views, i), choose)));
}

// The number of the likeliest class.
export const likeliest = (probabilities) => probabilities.indexOf(Math.max(...probabilities));

function card(where, number, probabilities, choose) {
  const table = draw.make("table", { className: "classes" }), canvas = draw.make("canvas", { role: "img", ariaLabel: place(where) });
  view(canvas, where);
  draw.classes(table, state.facts.classes, probabilities);
  const button = draw.make("button", { type: "button", ariaPressed: String(state.settings.places[0] === number) }, place(where));
  const item = draw.make("li", {}, draw.make("h3", {}, button), canvas, table);
  const mark = (on) => {
    at("frames").classList.toggle("one", on);
    at("frames").querySelectorAll(`[data-view="${number}"]`).forEach((frame) => frame.classList.toggle("marked", on));
  };
  for (const event of ["mouseenter", "focusin"]) item.addEventListener(event, () => mark(true));
  for (const event of ["mouseleave", "focusout"]) item.addEventListener(event, () => mark(false));
  item.addEventListener("click", () => choose(number));
  return item;
}

// Name a view.
export function place([top, left, mirrored]) {
  const most = state.facts.side - state.facts.size, vertical = top === 0 ? "top" : top === most ? "bottom" : "", across = left === 0 ? "left" : left === most ? "right" : "";
  const name = most === 0 ? say("whole") : say(vertical && across ? `${vertical}-${across}` : "centre");
  return mirrored ? say("mirrored", { place: name }) : name;
}

// Draw the pixels of a view, as the net sees them.
export function view(canvas, [top, left, mirrored]) {
  const size = state.facts.size, context = canvas.getContext("2d");
  canvas.width = canvas.height = size;
  if (mirrored) context.setTransform(-1, 0, 0, 1, size, 0);
  if (state.settings.gray) context.filter = "grayscale(1)";
  context.drawImage(at("square"), left, top, size, size, 0, 0, size, size);
}
