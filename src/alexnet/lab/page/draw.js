// Pictures of numbers.

export const percent = (p) => `${(100 * p).toFixed(1)} %`;

export function make(tag, attributes = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...inside);
  return made;
}

export function box(x, y, width, height, kind) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ x, y, width, height, class: kind })) made.setAttribute(name, value);
  return made;
}

// Draw a square of RGB bytes.
export function square(canvas, bytes, side) {
  canvas.width = canvas.height = side;
  const pixels = new Uint8ClampedArray(side * side * 4).fill(255);
  for (let i = 0, to = 0; i < bytes.length; i += 3, to += 4) pixels.set(bytes.subarray(i, i + 3), to);
  canvas.getContext("2d").putImageData(new ImageData(pixels, side), 0, 0);
}

// The least and largest of some numbers; a spread argument would overflow the stack.
export function range(data) {
  let least = Infinity, most = -Infinity;
  for (const value of data) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return [least, most];
}

// Draw maps as gray tiles with a line of background between them: black is the least of all, white the largest.
// With `colours`, three maps in a row are red, green and blue of one tile, around a middle gray.
export function tiles(canvas, data, maps, height, width, columns, colours = false) {
  const count = colours ? maps / 3 : maps, rows = Math.ceil(count / columns), [least, most] = range(data);
  const reach = colours ? Math.max(-least, most) || 1 : most - least || 1, low = colours ? -reach : least;
  canvas.width = columns * (width + 1) - 1;
  canvas.height = rows * (height + 1) - 1;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  for (let tile = 0; tile < count; tile++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const to = 4 * (((Math.floor(tile / columns) * (height + 1)) + y) * canvas.width + (tile % columns) * (width + 1) + x);
        for (let c = 0; c < 3; c++) {
          const value = data[((colours ? 3 * tile + c : tile) * height + y) * width + x];
          image.data[to + c] = colours ? 127.5 + (127.5 * value) / reach : (255 * (value - low)) / reach;
        }
        image.data[to + 3] = 255;
      }
  context.putImageData(image, 0, 0);
}

// Rows of a table of classes, likeliest first, each with a bar; `others` are probabilities to show beside.
export function classes(table, names, probabilities, count = 5, others = null, heads = []) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, count);
  const wide = others ? [probabilities, others] : [probabilities];
  const rows = order.map((i) => {
    const name = make("th", { scope: "row" }, names[i], bar(probabilities[i]));
    if (others) name.append(bar(others[i], "after"));
    return make("tr", {}, name, ...wide.map((of) => make("td", {}, percent(of[i]))));
  });
  if (others) rows.unshift(make("tr", { className: "heads" }, make("td"), ...heads.map((head) => make("th", { scope: "col" }, head))));
  table.replaceChildren(...rows);
}

function bar(share, kind = "") {
  const made = make("span", { className: `bar ${kind}` });
  made.style.width = `${100 * share}%`;
  return made;
}
