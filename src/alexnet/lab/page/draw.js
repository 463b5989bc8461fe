// Pictures of numbers.

const sign = () => (document.documentElement.lang === "en" ? " %" : "%");
export const percent = (p, digits = 1) => `${(100 * p).toFixed(digits)}${sign()}`;
export const points = (p) => `${p > 0 ? "+" : p < 0 ? "−" : ""}${Math.abs(100 * p).toFixed(1)}`;

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
// With `colours`, three maps in a row are red, green and blue of one tile. With `around`, or colours, 0 is a middle gray.
export function tiles(canvas, data, maps, height, width, columns, colours = false, around = colours) {
  const count = colours ? maps / 3 : maps, rows = Math.ceil(count / columns), [least, most] = range(data);
  const reach = around ? Math.max(-least, most) || 1 : most - least || 1, low = least;
  canvas.width = columns * (width + 1) - 1;
  canvas.height = rows * (height + 1) - 1;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  for (let tile = 0; tile < count; tile++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const to = 4 * (((Math.floor(tile / columns) * (height + 1)) + y) * canvas.width + (tile % columns) * (width + 1) + x);
        for (let c = 0; c < 3; c++) {
          const value = data[((colours ? 3 * tile + c : tile) * height + y) * width + x];
          image.data[to + c] = around ? 127.5 + (127.5 * value) / reach : (255 * (value - low)) / reach;
        }
        image.data[to + 3] = 255;
      }
  context.putImageData(image, 0, 0);
}

// Rows of a table of classes, likeliest first, each with a bar; `others` are probabilities to show beside, and then the
// rows are the likeliest classes of both.
export function classes(table, names, probabilities, count = 5, others = null, heads = []) {
  const wide = others ? [probabilities, others] : [probabilities];
  const first = (of) => [...of.keys()].sort((a, b) => of[b] - of[a]).slice(0, count), largest = (i) => Math.max(...wide.map((of) => of[i]));
  const order = [...new Set(wide.flatMap(first))].sort((a, b) => largest(b) - largest(a)), best = wide.map((of) => first(of)[0]);
  const rows = order.map((i) => {
    const name = make("th", { scope: "row", className: best.includes(i) ? "best" : "" }, names[i], bar(probabilities[i]));
    if (others) name.append(bar(others[i], "after"));
    return make("tr", {}, name, ...wide.map((of, column) => make("td", { className: best[column] === i ? "best" : "" }, percent(of[i]))));
  });
  if (others) rows.unshift(make("tr", { className: "heads" }, make("td"), ...heads.map((head) => make("th", { scope: "col" }, head))));
  table.replaceChildren(...rows);
}

function bar(share, kind = "") {
  const made = make("span", { className: `bar ${kind}` });
  made.style.width = `${100 * share}%`;
  return made;
}
