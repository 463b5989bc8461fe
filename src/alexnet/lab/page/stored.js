// Pictures of the store: some to pick, and the nearest ones in the last hidden layer (section 6.1).
import * as backend from "./backend.js";
import { make } from "./draw.js";
import { state } from "./state.js";
import { say } from "./words.js";

const at = (id) => document.getElementById(id);
let page = 0;

export function another() {
  page += 1;
}

// Show the pictures of a page; `pick` is called with the place of the one that the reader wants.
export async function offer(pick) {
  const { split, pages } = state.facts.store, shown = await backend.pictures(page % pages);
  at("stored-words").textContent = say("stored", { split: say(`split-${split}`) });
  at("others").hidden = pages === 1;
  at("stored").hidden = false;
  at("picks").replaceChildren(...shown.map((each) => {
    const button = make("button", { type: "button", className: "pick" }, thumbnail("pick", each), make("span", {}, each.class));
    button.dataset.place = each.place;
    button.title = each.name;
    button.addEventListener("click", () => pick(each.place));
    return make("li", {}, button);
  }));
}

const thumbnail = (kind, each) => make("img", { src: backend.picture(kind, each.place), alt: say("picture-n", { number: each.number }), loading: "lazy" });

// Mark the picture that was picked.
export function mark() {
  for (const button of at("picks").querySelectorAll("button")) button.setAttribute("aria-pressed", Number(button.dataset.place) === state.picked);
}

// Show the pictures of the store that are nearest to this one.
export async function resemble() {
  const mine = state.found, { layer, compared } = state.facts.store ?? {}, features = layer && mine.now[layer]?.data;
  at("near").hidden = !features;
  if (!features) return;
  let words = say("near-help", { layer, count: compared }), nearest = [];
  if (features.some((value) => value !== 0)) nearest = await backend.nearest(features).catch((error) => { words = error.message; return []; });
  else words = say("near-nothing", { layer });
  if (mine !== state.found) return;
  at("near-words").textContent = words;
  at("nearest").replaceChildren(...nearest.map((each) => {
    const item = make("li", {}, thumbnail("near", each), make("span", {}, each.class), make("span", { className: "soft" }, say("distance", { distance: each.distance.toPrecision(3) })));
    item.title = each.name;
    return item;
  }));
}
