// The random numbers of alexnet: Philox 4x32-10, a function of (seed, purpose, place) (core/rng.py).
const MASK = 0xffffffffn;

function crc32(text) {
  let crc = -1;
  for (const byte of new TextEncoder().encode(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return BigInt((crc ^ -1) >>> 0);
}

// The first of four random 32-bit words for a place.
export function word(seed, purpose, place) {
  let [c0, c1, c2, c3] = [BigInt(place), 0n, 0n, 0n], [k0, k1] = [BigInt(seed) & MASK, crc32(purpose)];
  for (let round = 0; round < 10; round++) {
    const p0 = c0 * 0xd2511f53n, p1 = c2 * 0xcd9e8d57n;
    [c0, c1, c2, c3] = [((p1 >> 32n) & MASK) ^ c1 ^ k0, p1 & MASK, ((p0 >> 32n) & MASK) ^ c3 ^ k1, p0 & MASK];
    [k0, k1] = [(k0 + 0x9e3779b9n) & MASK, (k1 + 0xbb67ae85n) & MASK];
  }
  return Number(c0);
}

// The factors of a layer with dropout: 0 for dropped units (lab/walk.py, mask).
export function mask(layer, seed) {
  const least = Math.round(layer.p * 2 ** 32), kept = layer.scale === "training" ? 1 / (1 - layer.p) : 1;
  return Float32Array.from({ length: layer.maps }, (_, i) => (word(seed, `lab ${layer.layer}`, i) >= least ? kept : 0));
}
