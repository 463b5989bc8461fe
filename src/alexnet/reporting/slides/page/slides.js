"use strict";
const slides = [...document.querySelectorAll(".slide")], root = document.documentElement;
let now = 0;

function show(place, note = true) {
  now = Math.max(0, Math.min(slides.length - 1, place));
  slides.forEach((slide, i) => slide.classList.toggle("now", i === now));
  document.getElementById("place").textContent = `${now + 1} / ${slides.length}`;
  if (note) history.replaceState(null, "", `#${now + 1}`);
}

function fit() {
  const scale = Math.min(innerWidth / 1280, innerHeight / 720);
  root.style.setProperty("--scale", scale);
  root.style.setProperty("--down", `${(innerHeight - 720 * scale) / 2}px`);
}

function speak() {
  const on = root.classList.toggle("speaking");
  document.getElementById("notes").setAttribute("aria-pressed", on);
}

const KEYS = {
  ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1,
  Home: -Infinity, End: Infinity,
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n") speak();
  else if (event.key in KEYS && !(event.key === " " && event.target.tagName === "BUTTON")) {
    event.preventDefault();
    show(now + KEYS[event.key]);
  }
});
document.getElementById("before").addEventListener("click", () => show(now - 1));
document.getElementById("after").addEventListener("click", () => show(now + 1));
document.getElementById("notes").addEventListener("click", speak);
let from = null;
addEventListener("touchstart", (event) => { from = event.touches.length === 1 ? event.touches[0].clientX : null; });
addEventListener("touchend", (event) => {
  const by = from === null ? 0 : event.changedTouches[0].clientX - from;
  if (Math.abs(by) > 50) show(now + (by < 0 ? 1 : -1));
});
addEventListener("resize", fit);
addEventListener("hashchange", () => show(Number(location.hash.slice(1)) - 1 || 0, false));
root.classList.add("live");
fit();
show(Number(location.hash.slice(1)) - 1 || 0, false);
