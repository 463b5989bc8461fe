// The back end that runs the net in this browser, by ONNX Runtime Web. It has the functions of server.js.
import { InferenceSession, Tensor, env } from "./runtime/ort.wasm.bundle.min.mjs";
import { mask } from "./philox.js";
import { resized } from "./resize.js";

export class Failure extends Error {}
export const help = "picture-stays", lost = "unloaded";

env.wasm.numThreads = 1; // more need headers that a plain file server does not send
env.wasm.wasmPaths = { wasm: new URL("./runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href };
const BATCH = 16, NEAREST = 6;
let known = null, loaded = null;

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Failure(`${name}: status ${answer.status}`);
  return answer;
}

export async function about() {
  known ??= await (await fetched("./net.json")).json();
  return known.facts;
}

// The session, the weights' bytes and the mean picture; loaded at the first use.
function net() {
  loaded ??= (async () => {
    await about();
    const [graph, weights] = await Promise.all(["./net.onnx", "./weights.bin"].map(async (name) => new Uint8Array(await (await fetched(name)).arrayBuffer())));
    const externalData = [{ path: "weights.bin", data: weights }];
    return { session: await InferenceSession.create(graph, { executionProviders: ["wasm"], externalData }), weights };
  })().catch((error) => { loaded = null; throw error; });
  return loaded;
}

// A float32 array of weights.bin by its name.
async function array(name) {
  const { offset, shape } = known.arrays[name], { weights } = await net();
  return { shape, data: new Float32Array(weights.buffer, weights.byteOffset + offset, shape.reduce((a, b) => a * b, 1)) };
}

export async function square(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch {
    throw new Failure("this browser cannot read the file as a picture");
  }
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff"; // transparency over white
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return resized(data, bitmap.width, bitmap.height, known.facts.side, known.fit);
}

const GRAY = [299, 587, 114]; // thousandths (lab/walk.py)

// Make one input: a view of the square, minus the mean (section 2), with a part covered.
function input(pixels, mean, settings, [top, left, mirrored], cover) {
  const { side, size } = known.facts, out = new Float32Array(3 * size * size), half = Math.floor((side - size) / 2), { scale, std, place } = known.views;
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const column = left + (mirrored ? size - 1 - x : x), from = 3 * ((top + y) * side + column);
      const average = place ? from : 3 * ((half + y) * side + half + x);
      const gray = settings.gray ? Math.floor((GRAY[0] * pixels[from] + GRAY[1] * pixels[from + 1] + GRAY[2] * pixels[from + 2] + 500) / 1000) : 0;
      const hidden = cover && y >= cover[0] && y < cover[0] + cover[2] && x >= cover[1] && x < cover[1] + cover[2];
      for (let c = 0; c < 3; c++) {
        const value = settings.gray ? gray : pixels[from + c];
        out[(c * size + y) * size + x] = hidden ? 0 : ((value - mean.data[average + c]) * scale) / std[c];
      }
    }
  return out;
}

export async function run(pixels, settings, layers = false) {
  const { session } = await net(), { size, classes, layers: all, switches } = known.facts, mean = await array("mean");
  const places = settings.places.map((i) => switches.places[i]), inputs = [];
  for (const where of places) for (const cover of settings.covers?.length ? settings.covers : [null]) inputs.push([where, cover]);
  const feeds = {
    norms: new Tensor("bool", settings.norms.map(Number), [2]),
    swapped: new Tensor("bool", [Number(settings.swapped)], [1]),
    towers: new Tensor("float32", Array.from({ length: switches.towers }, (_, t) => Number(!settings.silent.includes(t))), [switches.towers]),
  };
  for (const layer of all.filter((each) => each.kind === "dropout")) {
    const usual = layer.scale === "testing" ? 1 - layer.p : 1;
    const factors = settings.dropout === null ? new Float32Array(layer.maps).fill(usual) : mask(layer, settings.dropout);
    feeds[`mask.${layer.name}`] = new Tensor("float32", factors, [layer.maps]);
  }
  for (const name of Object.keys(feeds)) if (!session.inputNames.includes(name)) delete feeds[name];
  const logits = all.at(-1).name, probabilities = new Float32Array(inputs.length * classes.length), shown = {};
  for (let first = 0; first < inputs.length; first += BATCH) {
    const some = inputs.slice(first, first + BATCH), views = new Float32Array(some.length * 3 * size * size);
    some.forEach(([where, cover], i) => views.set(input(pixels, mean, settings, where, cover), i * 3 * size * size));
    const wanted = layers && first === 0 ? undefined : [logits];
    const found = await session.run({ ...feeds, views: new Tensor("float32", views, [some.length, 3, size, size]) }, wanted);
    softmax(found[logits].data, classes.length, probabilities.subarray(first * classes.length));
    if (wanted) continue;
    shown.input = { shape: [3, size, size], data: views.slice(0, 3 * size * size) };
    for (const name of session.outputNames) {
      if (off(name, settings)) continue;
      const { dims, data } = found[name], each = dims.slice(1).reduce((a, b) => a * b, 1);
      shown[name] = { shape: dims.slice(1), data: data.slice(0, each) };
    }
  }
  return { probabilities: { shape: [inputs.length, classes.length], data: probabilities }, ...ordered(shown, settings) };
}

// A norm that is off gives its input; the page leaves it out.
function off(name, { norms }) {
  const found = /^(?:norm|within)([12])$/.exec(name);
  return found !== null && !norms[found[1] - 1];
}

// The layers in the order in which they ran.
function ordered(shown, { swapped }) {
  const names = ["input", ...known.facts.layers.map((layer) => layer.name)];
  if (swapped)
    for (const [a, b] of ["1", "2"].map((n) => [names.indexOf(`relu${n}`), names.indexOf(`norm${n}`)]))
      if (a > 0 && b > 0 && Math.abs(a - b) === 1) [names[a], names[b]] = [names[b], names[a]];
  return Object.fromEntries(names.filter((name) => shown[name]).map((name) => [name, shown[name]]));
}

function softmax(logits, classes, out) {
  for (let first = 0; first < logits.length; first += classes) {
    const row = logits.subarray(first, first + classes), most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    let total = 0;
    for (let i = 0; i < classes; i++) total += out[first + i] = Math.exp(row[i] - most);
    for (let i = 0; i < classes; i++) out[first + i] /= total;
  }
}

let store = null; // what pictures.json says, and the features

async function stored() {
  store ??= (async () => {
    const [told, features] = await Promise.all([fetched("./pictures.json").then((a) => a.json()), fetched("./features.bin").then((a) => a.arrayBuffer())]);
    return { ...told, features: new Float32Array(features) };
  })().catch((error) => { store = null; throw error; });
  return store;
}

export const pictures = async (page) => (await stored()).pages[page];
export const picture = (kind, place) => new URL(`./pictures/${kind}-${place}.${kind === "pick" ? "png" : "jpg"}`, import.meta.url).href;

export async function nearest(query) {
  const { compared, units, features } = await stored();
  const apart = Array.from(compared, (_, i) => {
    let total = 0;
    for (let u = 0; u < units; u++) total += (features[i * units + u] - query[u]) ** 2;
    return Math.sqrt(total);
  });
  const order = [...apart.keys()].sort((a, b) => apart[a] - apart[b] || a - b).slice(0, NEAREST);
  return order.map((i) => ({ ...compared[i], distance: apart[i] }));
}

export async function kernels() {
  const first = known.facts.layers.find((layer) => ["convolution", "local", "full"].includes(layer.kind));
  return { kernels: first.kind === "convolution" ? await array(`${first.name}.weight`) : { shape: [0, 3, 1, 1], data: new Float32Array() } };
}

export async function unit(layer, map) {
  const weight = await array(`${layer}.weight`), bias = await array(`${layer}.bias`), each = weight.data.length / weight.shape[0];
  return { kernel: { shape: weight.shape.slice(1), data: weight.data.subarray(map * each, (map + 1) * each) }, bias: { shape: [1], data: bias.data.subarray(map, map + 1) } };
}
