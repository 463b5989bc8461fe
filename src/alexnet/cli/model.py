"""Commands that print a net or a recipe: summary, recipe."""

from alexnet.cli.console import show_json, table
from alexnet.cli.options import Json, Settings, chosen


def summary(recipe: str = "paper", /, *, set_: Settings = (), json_: Json = False) -> None:
    """Print the layers of a recipe's net, with their sizes and multiply-adds.

    Example: alexnet summary one-gpu

    Parameters
    ----------
    recipe
        Recipe: {recipes}, or a JSON file.
    """
    from alexnet.models.layer_table import layers_of, notes

    value = chosen(recipe, set_)
    layers = layers_of(value.net)
    totals = {n: sum(getattr(layer, n) for layer in layers) for n in ("weights", "units", "multiply_adds")}
    if json_:
        columns = ("name", "working", "maps", "side", "weights", "multiply_adds", "units")
        rows = [{column: getattr(layer, column) for column in columns} for layer in layers]
        show_json({"recipe": recipe, "layers": rows, "total": totals, "notes": notes(value.net)})
        return
    lines = [
        [layer.name, layer.working, f"{layer.maps} x {layer.side} x {layer.side}"]
        + [f"{n:,}" if n else "" for n in (layer.weights, layer.units, layer.multiply_adds)]
        for layer in layers
    ]
    lines.append(["total", "", "", *(f"{n:,}" for n in totals.values())])
    rounded = "" if getattr(value.net, "padding", ()) else ", rounded up"
    heads = ["layer", f"(W + 2P - F)/S + 1{rounded}", "output", "weights", "units", "multiply-adds"]
    table(f"{recipe}: input 3 x {value.net.image_size} x {value.net.image_size}", heads, lines)
    for line in notes(value.net):
        print(line)


def recipe(name: str = "source", /, *, set_: Settings = (), json_: Json = False) -> None:
    """Print a recipe: every number that changes a result, with its section.

    Sections are the paper's. Equal digests mean equal recipes.

    Example: alexnet recipe paper

    Example: alexnet recipe paper --set net.lrn.n=3 --json > mine.json

    Parameters
    ----------
    name
        Recipe: {recipes}, or a JSON file.
    """
    from alexnet.config.overrides import describe_fields

    value = chosen(name, set_)
    if json_:
        show_json({"name": name, "digest": value.digest, "recipe": value.plain()})
    else:
        table(f"{name} {value.digest}", ["field", "value", "section: words"], [list(r) for r in describe_fields(value)])
