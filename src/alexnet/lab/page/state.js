// What the page shows, and its permalink: all of it stands in the address after #, but for a picture of the reader's own.
export const DEFAULTS = { norms: [true, true], swapped: false, silent: [], dropout: null, gray: false, places: [2] };

export const state = {
  facts: null,
  square: null, // the bytes of the picture
  picked: null, // its place in the store; null for the reader's own
  kernels: null, // conv1's
  found: null, // what the net answered
  fallen: null, // and with each part of the view covered
  settings: structuredClone(DEFAULTS),
  unit: { layer: "conv1", map: 0, row: 0, column: 0 },
};

// The settings that change the net, without the view.
const changes = () => ({ ...state.settings, places: undefined });
export const isChanged = () => JSON.stringify(changes()) !== JSON.stringify({ ...DEFAULTS, places: undefined });

const run = () => `${state.facts.digest}.${state.facts.step}`;

// Write the address; `push` makes an entry in the browser's history.
export function write(push = false) {
  const parts = new URLSearchParams({ run: run(), unit: Object.values(state.unit).join(".") });
  for (const [name, usual] of Object.entries(DEFAULTS))
    if (JSON.stringify(state.settings[name]) !== JSON.stringify(usual)) parts.set(name, JSON.stringify(state.settings[name]));
  if (state.square) parts.set("picture", state.picked ?? "own");
  history[push ? "pushState" : "replaceState"](null, "", `#${parts}`);
  document.getElementById("address").textContent = location.href;
}

// Read the address; return the names of what it asks for and this page has not.
export function read() {
  const left = [];
  const parts = new URLSearchParams(location.hash.slice(1)), has = state.facts.switches;
  const right = {
    norms: (v) => Array.isArray(v) && v.length === 2 && v.every((on) => typeof on === "boolean"),
    swapped: (v) => typeof v === "boolean" && has.swapped,
    silent: (v) => Array.isArray(v) && v.every((t) => Number.isInteger(t) && t >= 0 && t < has.towers),
    dropout: (v) => v === null || (Number.isInteger(v) && v >= 0 && v < 2 ** 32 && has.dropout),
    gray: (v) => typeof v === "boolean",
    places: (v) => Array.isArray(v) && v.length === 1 && v[0] >= 0 && v[0] < has.places.length && Number.isInteger(v[0]),
  };
  for (const name of Object.keys(DEFAULTS)) {
    try {
      const value = JSON.parse(parts.get(name));
      if (parts.has(name)) right[name](value) ? state.settings[name] = value : left.push(name);
    } catch { left.push(name); } // not JSON: the address was cut or typed
  }
  const picture = parts.get("picture");
  if (picture && /^\d{1,9}$/.test(picture) && state.facts.store) state.picked = Number(picture);
  else if (picture && (picture !== "own" || !state.square)) left.push(picture === "own" ? "own" : "picture");
  if (parts.has("run") && parts.get("run") !== run()) left.push("run");
  const [layer, ...place] = (parts.get("unit") || "").split(".");
  if (place.length === 3) setUnit(layer, ...place.map(Number));
  if (parts.has("unit") && parts.get("unit") !== Object.values(state.unit).join(".")) left.push("unit");
  return left;
}

const within = (value, count) => Math.min(Math.max(0, Math.floor(value) || 0), count - 1);

export function setUnit(layer, map, row, column) {
  const found = state.facts.layers.find((each) => each.name === layer && each.kind !== "pad");
  if (found) state.unit = { layer, map: within(map, found.maps), row: within(row, found.side), column: within(column, found.side) };
}
