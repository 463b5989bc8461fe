import * as backend from "./backend.js";
import * as draw from "./draw.js";
import { cover, occlude } from "./occlusion.js";
import { DEFAULTS, isChanged, read, setUnit, state, write } from "./state.js";
import { another, mark, offer, resemble } from "./stored.js";
import { controls, effect, set, usually } from "./switches.js";
import { chosen, examine, step } from "./unit.js";
import { likeliest, mean, show as showViews } from "./views.js";
import { rows } from "./walk.js";
import { choose, say } from "./words.js";

const at = (id) => document.getElementById(id);
let asked = 0, told = ""; // what the state says of the answer

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
    if (mine === asked) status(error instanceof backend.Failure ? say(state.square ? "failed-later" : "failed", { why: error.message }) : say(backend.lost), true);
    if (!(error instanceof backend.Failure) && !(error instanceof TypeError)) throw error;
  }
}

const open = (file, picked = null) => work(async () => {
  const square = await backend.square(await file()), made = await compute(square, state.settings);
  return () => { Object.assign(state, { square, picked, fallen: null }); show(made); };
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
  return () => { state.fallen = null; show(made); };
});

// The chosen view with the changes, layer by layer; and all views with and without them.
async function compute(square, settings) {
  const places = state.facts.switches.places.map((_, i) => i), now = await backend.run(square, settings, true);
  const views = (await backend.run(square, { ...settings, places })).probabilities;
  const usual = isChanged() ? (await backend.run(square, { ...DEFAULTS, places })).probabilities : views;
  return { now, views, usual };
}

function show(made) {
  state.found = made;
  write();
  const names = state.facts.classes, now = answer(mean(made.views)), before = answer(mean(made.usual));
  for (const id of ["views", "switches", "walk", "unit", "occlusion"]) at(id).hidden = false;
  mark();
  told = say(isChanged() ? "shown-changed" : "shown", { ...now, before: before.class, was: before.percent }) + label();
  status(told);
  usually(before);
  showViews((place) => { state.settings.places = [place]; at("place").value = place; update(); });
  effect();
  resemble();
  at("layers").replaceChildren(...rows(state.facts, made.now, (...unit) => { setUnit(...unit); write(true); examine(); at("unit").scrollIntoView(); at("unit-layer").focus({ preventScroll: true }); }));
  examine();
  cover();
  navigate();

  function answer(probabilities) {
    const best = likeliest(probabilities);
    return { class: names[best], percent: draw.percent(probabilities[best]) };
  }
}

// The class that the store gives a picked picture.
function label() {
  const shown = at("picks").querySelector(`[data-place="${state.picked}"] span`);
  return shown ? say("labelled", { class: shown.textContent }) : "";
}

// Links to the parts of the page that are shown. The address keeps the state, so they only scroll.
function navigate() {
  at("parts").replaceChildren(...[...document.querySelectorAll("main > section:not([hidden])")].map((section) => {
    const heading = section.querySelector("h2"), link = draw.make("a", { href: "#" }, say(`nav-${section.id}`));
    link.addEventListener("click", (event) => {
      event.preventDefault();
      section.scrollIntoView();
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
    });
    return link;
  }));
}

function changed() {
  set();
  write();
  update();
}

function language(name) {
  choose(name);
  at("language").value = document.documentElement.lang;
  at("help").textContent = say(`${backend.help}${matchMedia("(pointer: coarse)").matches ? "-touch" : ""}`);
  if (!state.facts) return;
  at("net").textContent = say("net", { ...state.facts, classes: state.facts.classes.length });
  at("curves-note").hidden = document.documentElement.lang === "en";
  controls();
  kernels();
  if (state.facts.store) offer(pick).then(mark, (error) => status(say("failed", { why: error.message }), true));
  if (state.found) show(state.found);
  navigate();
}

// Conv1's kernels by tower (figure 3).
function kernels() {
  const { kernels: all } = state, [maps, , height, width] = all.shape, towers = state.facts.switches.towers, each = (maps / towers) * 3 * height * width;
  at("kernels").hidden = maps === 0;
  at("kernel-towers").replaceChildren(...Array.from({ length: maps ? towers : 0 }, (_, t) => {
    const named = towers > 1 ? say("tower", { name: "AB"[t] }) : say("maps"), canvas = draw.make("canvas", { className: "pixels", role: "img", ariaLabel: say("kernels-of", { tower: named }) });
    draw.tiles(canvas, all.data.subarray(t * each, (t + 1) * each), (maps / towers) * 3, height, width, Math.ceil(Math.sqrt((maps / towers) * 2)), true);
    return draw.make("figure", {}, canvas, draw.make("figcaption", {}, named));
  }));
}

async function begin() {
  language(navigator.languages.some((name) => /^zh/i.test(name)) ? "zh-Hant" : "en");
  try {
    state.facts = await backend.about();
    state.kernels = (await backend.kernels()).kernels;
    const left = read();
    at("curves-words").textContent = state.facts.curves;
    at("curves").hidden = false;
    language(document.documentElement.lang);
    status(left.length ? say("link-part", { names: left.join(", ") }) : "", left.length > 0);
    if (state.facts.store && !left.length) pick(state.picked ?? 0);
  } catch (error) {
    status(say(backend.lost), true);
    throw error;
  }
}

function address() {
  const before = state.picked;
  read();
  controls();
  if (state.picked === before || state.picked === null) update();
  else pick(state.picked);
}

at("file").addEventListener("change", () => own(at("file").files[0]));
at("others").addEventListener("click", () => { another(); offer(pick).then(mark); });
at("language").addEventListener("change", () => language(at("language").value));
at("controls").addEventListener("change", changed);
at("again").addEventListener("click", () => { state.settings.dropout = (state.settings.dropout + 1) % 2 ** 32; write(); update(); });
at("usual").addEventListener("click", () => { state.settings = { ...structuredClone(DEFAULTS), places: state.settings.places }; controls(); write(); update(); at("controls").querySelector("input").focus({ preventScroll: true }); });
at("occlude").addEventListener("click", () => work(async () => {
  const made = await occlude();
  return () => { state.fallen = made; cover(); status(told); };
}));
at("unit-controls").addEventListener("change", () => { chosen(); examine(); });
at("unit-controls").addEventListener("click", ({ target }) => target.dataset.step && step(target.dataset.of, Number(target.dataset.step)));
at("back").addEventListener("click", () => at(`layer-${state.unit.layer}`)?.scrollIntoView());
for (const id of ["controls", "unit-controls"]) at(id).addEventListener("submit", (event) => event.preventDefault());
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", () => document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  own(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => own(event.clipboardData.files[0]));
addEventListener("hashchange", address);

begin();
