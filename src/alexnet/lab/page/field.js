// Which inputs a unit reads: along one side of the layer before, and back to the view.

// How a layer's windows lie: [size, stride, padding]; null if a unit reads everything.
export function windows(layer) {
  if (layer.kind === "convolution") return [layer.size, layer.stride, layer.padding];
  if (layer.kind === "local") return [3, 1, 1];
  if (layer.kind === "pool") return [layer.size, 2, 0];
  if (layer.kind === "norm" && layer.within) return [layer.n, 1, Math.floor(layer.n / 2)];
  return layer.kind === "full" || layer.kind === "flatten" ? null : [1, 1, 0];
}

// First and last index that unit `place` reads in the layer before, also outside the border.
export function reads(layer, place) {
  const found = windows(layer);
  if (!found) return [0, layer.width - 1];
  const [size, stride, padding] = found, first = place * stride - padding;
  return [first, first + size - 1];
}

// First and last pixel of the view that a unit depends on, along one side; `layers` end with the unit's.
export function field(layers, place, size) {
  let [first, last] = [place, place];
  for (const layer of [...layers].reverse()) [first, last] = [reads(layer, first)[0], reads(layer, last)[1]];
  return [Math.max(0, first), Math.min(size - 1, last)];
}
