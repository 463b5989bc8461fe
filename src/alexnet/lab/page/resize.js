// A picture made square and resized with Pillow's bilinear filter, to the bit (data/images/resize.py).
const BITS = 22; // fraction bits of the weights; sums stay far below 2^53

// The first input and the weights of each of `side` outputs, which cover `extent` of `length` inputs from `start` on.
export function taps(length, start, extent, side) {
  const scale = extent / side, support = Math.max(scale, 1), made = [];
  for (let i = 0; i < side; i++) {
    const centre = start + (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0), last = Math.min(Math.trunc(centre + support + 0.5), length);
    const weights = [];
    let total = 0;
    for (let t = 0; t < last - first; t++) {
      const weight = Math.max(0, 1 - Math.abs((t + first - centre + 0.5) * (1 / support)));
      weights.push(weight);
      total += weight;
    }
    made.push([first, weights.map((weight) => Math.floor((weight / total) * 2 ** BITS + 0.5))]);
  }
  return made;
}

const level = (sum) => Math.min(255, Math.max(0, Math.floor(sum / 2 ** BITS)));

// RGBA bytes to side x side x 3: the central square, or with fit "warp" the whole picture; rows first, then columns.
export function resized(rgba, width, height, side, fit) {
  const short = Math.min(width, height), [wide, high] = fit === "warp" ? [width, height] : [short, short];
  const left = fit === "warp" ? 0 : Math.floor((width - wide) / 2), top = fit === "warp" ? 0 : Math.floor((height - high) / 2);
  const across = taps(width, left, wide, side), down = taps(height, top, high, side);
  const rows = new Map(), out = new Uint8Array(side * side * 3);
  const row = (y) => {
    if (!rows.has(y)) {
      const made = new Uint8Array(side * 3);
      across.forEach(([first, weights], x) => {
        for (let c = 0; c < 3; c++) {
          let sum = 2 ** (BITS - 1);
          weights.forEach((weight, t) => { sum += weight * rgba[4 * (y * width + first + t) + c]; });
          made[3 * x + c] = level(sum);
        }
      });
      rows.set(y, made);
    }
    return rows.get(y);
  };
  down.forEach(([first, weights], y) => {
    const used = weights.map((_, t) => row(first + t));
    for (let i = 0; i < side * 3; i++) {
      let sum = 2 ** (BITS - 1);
      for (let t = 0; t < weights.length; t++) sum += weights[t] * used[t][i];
      out[y * side * 3 + i] = level(sum);
    }
    for (const y of rows.keys()) if (y < first) rows.delete(y);
  });
  return out;
}
