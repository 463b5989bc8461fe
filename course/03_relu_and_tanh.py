"""ReLU and tanh: slopes, saturation, and figure 1 on drawn pictures (section 3.1 of the paper)."""

import marimo

app = marimo.App(width="medium", app_title="3. ReLU and tanh")


@app.cell
def _():
    import tempfile

    import marimo as mo

    import alexnet
    from alexnet.figures.relu_tanh import figure_1
    from alexnet.studies.measures import crossing
    from coursekit import activations
    from coursekit.demo_run import small_store
    from coursekit.page import Page, language_switch

    return Page, activations, alexnet, crossing, figure_1, language_switch, mo, small_store, tempfile


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
    page = Page("03_relu_and_tanh", switch.value)
    page.say("title")
    return (page,)


@app.cell
def _(page):
    page.say("paper")
    return


@app.cell
def _(mo):
    x = mo.ui.slider(-4, 4, step=0.1, value=2, label="x", show_value=True)
    x
    return (x,)


@app.cell
def _(activations, page, x):
    values = {name: activations.value_and_slope(name, x.value) for name in activations.NAMES}
    page.picture(
        activations.functions(x.value),
        "functions",
        x=f"{x.value:g}",
        relu=f"{values['relu'][1]:.3f}",
        tanh=f"{values['tanh'][1]:.3f}",
        logistic=f"{values['logistic'][1]:.3f}",
    )
    return


@app.cell
def _(page):
    page.say("depth")
    return


@app.cell
def _(mo):
    layers = mo.ui.slider(1, 12, value=5, label="layers / 層數", show_value=True)
    spread = mo.ui.slider(0.5, 5, step=0.5, value=2, label="spread of the sums / 總和的標準差", show_value=True)
    mo.hstack([layers, spread], justify="start", wrap=True)
    return layers, spread


@app.cell
def _(activations, layers, page, spread):
    left = activations.gradients_left(layers.value, spread.value)
    page.picture(
        activations.depth(layers.value, spread.value),
        "depth-picture",
        layers=layers.value,
        spread=f"{spread.value:g}",
        **{name: f"{left[name][-1]:.2g}" for name in activations.NAMES},
    )
    return


@app.cell
def _(numbers, page):
    page.say(
        "figure-1",
        **{f"{arm}_{name}": f"{value:g}" for arm in ("relu", "tanh") for name, value in numbers[arm].items()},
    )
    return


@app.cell
def _(alexnet):
    # As in figure 1: a small net without regularisation, and for each activation the numbers that train it fast: the
    # best of 2 pairs that were tried for ReLU, and of 6 for tanh.
    base = alexnet.recipe("small").replace(
        net={"dropout": 0.0}, views={"crops": False, "mirror": False, "colour": 0.0}, sgd={"batch": 32}
    )
    numbers = {"relu": {"lr": 0.01, "std": 1}, "tanh": {"lr": 0.02, "std": 2}}

    def recipe_of(activation, lr, std):
        return base.replace(
            net={"activation": activation, "std": tuple(std * each for each in base.net.std)},
            sgd={"lr": lr, "bias_lr": 2 * lr},
        )

    return numbers, recipe_of


@app.cell
def _(alexnet, mo, numbers, recipe_of, short, small_store, tempfile):
    pictures = small_store(short)
    arms = {"relu": ("relu", "relu"), "its own": ("tanh", "tanh"), "those of ReLU": ("tanh", "relu")}
    errors = {}
    for arm, (activation, numbers_of) in arms.items():
        recipe = recipe_of(activation, **numbers[numbers_of]).replace(epochs=1 if short else 12)
        with mo.status.spinner(title=f"alexnet.train: {arm}"), tempfile.TemporaryDirectory() as folder:
            alexnet.train(pictures, f"{folder}/run", recipe, quiet=True)
            curve = [e["train_error"] for e in alexnet.Run(f"{folder}/run").log if e["kind"] == "epoch"]
        errors[arm] = [1 - 1 / len(pictures.classes), *curve]
    return (errors,)


@app.cell
def _(mo):
    tanh_has = mo.ui.dropdown(["its own", "those of ReLU"], value="its own", label="numbers of tanh / tanh 的設定")
    level = mo.ui.slider(5, 80, step=5, value=25, label="training error (%) / 訓練錯誤率（%）", show_value=True)
    mo.hstack([tanh_has, level], justify="start", wrap=True)
    return level, tanh_has


@app.cell
def _(crossing, errors, figure_1, level, page, tanh_has):
    shown = {"relu": errors["relu"], "tanh": errors[tanh_has.value]}
    when = {name: crossing(curve, level.value / 100) for name, curve in shown.items()}
    page.picture(
        figure_1({name: {0: curve} for name, curve in shown.items()}),
        "crossing",
        level=level.value,
        epochs=len(shown["relu"]) - 1,
        ratio=f"{when['tanh'] / when['relu']:.1f}" if when["tanh"] and when["relu"] else "-",
        **{name: f"{epoch:.1f}" if epoch is not None else "-" for name, epoch in when.items()},
    )
    return


@app.cell
def _(page):
    page.say("slides")
    return


@app.cell
def _(activations, page):
    page.questions(slope=f"{activations.value_and_slope('tanh', 2)[1]:.3f}")
    return


@app.cell
def _(page):
    page.finish()
    return


if __name__ == "__main__":
    app.run()
