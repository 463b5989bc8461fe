import * as backend from "./backend.js";
import * as draw from "./draw.js";
import { field } from "./field.js";
import { DEFAULTS, isChanged, read, setUnit, state, write } from "./state.js";
import { explain, valued } from "./unit.js";
import { rows } from "./walk.js";
import { choose, say } from "./words.js";

const GRID = 15; // squares on a side of the occlusion map
const at = (id) => document.getElementById(id);
let asked = 0, found = null, fallen = null, page = 0;

function status(words, isError = false) {
  at("state").textContent = words;
  at("state").className = isError ? "error" : "";
}

// Do some work for the reader; a later one overtakes it.
async function work(job) {
  const mine = ++asked;
  status(say("waiting"));
  try {
    const done = await job();
    if (mine === asked) done();
  } catch (error) {
    if (mine === asked) status(error instanceof backend.Failure ? say("failed", { why: error.message }) : say(backend.lost), true);
    if (!(error instanceof backend.Failure) && !(error instanceof TypeError)) throw error;
  }
}

const open = (file, picked = null) => work(async () => {
  const square = await backend.square(await file()), made = await compute(square, state.settings);
  return () => { Object.assign(state, { square, picked }); fallen = null; show(made); };
});

const own = (file) => file && open(() => file);

// Open a picture of the store.
const pick = (place) => open(async () => {
  const answer = await fetch(backend.picture("pick", place));
  if (!answer.ok) throw new backend.Failure(say("no-picture", { place }));
  return answer.blob();
}, place);

const update = () => state.square && work(async () => {
  const made = await compute(state.square, state.settings);
  return () => { fallen = null; show(made); };
});

// The net as it is and with the changes, on the chosen view; and all views with the changes.
async function compute(square, settings) {
  const every = state.facts.switches.places.map((_, i) => i), plain = { ...DEFAULTS, places: settings.places };
  const now = await backend.run(square, settings, true);
  const usual = isChanged() ? await backend.run(square, plain) : now;
  return { now, usual: usual.probabilities.data, views: await backend.run(square, { ...settings, places: every }) };
}

const row = (array, number) => array.data.subarray(number * array.shape[1], (number + 1) * array.shape[1]);

function show(made) {
  found = made;
  write();
  const names = state.facts.classes, views = made.views.probabilities, count = views.shape[0];
  const mean = Float32Array.from(names, (_, i) => { let total = 0; for (let v = 0; v < count; v++) total += row(views, v)[i]; return total / count; });
  const best = mean.indexOf(Math.max(...mean));
  status(say("shown", { class: names[best], percent: draw.percent(mean[best]) }) + label());
  for (const id of ["views", "switches", "walk", "unit", "occlusion"]) at(id).hidden = false;
  draw.square(at("square"), state.square, state.facts.side);
  at("frames").setAttribute("viewBox", `0 0 ${state.facts.side} ${state.facts.side}`);
  at("frames").replaceChildren(...state.facts.switches.places.flatMap(([top, left], i) =>
    ["under", "over"].map((kind) => { const frame = draw.box(left, top, state.facts.size, state.facts.size, kind); frame.dataset.view = i; return frame; })));
  draw.classes(at("mean"), names, mean);
  at("each").replaceChildren(...state.facts.switches.places.map((view, i) => card(view, i, row(views, i))));
  mark();
  resemble();
  draw.classes(at("effect"), names, made.usual, 5, made.now.probabilities.data, [say("before"), say("after")]);
  at("layers").replaceChildren(...rows(state.facts, made.now, (...unit) => { setUnit(...unit); examine(); at("unit").scrollIntoView(); at("unit-layer").focus({ preventScroll: true }); }));
  examine();
  cover();
}

// The pictures of the store that can be picked: those of the page that is shown.
async function offer() {
  const { split, pages } = state.facts.store, shown = await backend.pictures(page % pages);
  at("stored-words").textContent = say("stored", { split });
  at("others").hidden = pages === 1;
  at("stored").hidden = false;
  at("picks").replaceChildren(...shown.map((each) => {
    const button = draw.make("button", { type: "button", className: "pick" }, thumbnail("pick", each), draw.make("span", {}, each.class));
    button.dataset.place = each.place;
    button.title = each.name;
    button.addEventListener("click", () => pick(each.place));
    return draw.make("li", {}, button);
  }));
  mark();
}

const thumbnail = (kind, each) => draw.make("img", { src: backend.picture(kind, each.place), alt: say("picture-n", { number: each.number }), loading: "lazy" });

function mark() {
  for (const button of at("picks").querySelectorAll("button")) button.setAttribute("aria-pressed", Number(button.dataset.place) === state.picked);
}

// The pictures of the store that are nearest to this one in the last hidden layer.
async function resemble() {
  const mine = found, { layer, compared } = state.facts.store ?? {}, features = layer && found.now[layer]?.data;
  at("near").hidden = !features;
  if (!features) return;
  let words = say("near-help", { layer, count: compared });
  const nearest = await backend.nearest(features).catch((error) => { words = say("failed", { why: error.message }); return []; });
  if (mine !== found) return;
  at("near-words").textContent = words;
  at("nearest").replaceChildren(...nearest.map((each) => {
    const item = draw.make("li", {}, thumbnail("near", each), draw.make("span", {}, each.class), draw.make("span", { className: "soft" }, say("distance", { distance: each.distance.toPrecision(3) })));
    item.title = each.name;
    return item;
  }));
}

// The class that the store gives a picked picture.
function label() {
  const shown = at("picks").querySelector(`[data-place="${state.picked}"] span`);
  return shown ? ` ${say("labelled", { class: shown.textContent })}` : "";
}

function place([top, left, mirrored]) {
  const most = state.facts.side - state.facts.size, vertical = top === 0 ? "top" : top === most ? "bottom" : "", across = left === 0 ? "left" : left === most ? "right" : "";
  const name = most === 0 ? say("whole") : say(vertical && across ? `${vertical}-${across}` : "centre");
  return mirrored ? say("mirrored", { place: name }) : name;
}

// Draw the pixels of a view, as the net sees them.
function view(canvas, [top, left, mirrored]) {
  const size = state.facts.size, context = canvas.getContext("2d");
  canvas.width = canvas.height = size;
  if (mirrored) context.setTransform(-1, 0, 0, 1, size, 0);
  if (state.settings.gray) context.filter = "grayscale(1)";
  context.drawImage(at("square"), left, top, size, size, 0, 0, size, size);
}

function card(where, number, probabilities) {
  const table = draw.make("table", { className: "classes" }), canvas = draw.make("canvas", { role: "img", ariaLabel: place(where) });
  view(canvas, where);
  draw.classes(table, state.facts.classes, probabilities);
  const item = draw.make("li", { tabIndex: 0 }, draw.make("h3", {}, place(where)), canvas, table);
  const mark = (on) => at("frames").querySelectorAll(`[data-view="${number}"]`).forEach((frame) => frame.classList.toggle("marked", on));
  for (const event of ["mouseenter", "focus"]) item.addEventListener(event, () => mark(true));
  for (const event of ["mouseleave", "blur"]) item.addEventListener(event, () => mark(false));
  return item;
}

// Show the chosen unit: its place in the controls, the pixels that it depends on, and its sum.
async function examine() {
  const unit = state.unit, order = Object.keys(found.now).slice(2), layer = state.facts.layers.find((each) => each.name === unit.layer);
  write();
  at("unit-layer").value = unit.layer;
  for (const [name, most] of [["map", layer.maps], ["row", layer.side], ["column", layer.side]]) {
    at(`unit-${name}`).value = unit[name];
    at(`unit-${name}`).max = most - 1;
  }
  const here = order.indexOf(unit.layer), shown = here >= 0;
  at("unit-value").textContent = shown ? valued(found.now[unit.layer], unit) : say("off");
  view(at("view"), state.facts.switches.places[state.settings.places[0]]);
  const size = state.facts.size, before = order.slice(0, here + 1).map((name) => state.facts.layers.find((each) => each.name === name));
  const [top, bottom] = field(before, unit.row, size), [left, right] = field(before, unit.column, size);
  at("field").setAttribute("viewBox", `0 0 ${size} ${size}`);
  at("field").replaceChildren(...(shown ? ["under marked", "over marked"] : []).map((kind) => draw.box(left, top, right - left + 1, bottom - top + 1, kind)));
  at("field-words").textContent = shown ? say("field", { top, bottom, left, right, count: (bottom - top + 1) * (right - left + 1) }) : "";
  const explained = shown ? await explain(layer, unit, found.now[here ? order[here - 1] : "input"], found.now[unit.layer], state.settings).catch((error) => [error.message]) : [];
  if (unit === state.unit) at("sum").replaceChildren(...explained);
}

const occlude = () => work(async () => {
  const size = state.facts.size, side = Math.ceil(size / GRID), edge = (i) => Math.min(size, Math.max(0, i * side - Math.floor(side / 2)));
  const covers = Array.from({ length: GRID * GRID }, (_, i) => [edge(Math.floor(i / GRID)), edge(i % GRID), 2 * side].map((v) => Math.min(v, size)));
  const made = await backend.run(state.square, { ...state.settings, covers });
  return () => { fallen = made.probabilities; cover(); status(say("covered")); };
});

// Draw how far the likeliest class falls when a part is covered.
function cover() {
  at("fall").hidden = !fallen;
  if (!fallen) return;
  const usual = found.now.probabilities.data, best = usual.indexOf(Math.max(...usual)), falls = Float32Array.from({ length: GRID * GRID }, (_, i) => usual[best] - row(fallen, i)[best]);
  const [, most] = draw.range(falls), where = falls.indexOf(most);
  draw.tiles(at("falls"), falls, 1, GRID, GRID, 1);
  view(at("covered-view"), state.facts.switches.places[state.settings.places[0]]);
  at("fall-words").textContent = say("fall", { class: state.facts.classes[best], from: draw.percent(usual[best]), to: draw.percent(usual[best] - most), row: Math.floor(where / GRID) + 1, column: (where % GRID) + 1, of: GRID });
}

// The controls, as this net has them.
function controls() {
  const has = state.facts.switches, settings = state.settings;
  const tick = (id, on, there) => { at(id).checked = on; at(id).closest("label").hidden = !there; };
  tick("norm1", settings.norms[0], has.norms[0]);
  tick("norm2", settings.norms[1], has.norms[1]);
  tick("swapped", settings.swapped, has.swapped);
  tick("silent0", settings.silent.includes(0), has.towers === 2);
  tick("silent1", settings.silent.includes(1), has.towers === 2);
  tick("gray", settings.gray, true);
  tick("dropout", settings.dropout !== null, has.dropout);
  at("again").hidden = settings.dropout === null;
  at("place").replaceChildren(...has.places.map((where, i) => draw.make("option", { value: i }, place(where))));
  at("place").value = settings.places[0];
  at("unit-layer").replaceChildren(...state.facts.layers.filter((layer) => layer.kind !== "pad").map((layer) => draw.make("option", {}, layer.name)));
}

function set() {
  state.settings = {
    norms: [at("norm1").checked || !state.facts.switches.norms[0], at("norm2").checked || !state.facts.switches.norms[1]],
    swapped: at("swapped").checked,
    silent: [0, 1].filter((tower) => at(`silent${tower}`).checked),
    dropout: at("dropout").checked ? state.settings.dropout ?? 1 : null,
    gray: at("gray").checked,
    places: [Number(at("place").value)],
  };
  at("again").hidden = state.settings.dropout === null;
  write();
  update();
}

function language(name) {
  choose(name);
  at("language").value = document.documentElement.lang;
  at("help").textContent = say(backend.help);
  if (!state.facts) return;
  at("net").textContent = say("net", { ...state.facts, classes: state.facts.classes.length });
  controls();
  if (state.facts.store) offer().catch((error) => status(say("failed", { why: error.message }), true));
  if (found) show(found);
}

async function begin() {
  language(navigator.languages.some((name) => /^zh/i.test(name)) ? "zh-Hant" : "en");
  try {
    state.facts = await backend.about();
    const { kernels } = await backend.kernels();
    const [maps, , height, width] = kernels.shape, towers = state.facts.switches.towers, each = (maps / towers) * 3 * height * width;
    read();
    language(document.documentElement.lang);
    at("curves-words").textContent = state.facts.curves;
    at("kernels").hidden = maps === 0;
    at("kernel-towers").replaceChildren(...Array.from({ length: maps ? towers : 0 }, (_, t) => {
      const named = towers > 1 ? say("tower", { name: "AB"[t] }) : say("maps"), canvas = draw.make("canvas", { className: "pixels", role: "img", ariaLabel: say("kernels-of", { tower: named }) });
      draw.tiles(canvas, kernels.data.subarray(t * each, (t + 1) * each), (maps / towers) * 3, height, width, Math.ceil(Math.sqrt((maps / towers) * 2)), true);
      return draw.make("figure", {}, canvas, draw.make("figcaption", {}, named));
    }));
    at("curves").hidden = false;
    status("");
    if (state.facts.store) pick(state.picked ?? 0);
  } catch (error) {
    status(say(backend.lost), true);
    throw error;
  }
}

at("file").addEventListener("change", () => own(at("file").files[0]));
at("others").addEventListener("click", () => { page += 1; offer(); });
at("language").addEventListener("change", () => language(at("language").value));
at("controls").addEventListener("change", set);
at("again").addEventListener("click", () => { state.settings.dropout = (state.settings.dropout + 1) % 2 ** 32; write(); update(); });
at("usual").addEventListener("click", () => { state.settings = structuredClone(DEFAULTS); controls(); write(); update(); });
at("occlude").addEventListener("click", occlude);
at("unit-controls").addEventListener("change", () => {
  setUnit(at("unit-layer").value, at("unit-map").value, at("unit-row").value, at("unit-column").value);
  examine();
});
for (const id of ["controls", "unit-controls"]) at(id).addEventListener("submit", (event) => event.preventDefault());
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", () => document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  own(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => own(event.clipboardData.files[0]));
addEventListener("hashchange", () => {
  const before = state.picked;
  read();
  controls();
  if (state.picked === before) update();
  else pick(state.picked);
});

begin();
