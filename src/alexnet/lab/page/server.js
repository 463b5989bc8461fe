// The back end that asks `alexnet serve`. Another back end has the same two functions.
class Failure extends Error {}

async function json(answer) {
  const found = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (!answer.ok) throw new Failure(found.error);
  return found;
}

// Facts about the net: run, recipe, classes, side, size.
export async function about() {
  return json(await fetch("api/net"));
}

// The square, its ten views with the classes of each, and those of their mean, for a picture's file.
export async function run(file) {
  return json(await fetch("api/views", { method: "POST", body: file }));
}

export { Failure };
