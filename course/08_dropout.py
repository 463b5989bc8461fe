"""Dropout as thinned nets: masks, means of many nets, gradients of zero (section 4.2 of the paper)."""

import marimo

app = marimo.App(width="medium", app_title="8. Dropout as thinned nets")


@app.cell
def _():
    import tempfile

    import marimo as mo
    import numpy as np
    import torch

    import alexnet
    from alexnet.config.recipes import RECIPES
    from coursekit import plots, thinned
    from coursekit.demo_run import demo_run
    from coursekit.page import Page, language_switch

    return Page, RECIPES, alexnet, demo_run, language_switch, mo, np, plots, tempfile, thinned, torch


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
    page = Page("08_dropout", switch.value)
    page.say("title")
    return (page,)


@app.cell
def _(page):
    page.say("paper")
    return


@app.cell
def _(mo):
    p = mo.ui.slider(0.0, 0.9, step=0.1, value=0.5, label="p", show_value=True)
    step = mo.ui.slider(0, 50, value=0, label="training step / 訓練步數", show_value=True)
    mo.hstack([p, step], justify="start", wrap=True)
    return p, step


@app.cell
def _(p, page, step, thinned):
    hidden = thinned.UNITS[1] + thinned.UNITS[2]
    page.picture(
        thinned.nets(p.value, step.value),
        "nets",
        p=f"{p.value:g}",
        hidden=hidden,
        many=f"{2**hidden:,}",
        kept=sum(int(layer.sum()) for layer in thinned.masks(p.value, step.value)[1:3]),
    )
    return


@app.cell
def _(page):
    page.say("exact")
    return


@app.cell
def _(demo_run, np, short, torch):
    run, store = demo_run(short)
    held_out = store[store.held_out]
    net = run.net()
    ids = np.arange(0, len(held_out), 4 if short else 1)
    labels = torch.from_numpy(held_out.labels[ids])
    with torch.inference_mode():
        # Dropout is in the last layers only, so those before it are computed once.
        flat = torch.cat(
            [net.features(net.transform(held_out.read(part)), "flatten") for part in np.array_split(ids, 6)]
        )
    flat = flat.clone()  # outside inference mode, for the gradients below
    return flat, held_out, ids, labels, net, run, store


@app.cell
def _(flat, labels, mo, net, thinned, torch):
    with torch.inference_mode():
        testing = torch.softmax(net.fc8(0.5 * thinned.fc7_of(net, flat, 0.5)), 1)
    nearest = int((testing[torch.arange(len(labels)), labels] - 0.5).abs().argmin())
    number = mo.ui.slider(0, len(labels) - 1, value=nearest, label="picture / 圖片", show_value=True)
    n = mo.ui.slider(1, 12, value=10, label="n", show_value=True)
    mo.hstack([number, n], justify="start", wrap=True)
    return n, number, testing


@app.cell
def _(flat, held_out, ids, labels, n, net, number, page, run, thinned, torch):
    with torch.inference_mode():
        units = thinned.fc7_of(net, flat[number.value : number.value + 1], 0.5)[0]
        each, halved = thinned.every_mask(units, net.fc8.weight, net.fc8.bias, n.value)
        each, halved = torch.softmax(each, 1), torch.softmax(halved, 0)
    values = {
        "arithmetic mean of all thinned nets": each.mean(0),
        "geometric mean": thinned.geometric(each),
        "all units, halved: testing": halved,
    }
    edge, size = net.transform.margin // 2, net.transform.size
    view = held_out.read(ids[[number.value]])[0, edge : edge + size, edge : edge + size]
    page.picture(
        thinned.means(view, int(labels[number.value]), values, list(run.classes)),
        "exact-picture",
        n=n.value,
        many=f"{2**n.value:,}",
        geometric=f"{100 * float((thinned.geometric(each) - halved).abs().max()):.3f}",
        arithmetic=f"{100 * float((each.mean(0) - halved).abs().max()):.3f}",
    )
    return


@app.cell
def _(page):
    page.say("many")
    return


@app.cell
def _(flat, labels, net, short, thinned, torch):
    with torch.inference_mode():
        by_net = thinned.thinned_predictions(net, flat, 8 if short else 64)
    curves = {
        "arithmetic": [thinned.nats(by_net[:m].mean(0), labels) for m in range(1, len(by_net) + 1)],
        "geometric": [thinned.nats(thinned.geometric(by_net[:m]), labels) for m in range(1, len(by_net) + 1)],
    }
    return by_net, curves


@app.cell
def _(by_net, mo):
    nets = mo.ui.slider(1, len(by_net), value=8, label="thinned nets / 稀疏網路", show_value=True)
    nets
    return (nets,)


@app.cell
def _(by_net, curves, labels, nets, page, testing, thinned):
    def error(probabilities):
        return f"{100 * float((probabilities.argmax(-1) != labels).float().mean()):.1f}"

    page.picture(
        thinned.against_nets(curves, thinned.nats(testing, labels), nets.value),
        "many-picture",
        nets=nets.value,
        pictures=len(labels),
        all=len(by_net),
        one=error(by_net),
        arithmetic=error(by_net[: nets.value].mean(0)),
        geometric=error(thinned.geometric(by_net[: nets.value])),
        testing=error(testing),
        testing_loss=f"{thinned.nats(testing, labels):.2f}",
        arithmetic_loss=f"{curves['arithmetic'][nets.value - 1]:.2f}",
        geometric_loss=f"{curves['geometric'][nets.value - 1]:.2f}",
    )
    return


@app.cell
def _(page):
    page.say("gradient")
    return


@app.cell
def _(mo):
    batch = mo.ui.slider(
        steps=[1, 2, 4, 8, 16, 32, 64], value=1, label="pictures in the batch / 批次的圖片數", show_value=True
    )
    batch
    return (batch,)


@app.cell
def _(batch, flat, labels, net, page, thinned):
    slope = thinned.gradient(net, flat[: batch.value], labels[: batch.value])
    page.picture(
        thinned.zeros(slope),
        "gradient-picture",
        batch=batch.value,
        zero=f"{100 * float((slope == 0).float().mean()):.0f}",
        weights=f"{slope.numel():,}",
    )
    return


@app.cell
def _(page, run, short):
    few_pictures = (2 if short else 12) * len(run.classes)
    page.say("training", few=few_pictures)
    return (few_pictures,)


@app.cell
def _(alexnet, few_pictures, mo, run, short, store, tempfile):
    few = store.subset(pictures=few_pictures)
    logs = {}
    with mo.status.spinner(title="alexnet.train"), tempfile.TemporaryDirectory() as folder:
        for share in (0.5, 0.0):
            recipe = run.recipe.replace(epochs=1 if short else 24, net={"dropout": share})
            alexnet.train(few, f"{folder}/{share}", recipe, quiet=True)
            logs[f"p = {share:g}"] = alexnet.Run(f"{folder}/{share}").log
    return (logs,)


@app.cell
def _(logs, page, plots):
    def gap(line):
        return round(100 * line["top1"]) - round(100 * line["train_error"])  # of the numbers that are shown

    dropped, whole = ([line for line in log if line["kind"] == "epoch"] for log in logs.values())
    half = whole[(len(whole) - 1) // 2]
    page.picture(
        plots.curves_of_two(logs),
        "training-picture",
        epochs=len(dropped),
        dropped=f"{100 * dropped[-1]['train_error']:.0f}",
        whole=f"{100 * whole[-1]['train_error']:.0f}",
        dropped_validation=f"{100 * dropped[-1]['top1']:.0f}",
        whole_validation=f"{100 * whole[-1]['top1']:.0f}",
        half=half["epoch"],
        half_whole=f"{100 * half['train_error']:.0f}",
        gap=gap(dropped[-1]),
        gap_whole=gap(whole[-1]),
    )
    return


@app.cell
def _(page):
    page.say("slides")
    return


@app.cell
def _(RECIPES, page):
    hidden_units = RECIPES["paper"].net.hidden
    page.questions(
        hidden=f"{hidden_units:,}",
        both=f"{2 * hidden_units:,}",
        digits=f"{len(str(2 ** (2 * hidden_units))):,}",
        drawn=round(90 * 1.2),
    )
    return


@app.cell
def _(page):
    page.finish()
    return


if __name__ == "__main__":
    app.run()
