"""Overlapping pooling: what a pool takes, what overlap changes, and equal outputs (section 3.4 of the paper)."""

import marimo

app = marimo.App(width="medium", app_title="6. Pooling")


@app.cell
def _():
    import marimo as mo
    import numpy as np
    import torch

    from alexnet.config.recipes import RECIPES
    from alexnet.models import layer_table
    from alexnet.ops.pool import max_pool
    from coursekit import pooling, shapes
    from coursekit.demo_run import demo_run
    from coursekit.page import Page, language_switch

    return Page, RECIPES, demo_run, language_switch, layer_table, max_pool, mo, np, pooling, shapes, torch


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
    page = Page("06_pooling", switch.value)
    page.say("title")
    return (page,)


@app.cell
def _(page):
    page.say("paper")
    return


@app.cell
def _(demo_run, short):
    run, store = demo_run(short)
    held_out = store[store.held_out]
    net = run.net()
    return held_out, net


@app.cell
def _(held_out, mo, net):
    number = mo.ui.slider(0, len(held_out) - 1, value=3, label="picture / 圖片", show_value=True)
    map_number = mo.ui.slider(
        0, net.net.channels[0] - 1, value=1, label="map of conv1 / conv1 的特徵圖", show_value=True
    )
    size = mo.ui.slider(1, 4, value=3, label="z", show_value=True)
    mo.hstack([number, map_number, size], justify="start", wrap=True)
    return map_number, number, size


@app.cell
def _(held_out, net, number, torch):
    pixels = held_out.read([number.value])
    edge = net.transform.margin // 2
    view = pixels[0, edge : edge + net.transform.size, edge : edge + net.transform.size]
    with torch.inference_mode():
        before = net.features(net.transform(pixels), "relu1")
    return before, view


@app.cell
def _(before, map_number, max_pool, page, pooling, size, view):
    one_map = before[0, map_number.value].numpy()
    frame = pooling.busiest(one_map)
    pooled = max_pool(before, size.value)
    page.picture(
        pooling.maps(view, one_map, pooled[0, map_number.value].numpy(), frame),
        "maps",
        z=size.value,
        before=before.shape[2],
        after=pooled.shape[2],
    )
    return frame, one_map


@app.cell
def _(page):
    page.say("patch")
    return


@app.cell
def _(mo):
    line = mo.ui.slider(0, 2, value=1, label="line of the pool / 視窗的列", show_value=True)
    column = mo.ui.slider(0, 2, value=1, label="column of the pool / 視窗的行", show_value=True)
    mo.hstack([line, column], justify="start", wrap=True)
    return column, line


@app.cell
def _(column, frame, line, one_map, page, pooling, size):
    top, left = frame
    units = one_map[top : top + pooling.PATCH, left : left + pooling.PATCH].copy()
    page.picture(
        pooling.patch(units, size.value, line.value, column.value),
        "patch-picture",
        z=size.value,
        shared=max(0, size.value - 2),
    )
    return


@app.cell
def _(page):
    page.say("choice")
    return


@app.cell
def _(before, frame, map_number, page, pooling, size):
    unread = {side: pooling.shares(pooling.choices(before, side))[0] for side in (2, size.value)}
    page.picture(
        pooling.chosen(before, size.value, frame, map_number.value),
        "choice-picture",
        z=size.value,
        none=f"{100 * unread[size.value]:.1f}",
        none_two=f"{100 * unread[2]:.1f}",
    )
    return


@app.cell
def _(page):
    page.say("shift")
    return


@app.cell
def _(held_out, net, np, pooling, short, torch):
    # The same pictures, cut at places further and further to the right.
    sizes, steps = (1, 2, 3, 4), list(range(0, 17, 4 if short else 1))
    some = net.transform.batch(held_out.read(np.arange(0, len(held_out), 8)[:32]))

    def maps_at(left):
        views = net.transform.crops_at(some, [(16, left, False)])[0]
        return net.features(views, "relu1")

    with torch.inference_mode():
        still = maps_at(8)
        by_step = [pooling.changes(still, maps_at(8 + step), sizes) for step in steps]
    curves = {side: [at_step[place] for at_step in by_step] for place, side in enumerate(sizes)}
    return curves, some, steps


@app.cell
def _(mo, steps):
    shift = mo.ui.slider(steps=steps, value=4, label="shift (pixels) / 平移（像素）", show_value=True)
    shift
    return (shift,)


@app.cell
def _(curves, page, pooling, shift, some, steps):
    here = steps.index(shift.value)
    page.picture(
        pooling.shifts(curves, steps, shift.value),
        "shift-picture",
        shift=shift.value,
        pictures=len(some),
        one=f"{100 * curves[1][here]:.0f}",
        two=f"{100 * curves[2][here]:.0f}",
        three=f"{100 * curves[3][here]:.0f}",
    )
    return


@app.cell
def _(page):
    page.say("fair")
    return


@app.cell
def _(mo):
    pool = mo.ui.dropdown({"z = 3": 3, "z = 2": 2}, value="z = 2", label="pools / 池化")
    image_size = mo.ui.slider(
        steps=[224, 227, 231], value=224, label="view (pixels) / 裁切畫面（像素）", show_value=True
    )
    mo.hstack([pool, image_size], justify="start", wrap=True)
    return image_size, pool


@app.cell
def _(RECIPES, image_size, layer_table, page, pool, shapes):
    own = {"pool": pool.value, "image_size": image_size.value}
    layers = layer_table.layers_of(RECIPES["paper"].replace(net=own).net)
    page.say(
        "rows",
        z=pool.value,
        view=image_size.value,
        rows=shapes.rows([layer for layer in layers if layer.name in ("conv1", "pool1", "pool2", "pool5", "fc6")]),
        weights=f"{sum(layer.weights for layer in layers):,}",
    )
    return


@app.cell
def _(page):
    page.say("slides")
    return


@app.cell
def _(RECIPES, before, layer_table, max_pool, page, shapes, torch):
    known = {layer.name: layer for layer in layer_table.layers_of(RECIPES["paper"].net)}
    maps5, side5 = known["conv5"].maps, known["conv5"].side
    linear = torch.randn(before.shape, generator=torch.Generator().manual_seed(0))
    after_relu, relu_after = max_pool(linear.relu(), 3), max_pool(linear, 3).relu()
    page.questions(
        three=shapes.written(55, 3, 2),
        two=shapes.written(55, 2, 2),
        conv2=shapes.written(28, 5, 1, 1),
        pool2=shapes.written(26, 2, 2),
        conv5=shapes.written(13, 3, 1, 0),
        pool5=shapes.written(11, 2, 2),
        fc6=f"{known['fc6'].weights:,}",
        fc6_inputs=f"{known['fc6'].inputs:,}",
        without=f"{(maps5 * side5**2 + 1) * known['fc6'].units:,}",
        inputs_without=f"{maps5 * side5**2:,}",
        difference=f"{float((after_relu - relu_after).abs().max()):g}",
        pools=f"{after_relu.numel():,}",
    )
    return


@app.cell
def _(page):
    page.finish()
    return


if __name__ == "__main__":
    app.run()
