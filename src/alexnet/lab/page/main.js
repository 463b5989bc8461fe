import * as backend from "./server.js";
import { choose, say } from "./words.js";

const at = (id) => document.getElementById(id);
let facts = null, shown = null, asked = 0;

const percent = (p) => `${(100 * p).toFixed(1)} %`;

function status(words, isError = false) {
  at("state").textContent = words;
  at("state").className = isError ? "error" : "";
}

async function show(file) {
  const mine = ++asked; // a later picture overtakes this one
  status(say("waiting"));
  try {
    const found = await backend.run(file);
    if (mine !== asked) return;
    shown = found;
    draw();
  } catch (error) {
    if (mine !== asked) return;
    status(error instanceof backend.Failure ? say("failed", { why: error.message }) : say("gone"), true);
  }
}

function draw() {
  const best = shown.predictions[0];
  status(say("shown", { class: best.class, percent: percent(best.probability) }));
  at("views").hidden = false;
  const pixels = rgba(shown.pixels), square = at("square");
  square.width = square.height = shown.side;
  square.getContext("2d").putImageData(new ImageData(pixels, shown.side), 0, 0);
  at("frames").setAttribute("viewBox", `0 0 ${shown.side} ${shown.side}`);
  at("frames").replaceChildren(...shown.views.flatMap((view, i) => ["under", "over"].map((kind) => frame(view, i, kind))));
  at("mean").replaceChildren(...rows(shown.predictions));
  at("each").replaceChildren(...shown.views.map(card));
}

function rgba(hex) {
  const pixels = new Uint8ClampedArray((hex.length / 6) * 4).fill(255);
  for (let i = 0, to = 0; i < hex.length; i += 6, to += 4)
    for (let c = 0; c < 3; c++) pixels[to + c] = parseInt(hex.substr(i + 2 * c, 2), 16);
  return pixels;
}

function frame(view, number, kind) {
  const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ x: view.left, y: view.top, width: shown.size, height: shown.size }))
    box.setAttribute(name, value);
  box.setAttribute("class", kind);
  box.dataset.view = number;
  return box;
}

function rows(predictions) {
  return predictions.map((p) => {
    const row = document.createElement("tr");
    const name = document.createElement("th"), number = document.createElement("td"), bar = document.createElement("span");
    name.scope = "row";
    name.textContent = p.class;
    number.textContent = percent(p.probability);
    bar.className = "bar";
    bar.style.width = `${100 * p.probability}%`;
    name.append(bar);
    row.append(name, number);
    return row;
  });
}

function place(view) {
  const most = shown.side - shown.size;
  if (most === 0) return say("whole");
  const row = view.top === 0 ? "top" : view.top === most ? "bottom" : "", column = view.left === 0 ? "left" : view.left === most ? "right" : "";
  return say(row && column ? `${row}-${column}` : "centre");
}

function card(view, number) {
  const item = document.createElement("li"), title = document.createElement("h3"), canvas = document.createElement("canvas");
  item.tabIndex = 0;
  title.textContent = view.mirrored ? say("mirrored", { place: place(view) }) : place(view);
  canvas.width = canvas.height = shown.size;
  const context = canvas.getContext("2d");
  if (view.mirrored) {
    context.translate(shown.size, 0);
    context.scale(-1, 1);
  }
  context.drawImage(at("square"), view.left, view.top, shown.size, shown.size, 0, 0, shown.size, shown.size);
  const table = document.createElement("table");
  table.className = "classes";
  table.append(...rows(view.predictions));
  item.append(title, canvas, table);
  const mark = (on) => at("frames").querySelectorAll(`[data-view="${number}"]`).forEach((box) => box.classList.toggle("shown", on));
  for (const event of ["mouseenter", "focus"]) item.addEventListener(event, () => mark(true));
  for (const event of ["mouseleave", "blur"]) item.addEventListener(event, () => mark(false));
  return item;
}

function language(name) {
  choose(name);
  at("language").value = document.documentElement.lang;
  if (facts) at("net").textContent = say("net", facts);
  if (shown) draw();
}

at("file").addEventListener("change", () => at("file").files[0] && show(at("file").files[0]));
at("language").addEventListener("change", () => language(at("language").value));
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", () => document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files[0]) show(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => event.clipboardData.files[0] && show(event.clipboardData.files[0]));

language(navigator.languages.some((name) => /^zh/i.test(name)) ? "zh-Hant" : "en");
backend.about().then((found) => { facts = found; at("net").textContent = say("net", facts); }, () => status(say("gone"), true));
