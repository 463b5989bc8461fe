"""Response normalisation by slider, and the slip in the slides' formula (section 3.3 of the paper)."""

import marimo

app = marimo.App(width="medium", app_title="5. Response normalisation")


@app.cell
def _():
    import marimo as mo
    import torch

    from alexnet.config.recipe import LRN
    from alexnet.ops.norm import response_norm
    from coursekit import norms
    from coursekit.demo_run import demo_run
    from coursekit.page import Page, language_switch

    return LRN, Page, demo_run, language_switch, mo, norms, response_norm, torch


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
    page = Page("05_response_norm", switch.value)
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
    return net, pictures, run


@app.cell
def _(mo, pictures):
    number = mo.ui.slider(0, len(pictures) - 1, value=5, label="picture / 圖片", show_value=True)
    n = mo.ui.slider(steps=[1, 3, 5, 7, 9], value=5, label="n", show_value=True)
    k = mo.ui.slider(0.5, 5, step=0.5, value=2, label="k", show_value=True)
    alpha = mo.ui.slider(steps=[0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2], value=1e-4, label="α", show_value=True)
    beta = mo.ui.slider(0, 1.5, step=0.25, value=0.75, label="β", show_value=True)
    mo.vstack([number, mo.hstack([n, k, alpha, beta], justify="start", wrap=True)])
    return alpha, beta, k, n, number


@app.cell
def _(LRN, alpha, beta, k, n, net, norms, number, page, pictures, response_norm):
    norm = LRN(n=n.value, k=k.value, alpha=alpha.value, beta=beta.value)
    activities, place = norms.strongest(net, pictures, number.value)
    normalised = response_norm(activities, norm, net.net.towers)
    page.picture(
        norms.before_and_after(
            norms.window(net, pictures, number.value, place), activities, normalised, norm, net.net.towers
        ),
        "norm-picture",
        n=norm.n,
        k=f"{norm.k:g}",
        alpha=f"{norm.alpha:g}",
        beta=f"{norm.beta:g}",
        place=f"({place[0]}, {place[1]})",
        maps=activities.shape[1] // net.net.towers,
    )
    return (norm,)


@app.cell
def _(page):
    page.say("neighbour")
    return


@app.cell
def _(mo):
    own = mo.ui.slider(20, 400, step=20, value=200, label="a of the unit itself / 單元本身的 a", show_value=True)
    own
    return (own,)


@app.cell
def _(norm, norms, own, page):
    right, slip = norms.beside_a_neighbour(own.value, norm)
    page.picture(
        norms.neighbour(own.value, right, slip),
        "neighbour-picture",
        own=own.value,
        alone=f"{right[0]:.1f}",
        beside=f"{right[-1]:.1f}",
        most=f"{norms.MOST:g}",
    )
    return


@app.cell
def _(page):
    page.say("net")
    return


@app.cell
def _(net, norms, page, pictures, run):
    errors = {words: norms.error(net, pictures, on) for words, on in norms.SWITCHES.items()}
    page.picture(
        norms.switched(errors),
        "net-picture",
        pictures=len(pictures),
        **{
            name: f"{100 * error:.1f}"
            for name, error in zip(("both", "second", "first", "off"), errors.values(), strict=True)
        },
        recipe=run.name,
        wrong=round(len(pictures) * errors["both norms on"]),
        wrong_off=round(len(pictures) * errors["both off"]),
    )
    return


@app.cell
def _(page):
    page.say("slides")
    return


@app.cell
def _(LRN, page, response_norm, torch):
    maps = torch.rand(1, 16, 3, 3, generator=torch.Generator().manual_seed(0)) * 300
    of_torch = torch.nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)(maps)
    printed = response_norm(maps, LRN(), 1)
    page.questions(
        code=f"{(of_torch - response_norm(maps, LRN(divide_alpha_by_n=True), 1)).abs().max():.0e}",
        printed=f"{printed.mean():.0f}",
        torch=f"{of_torch.mean():.0f}",
        largest=f"{float(maps.max()):.0f}",
        scale=f"{2**-0.75:.3f}",
    )
    return


@app.cell
def _(page):
    page.finish()
    return


if __name__ == "__main__":
    app.run()
