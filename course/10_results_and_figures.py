"""Results: tables 1 and 2, averages of nets, figures 3 and 4, and the verdicts on the paper's claims (section 6)."""

import marimo

app = marimo.App(width="medium", app_title="10. Results and figures 3 and 4")


@app.cell
def _():
    import tempfile

    import marimo as mo
    import numpy as np

    import alexnet
    from alexnet.figures import claims, conv1_kernels, neighbours, top5
    from alexnet.figures.tower_statistics import measured
    from coursekit import results as drawn
    from coursekit.demo_run import demo_run, small_store
    from coursekit.page import Page, language_switch

    return (
        Page,
        alexnet,
        claims,
        conv1_kernels,
        demo_run,
        drawn,
        language_switch,
        measured,
        mo,
        neighbours,
        np,
        small_store,
        tempfile,
        top5,
    )


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
    page = Page("10_results_and_figures", switch.value)
    page.say("title")
    return (page,)


@app.cell
def _(page):
    page.say("paper")
    return


@app.cell
def _(mo):
    table = mo.ui.dropdown({"table 1": 1, "table 2": 2}, value="table 2", label="table / 表")
    table
    return (table,)


@app.cell
def _(drawn, page, table):
    chosen_table = drawn.table(table.value)
    page.picture(drawn.errors_of(chosen_table), "table", number=table.value)
    return


@app.cell
def _(page):
    page.say("average")
    return


@app.cell
def _(alexnet, mo, short, small_store, tempfile):
    small = small_store(short)
    # A narrow net for pictures of 32 pixels, in a quarter of them: five seeds of one recipe.
    narrow = alexnet.recipe("small").replace(
        net={"channels": (12, 32, 48, 48, 32), "hidden": 256, "dropout": 0.0}
        | {"std": (0.022, 0.03, 0.085, 0.085, 0.085, 0.056, 0.04, 0.04)},
        sgd={"batch": 32},
        epochs=1 if short else 24,
    )
    few = small.subset(pictures=60 if short else 300)
    with mo.status.spinner(title="alexnet.train"), tempfile.TemporaryDirectory() as folder:
        found = []
        for seed in range(2 if short else 5):
            alexnet.train(few, f"{folder}/{seed}", narrow.replace(seed=seed), quiet=True)
            found.append(alexnet.evaluate(small, f"{folder}/{seed}"))
    return few, found, small


@app.cell
def _(found, mo):
    count = mo.ui.slider(1, len(found), value=len(found), label="nets averaged / 平均的網路數", show_value=True)
    count
    return (count,)


@app.cell
def _(count, drawn, few, found, np, page):
    each = [result.probabilities for result in found]
    labels = found[0].labels
    page.picture(
        drawn.averages(each, labels, count.value),
        "averages",
        training=len(few["train"]),
        count=count.value,
        of=len(found),
        one=f"{100 * np.mean([result.one_view.top1 for result in found]):.1f}",
        ten=f"{100 * np.mean(drawn.averaged(each, labels, 1)):.1f}",
        error=f"{100 * np.mean(drawn.averaged(each, labels, count.value)):.1f}",
    )
    return


@app.cell
def _(page):
    page.say("figure-3")
    return


@app.cell
def _(demo_run, short):
    run, store = demo_run(short)
    net = run.net()
    return net, run, store


@app.cell
def _(conv1_kernels, measured, net, page):
    weight = net.state_dict()["conv1.weight"].float().numpy()
    towers = measured(weight, net.net.towers)
    page.picture(
        conv1_kernels.kernels(weight, net.net.towers),
        "figure-3-picture",
        kernels=len(weight),
        first=f"{towers.colours[0]:.2f}",
        second=f"{towers.colours[1]:.2f}",
        p=f"{towers.p_colour:.2f}",
    )
    return


@app.cell
def _(page, store):
    page.say("figure-4", pictures=f"{len(store['train']):,}")
    return


@app.cell
def _(mo, store):
    held_out = store[store.held_out]
    apart = len(held_out) // 4  # the split is in the order of classes
    number = mo.ui.slider(0, apart - 1, value=2, label="first picture / 第一張圖片", show_value=True)
    number
    return apart, held_out, number


@app.cell
def _(alexnet, apart, held_out, net, number, page, run, top5):
    shown = [number.value + apart * place for place in range(4)]
    four = held_out.read(shown)
    truths = [run.classes[label] for label in held_out.labels[shown]]
    said = [answer["predictions"] for answer in alexnet.predict(net, list(four))]
    ranked = [[(one["class"], one["probability"]) for one in answer] for answer in said]
    right = sum(truth == answer[0][0] for truth, answer in zip(truths, ranked, strict=True))
    page.picture(top5.top5(four, truths, ranked), "top5", right=right)
    return four, truths


@app.cell
def _(page):
    page.say("near")
    return


@app.cell
def _(mo):
    layer = mo.ui.dropdown(["pool1", "pool5", "relu6", "relu7"], value="relu7", label="layer / 層")
    layer
    return (layer,)


@app.cell
def _(alexnet, four, layer, mo, neighbours, net, np, page, store, truths):
    with mo.status.spinner(title="alexnet.similar"):
        near = [answer["neighbours"] for answer in alexnet.similar(net, store, list(four[:3]), 6, layer=layer.value)]
    ids = np.array([[one["number"] for one in row] for row in near])
    names = [[one["class"] for one in row] for row in near]
    distances = np.array([[one["distance"] for one in row] for row in near])
    there = store["train"].read(ids.ravel()).reshape(*ids.shape, store.side, store.side, 3)
    same = sum(name == truth for row, truth in zip(names, truths[:3], strict=True) for name in row)
    page.picture(
        neighbours.neighbours(four[:3], truths[:3], there, names, distances),
        "near-picture",
        layer=layer.value,
        same=same,
        all=ids.size,
    )
    return


@app.cell
def _(drawn, page, short):
    rows = drawn.judged(short)
    known = drawn.verdicts(rows)
    page.say("claims", records="" if rows else page.words("no-records"), judged=len(rows), claims=len(known))
    return known, rows


@app.cell
def _(claims, page, rows):
    page.picture(claims.draw_claims(rows), "claims-picture")
    return


@app.cell
def _(known, mo):
    claim = mo.ui.dropdown(list(known), value="ensemble", label="claim / 主張")
    claim
    return (claim,)


@app.cell
def _(claim, known, page):
    page.say("claim", name=claim.value, **known[claim.value])
    return


@app.cell
def _(page):
    page.say("slides")
    return


@app.cell
def _(drawn, page):
    before, _, _, _, last = (drawn.percent(row.paper[2]) for row in drawn.table(2).rows)
    page.questions(before=f"{before:.1f}", last=f"{last:.1f}", less=f"{100 * (1 - last / before):.0f}")
    return


@app.cell
def _(page):
    page.finish()
    return


if __name__ == "__main__":
    app.run()
