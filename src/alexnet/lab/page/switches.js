// The switches, what they do in words, and the classes before and after.
import * as draw from "./draw.js";
import { isChanged, state } from "./state.js";
import { mean, place, row } from "./views.js";
import { say } from "./words.js";

const at = (id) => document.getElementById(id);

// Show the controls that this net has, as the settings say.
export function controls() {
  const { facts, settings } = state, has = facts.switches, layers = facts.layers;
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
  at("unit-layer").replaceChildren(...layers.filter((layer) => layer.kind !== "pad").map((layer) => draw.make("option", {}, layer.name)));
  const norm = layers.find((layer) => layer.kind === "norm" && !layer.within), drop = layers.find((layer) => layer.kind === "dropout");
  at("norm-why").textContent = norm ? say("norm-why", norm) : "";
  at("towers-why").textContent = has.towers === 2 ? say("towers-why", { layers: layers.filter((layer) => layer.reads === "both").map((layer) => layer.name).join(", ") }) : "";
  at("dropout-words").textContent = drop ? say("dropout", { share: draw.percent(drop.p, 0) }) : "";
  const order = layers.map((layer) => layer.name).filter((name) => /^(relu|norm)[12]$/.test(name)).join(", ");
  at("swapped-words").textContent = say("swapped", { order });
}

// Read the settings from the controls.
export function set() {
  state.settings = {
    norms: [at("norm1").checked || !state.facts.switches.norms[0], at("norm2").checked || !state.facts.switches.norms[1]],
    swapped: at("swapped").checked,
    silent: [0, 1].filter((tower) => at(`silent${tower}`).checked),
    dropout: at("dropout").checked ? state.settings.dropout ?? 1 : null,
    gray: at("gray").checked,
    places: [Number(at("place").value)],
  };
  at("again").hidden = state.settings.dropout === null;
}

// Show the classes before and after, of all views and of the chosen one.
export function effect() {
  const { facts, found, settings } = state, heads = [say("before"), say("after")], view = settings.places[0];
  draw.classes(at("effect-mean"), facts.classes, mean(found.usual), 5, mean(found.views), heads);
  at("effect-title").textContent = say("effect", { place: place(facts.switches.places[view]) });
  draw.classes(at("effect"), facts.classes, row(found.usual, view), 5, row(found.views, view), heads);
}

// While the net is changed, say how, and what it answers without the change.
export function usually(before) {
  const { settings } = state, changes = [
    ...["norm1", "norm2"].filter((_, i) => !settings.norms[i]).map((name) => say(`${name}-off`)),
    ...(settings.swapped ? [say("swapped-on")] : []),
    ...settings.silent.map((tower) => say(`silent${tower}-on`)),
    ...(settings.dropout === null ? [] : [say("dropout-on")]),
    ...(settings.gray ? [say("gray-on")] : []),
  ];
  at("changed").hidden = !isChanged();
  at("changed-words").textContent = say("changed", { changes: changes.join(say("comma")), ...before });
}
