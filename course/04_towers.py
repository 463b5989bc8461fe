"""Towers: half of the kernels on each GPU, and where the halves meet (section 3.2 of the paper)."""

import marimo

app = marimo.App(width="medium", app_title="4. Towers")


@app.cell
def _():
    import marimo as mo

    from alexnet.config.recipes import RECIPES
    from coursekit import towers
    from coursekit.demo_run import demo_run
    from coursekit.page import Page, language_switch

    return Page, RECIPES, demo_run, language_switch, mo, towers


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
    page = Page("04_towers", switch.value)
    page.say("title")
    return (page,)


@app.cell
def _(page):
    page.say("paper")
    return


@app.cell
def _(demo_run, short):
    run, store = demo_run(short)
    net = run.net()
    pictures = store[store.held_out]
    return net, pictures


@app.cell
def _(mo):
    layer = mo.ui.dropdown(["conv2", "conv3", "conv4", "conv5", "fc6"], value="conv2", label="layer / 層")
    layer
    return (layer,)


@app.cell
def _(layer, net, page, pictures, towers):
    own = towers.influence(net, pictures, layer.value)
    page.picture(
        towers.influence_picture(own, layer.value),
        "influence",
        layer=layer.value,
        other=f"{100 * own[0, 1] / own[0].sum():.0f}",
    )
    return


@app.cell
def _(page):
    page.say("cost")
    return


@app.cell
def _(mo):
    batch = mo.ui.slider(32, 256, step=32, value=128, label="batch / 批次大小", show_value=True)
    batch
    return (batch,)


@app.cell
def _(RECIPES, batch, page, towers):
    base = RECIPES["paper"]
    nets = {
        "paper": base.net,
        "towers that meet only at fc8": base.replace(net={"cross_tower": False}).net,
        "every layer reads both": base.replace(net={"towers": 1}).net,
        "one-gpu": RECIPES["one-gpu"].net,
    }
    costs = {name: towers.cost(each, batch.value) for name, each in nets.items()}
    page.picture(
        towers.costs(costs),
        "cost-picture",
        batch=batch.value,
        weights=f"{costs['paper'].weights / 1e6:.1f}",
        dense=f"{costs['every layer reads both'].weights / 1e6:.1f}",
        work=f"{costs['paper'].multiply_adds / 1e6:.0f}",
        dense_work=f"{costs['every layer reads both'].multiply_adds / 1e6:.0f}",
        sent=f"{costs['paper'].sent / 1e6:.1f}",
    )
    return (costs,)


@app.cell
def _(page):
    page.say("silence")
    return


@app.cell
def _(mo):
    silent = mo.ui.dropdown({"none": (), "tower 0": (0,), "tower 1": (1,)}, value="tower 0", label="silent / 沉默")
    silent
    return (silent,)


@app.cell
def _(net, page, pictures, silent, towers):
    errors = towers.errors_by_class(net, pictures, silent.value)
    whole = towers.errors_by_class(net, pictures, ())
    page.picture(
        towers.silence(net.classes, whole, errors),
        "silence-picture",
        whole=f"{100 * whole.mean():.1f}",
        error=f"{100 * errors.mean():.1f}",
        chance=f"{100 - 100 / len(net.classes):.0f}",
    )
    return


@app.cell
def _(page):
    page.say("slides")
    return


@app.cell
def _(RECIPES, costs, page):
    one = RECIPES["one-gpu"].net
    page.questions(
        paper_weights=f"{costs['paper'].weights:,}",
        one_weights=f"{costs['one-gpu'].weights:,}",
        conv5=f"{one.widths['conv5']}",
        ratio=f"{costs['every layer reads both'].multiply_adds / costs['paper'].multiply_adds:.2f}",
    )
    return


@app.cell
def _(page):
    page.finish()
    return


if __name__ == "__main__":
    app.run()
