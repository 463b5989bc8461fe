"""Shapes: the size formula, the 55 of conv1, weights and multiply-adds (section 3.5 and figure 2 of the paper)."""

import marimo

app = marimo.App(width="medium", app_title="2. Shapes")


@app.cell
def _():
    import marimo as mo

    from alexnet.config.recipes import RECIPES
    from alexnet.data.sources.drawings import draw
    from alexnet.figures.architecture import architecture
    from alexnet.models import layer_table
    from alexnet.models.alexnet import AlexNet
    from coursekit import shapes
    from coursekit.page import Page, language_switch

    return AlexNet, Page, RECIPES, architecture, draw, language_switch, layer_table, mo, shapes


@app.cell
def _():
    short = False  # `make test` runs a short form
    return (short,)


@app.cell
def _(language_switch):
    switch = language_switch()
    switch
    return (switch,)


@app.cell
def _(Page, switch):
    page = Page("02_shapes", switch.value)
    page.say("title")
    return (page,)


@app.cell
def _(page):
    page.say("paper")
    return


@app.cell
def _(mo):
    width = mo.ui.slider(8, 40, value=27, label="W", show_value=True)
    size = mo.ui.slider(1, 11, value=5, label="F", show_value=True)
    stride = mo.ui.slider(1, 5, value=3, label="S", show_value=True)
    padding = mo.ui.slider(0, 4, value=0, label="P", show_value=True)
    mo.hstack([width, size, stride, padding], justify="start", wrap=True)
    return padding, size, stride, width


@app.cell
def _(layer_table, padding, page, shapes, size, stride, width):
    numbers = min(size.value, width.value), stride.value, padding.value
    page.picture(
        shapes.windows(width.value, *numbers),
        "windows",
        formula=shapes.written(width.value, *numbers),
        exact=f"{(width.value + 2 * padding.value - numbers[0]) / stride.value + 1:g}",
        over=layer_table.overhang(width.value, *numbers),
    )
    return


@app.cell
def _(layer_table, page, shapes):
    page.picture(
        shapes.windows(224, 11, 4, 0, first=180),
        "conv1",
        formula=shapes.written(224, 11, 4),
        over=layer_table.overhang(224, 11, 4),
    )
    return


@app.cell
def _(page):
    page.say("table")
    return


@app.cell
def _(mo):
    recipe = mo.ui.dropdown(["paper", "one-gpu", "owt", "tiny", "small", "demo"], value="paper", label="recipe / 配方")
    recipe
    return (recipe,)


@app.cell
def _(RECIPES, layer_table, recipe):
    net = RECIPES[recipe.value].net
    layers = layer_table.layers_of(net)
    return layers, net


@app.cell
def _(layers, page, shapes):
    page.say("rows", rows=shapes.rows(layers))
    return


@app.cell
def _(layers, page, shapes):
    convolutions = [layer for layer in layers if layer.name.startswith("conv")]
    weights, work = (sum(getattr(layer, name) for layer in layers) for name in ("weights", "multiply_adds"))
    page.picture(
        shapes.weights_and_work(layers),
        "weights",
        weights=f"{weights:,}",
        share_weights=f"{100 * sum(layer.weights for layer in convolutions) / weights:.1f}",
        share_work=f"{100 * sum(layer.multiply_adds for layer in convolutions) / work:.1f}",
    )
    return


@app.cell
def _(AlexNet, architecture, net, page):
    page.picture(architecture(AlexNet(net)), "drawing")
    return


@app.cell
def _(page):
    page.say("field")
    return


@app.cell
def _(RECIPES, layer_table, mo):
    paper_layers = [layer for layer in layer_table.describe(RECIPES["paper"].net) if layer.side > 1]
    steps = [layer.name for layer in paper_layers if isinstance(layer.op, (layer_table.Convolution, layer_table.Pool))]
    layer_name = mo.ui.dropdown(steps, value="conv2", label="layer / 層")
    layer_name
    return layer_name, paper_layers


@app.cell
def _(draw, layer_name, layer_table, page, paper_layers, shapes):
    # A unit of a layer sees (size - 1) steps more of the layer before it. A step is as wide as all strides together.
    fields, sees, step = {}, 1, 1
    for layer in paper_layers:
        if isinstance(layer.op, (layer_table.Convolution, layer_table.Pool)):
            sees += (layer.op.size - 1) * step
            step *= getattr(layer.op, "stride", 2)
            fields[layer.name] = sees
    page.picture(
        shapes.receptive_field(draw(2)[16:240, 16:240], fields[layer_name.value]),
        "field-picture",
        layer=layer_name.value,
        sees=fields[layer_name.value],
    )
    return


@app.cell
def _(page):
    page.say("slides")
    return


@app.cell
def _(RECIPES, layer_table, page, shapes):
    known = {layer.name: layer for layer in layer_table.layers_of(RECIPES["paper"].net)}
    dense = RECIPES["paper"].replace(net={"towers": 1}).net
    down = layer_table.output_side(224, 11, 4, ceil=False)
    page.questions(
        conv1_227=shapes.written(227, 11, 4),
        conv1_weights=f"{known['conv1'].weights:,}",
        conv1_units=f"{known['conv1'].units:,}",
        conv2_weights=f"{known['conv2'].weights:,}",
        conv2_dense=f"{layer_table.layers_of(dense)[2].weights:,}",
        down=down,
        down_pool=shapes.written(down, 3, 2),
        fc6_weights=f"{known['fc6'].weights:,}",
        fc6_inputs=f"{known['fc6'].inputs:,}",
    )
    return


@app.cell
def _(page):
    page.finish()
    return


if __name__ == "__main__":
    app.run()
