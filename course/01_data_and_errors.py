"""Data and errors: centred pixels, top-1 and top-5, bias and variance (sections 2 and 6 of the paper)."""

import marimo

app = marimo.App(width="medium", app_title="1. Data and errors")


@app.cell
def _():
    import tempfile

    import marimo as mo

    import alexnet
    from coursekit import plots
    from coursekit.demo_run import demo_run
    from coursekit.page import Page, language_switch

    return Page, alexnet, demo_run, language_switch, mo, plots, tempfile


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
    page = Page("01_data_and_errors", switch.value)
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
    return held_out, run, store


@app.cell
def _(held_out, mo):
    number = mo.ui.slider(0, len(held_out) - 1, value=3, label="picture / 圖片", show_value=True)
    number
    return (number,)


@app.cell
def _(held_out, number, page, plots, store):
    pixels = held_out.read([number.value])[0]
    page.picture(plots.centred(pixels, store.mean), "centred", side=store.side, pictures=f"{len(store['train']):,}")
    return


@app.cell
def _(page, run):
    page.say("errors", few=12 * len(run.classes))
    return


@app.cell
def _(alexnet, mo, run, short, store, tempfile):
    # The recipe of the demo once more, on a tenth of the pictures: a net that errs often enough to show how.
    few_pictures = (2 if short else 12) * len(run.classes)
    few = store.subset(pictures=few_pictures)
    recipe = run.recipe.replace(epochs=1 if short else 60)
    with mo.status.spinner(title="alexnet.train"), tempfile.TemporaryDirectory() as folder:
        alexnet.train(few, f"{folder}/run", recipe, quiet=True)
        few_log = alexnet.Run(f"{folder}/run").log
        few_training = alexnet.evaluate(few, f"{folder}/run", split="train", views=1).errors.top1
        few_result = alexnet.evaluate(store, f"{folder}/run")
    return few_log, few_pictures, few_result, few_training


@app.cell
def _(alexnet, few_pictures, few_result, run, store):
    names = {f"{few_pictures} pictures": few_result, f"{len(store['train']):,} pictures": None}
    results = {name: known or alexnet.evaluate(store, run.folder) for name, known in names.items()}
    return (results,)


@app.cell
def _(mo, results):
    net = mo.ui.dropdown(list(results), value=next(iter(results)), label="net of / 網路")
    k = mo.ui.slider(1, 10, value=5, label="k", show_value=True)
    mo.hstack([net, k], justify="start", wrap=True)
    return k, net


@app.cell
def _(k, net, page, plots, results, run):
    result = results[net.value]
    errors = plots.top_k_errors(result.probabilities, result.labels)
    page.picture(
        plots.top_k(errors, k.value),
        "top-k",
        k=k.value,
        error=f"{100 * errors[k.value - 1]:.1f}",
        chance=f"{100 * (1 - k.value / len(run.classes)):.0f}",
        pictures=f"{len(result.labels):,}",
    )
    return


@app.cell
def _(few_pictures, page, store):
    page.say("bias-variance", few=few_pictures, all=f"{len(store['train']):,}")
    return


@app.cell
def _(alexnet, few_log, few_pictures, few_training, page, plots, results, run, store):
    many_training = alexnet.evaluate(store, run.folder, split="train", views=1).errors.top1
    few_validation, many_validation = (each.one_view.top1 for each in results.values())
    page.picture(
        plots.curves_of_two({f"{len(store['train']):,} pictures": run.log, f"{few_pictures} pictures": few_log}),
        "few",
        few=few_pictures,
        few_training=f"{100 * few_training:.1f}",
        few_validation=f"{100 * few_validation:.1f}",
        many_training=f"{100 * many_training:.1f}",
        many_validation=f"{100 * many_validation:.1f}",
    )
    return (few_validation,)


@app.cell
def _(page):
    page.say("diagnosis")
    return


@app.cell
def _(few_training, few_validation, mo):
    training = mo.ui.slider(
        0, 100, value=round(100 * few_training), label="training error (%) / 訓練錯誤率（%）", show_value=True
    )
    validation = mo.ui.slider(
        0, 100, value=round(100 * few_validation), label="validation error (%) / 驗證錯誤率（%）", show_value=True
    )
    mo.hstack([training, validation], justify="start", wrap=True)
    return training, validation


@app.cell
def _(page, plots, run, training, validation):
    page.picture(
        plots.bias_and_variance(training.value / 100, validation.value / 100, len(run.classes)),
        "diagnosis-picture",
        training=training.value,
        validation=validation.value,
        classes=len(run.classes),
    )
    return


@app.cell
def _(page):
    page.say("slides")
    return


@app.cell
def _(page, run):
    page.questions(classes=len(run.classes), chance_ten=f"{100 * (1 - 5 / len(run.classes)):.0f}")
    return


@app.cell
def _(page):
    page.finish()
    return


if __name__ == "__main__":
    app.run()
