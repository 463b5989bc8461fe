// The back end that asks `alexnet serve`. Another back end has the same functions.
export class Failure extends Error {}
export const help = "picture-help", lost = "gone"; // words for where pictures go, and for a back end that is lost

async function answered(asked) {
  const answer = await asked;
  if (answer.ok) return answer;
  const found = await answer.json().catch(() => ({}));
  throw new Failure(found.error || `status ${answer.status}`);
}

// Names and shapes in JSON behind their length, then float32 arrays (answers.py, packed).
function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true), arrays = {};
  let at = 4 + length;
  for (const [name, shape] of JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)))) {
    const size = shape.reduce((a, b) => a * b, 1);
    arrays[name] = { shape, data: new Float32Array(buffer, at, size) };
    at += 4 * size;
  }
  return arrays;
}

const arrays = async (asked) => unpacked(await (await answered(asked)).arrayBuffer());

// Facts about the net: its run, recipe, classes, layers and switches.
export const about = async () => (await answered(fetch("api/net"))).json();

// The square that views are cut from, side x side x 3 bytes, of a picture's file.
export const square = async (file) =>
  new Uint8Array(await (await answered(fetch("api/square", { method: "POST", body: file }))).arrayBuffer());

// "probabilities" of each input that the settings make; with `layers`, the outputs of all layers for the first one.
export const run = (pixels, settings, layers = false) =>
  arrays(fetch(`api/run?layers=${layers}&settings=${encodeURIComponent(JSON.stringify(settings))}`, { method: "POST", body: pixels }));

// The pictures of a store to pick, a page at a time; each has its place, number, name and class.
export const pictures = async (page) => (await (await answered(fetch(`api/pictures?page=${page}`))).json()).pictures;

// The address of a picture of the store: one to "pick", or a "near" one.
export const picture = (kind, place) => `api/picture?kind=${kind}&place=${place}`;

// The nearest pictures of the store by their features in its layer; each has its distance too.
export const nearest = async (features) => (await (await answered(fetch("api/nearest", { method: "POST", body: features }))).json()).neighbours;

export const kernels = () => arrays(fetch("api/kernels"));

// The "kernel" and the "bias" of a map or unit.
export const unit = (layer, map) => arrays(fetch(`api/unit?layer=${encodeURIComponent(layer)}&map=${map}`));
