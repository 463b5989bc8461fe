"""Views and colour: crops, mirrors, ten views, and noise along the principal components (section 4.1 of the paper)."""

import marimo

app = marimo.App(width="medium", app_title="7. Views and colour")


@app.cell
def _():
    import marimo as mo
    import numpy as np
    import torch

    from alexnet.config.recipes import RECIPES
    from alexnet.data.transforms import make_transform
    from alexnet.figures.views_and_dropout import chances, place_in_words
    from alexnet.ops.reference import colour_shift
    from coursekit import views
    from coursekit.demo_run import demo_run
    from coursekit.page import Page, language_switch

    return (
        Page,
        RECIPES,
        chances,
        colour_shift,
        demo_run,
        language_switch,
        make_transform,
        mo,
        np,
        place_in_words,
        torch,
        views,
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
    page = Page("07_views_and_colour", switch.value)
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
    transform = net.transform
    return held_out, net, run, store, transform


@app.cell
def _(held_out, net, np, short, torch):
    # Among some held-out pictures, the one whose class is nearest to 50 % probable shows most.
    some = np.arange(0, len(held_out), 37 if short else 7)
    with torch.inference_mode():
        probabilities = torch.softmax(net(net.transform(held_out.read(some))), 1)
    true = probabilities[torch.arange(len(some)), torch.from_numpy(held_out.labels[some])]
    unsure = int(some[int((true - 0.5).abs().argmin())])
    return (unsure,)


@app.cell
def _(held_out, mo, transform, unsure):
    number = mo.ui.slider(0, len(held_out) - 1, value=unsure, label="picture / 圖片", show_value=True)
    top = mo.ui.slider(0, transform.margin, value=4, label="first line / 第一列", show_value=True)
    left = mo.ui.slider(0, transform.margin, value=28, label="first column / 第一行", show_value=True)
    mirror = mo.ui.dropdown({"no": False, "yes": True}, value="yes", label="mirrored / 鏡像")
    mo.hstack([number, top, left, mirror], justify="start", wrap=True)
    return left, mirror, number, top


@app.cell
def _(held_out, number):
    pictures = held_out.read([number.value])
    return (pictures,)


@app.cell
def _(left, mirror, page, pictures, top, transform, views):
    view = transform.crops_at(transform.batch(pictures), [(top.value, left.value, mirror.value)])[0]
    pixels = views.pixels_of(view, transform)[0]
    page.picture(
        views.framed(pictures[0], pixels, view[0], top.value, left.value),
        "framed",
        side=transform.side,
        size=transform.size,
        places=transform.margin + 1,
        count=f"{2 * (transform.margin + 1) ** 2:,}",
    )
    return


@app.cell
def _(page):
    page.say("draws")
    return


@app.cell
def _(mo):
    epoch = mo.ui.slider(0, 80, step=8, value=0, label="first epoch / 第一個週期", show_value=True)
    noise = mo.ui.dropdown({"off": False, "on": True}, value="on", label="colour noise / 顏色雜訊")
    mo.hstack([epoch, noise], justify="start", wrap=True)
    return epoch, noise


@app.cell
def _(epoch, noise, number, page, pictures, run, torch, transform, views):
    seen = [
        transform.augment(
            transform.batch(pictures),
            torch.tensor([number.value]),
            seed=run.recipe.seed,
            epoch=at,
            colour=noise.value,
        )
        for at in range(epoch.value, epoch.value + 8)
    ]
    shown = views.pixels_of(torch.cat(seen), transform, transform.views.colour if noise.value else 0.0)
    page.picture(views.draws(shown, epoch.value), "draws-picture", first=epoch.value, last=epoch.value + 7)
    return


@app.cell
def _(page):
    page.say("ten")
    return


@app.cell
def _(chances, held_out, net, number, page, pictures, place_in_words, run, torch, transform):
    label = int(held_out.labels[number.value])
    with torch.inference_mode():
        ten = torch.softmax(net(transform.ten_crop(pictures).flatten(0, 1)), 1)[:, label]
    names = [place_in_words(*where, transform.margin) for where in transform.places()]
    page.picture(
        chances(pictures[0], run.classes[label], list(zip(names, ten.tolist(), strict=True)), [], float(ten[2])),
        "ten-picture",
        least=f"{100 * float(ten.min()):.0f}",
        most=f"{100 * float(ten.max()):.0f}",
        mean=f"{100 * float(ten.mean()):.0f}",
    )
    return


@app.cell
def _(page):
    page.say("colour")
    return


@app.cell
def _(np, page, store, transform, views):
    rng = np.random.default_rng(0)
    train = store["train"]
    colours = train.read(np.arange(0, len(train), max(1, len(train) // 100))).reshape(-1, 3)
    points = colours[rng.choice(len(colours), 3000, replace=False)]
    deviations = np.sqrt(store.eigenvalues)
    page.picture(
        views.cloud(points, store.mean.mean((0, 1)), transform.components.numpy()),
        "cloud",
        pictures=f"{len(train):,}",
        first=f"{deviations[0]:.1f}",
        second=f"{deviations[1]:.1f}",
        third=f"{deviations[2]:.1f}",
        share=f"{100 * store.eigenvalues[0] / store.eigenvalues.sum():.0f}",
    )
    return


@app.cell
def _(page):
    page.say("shift")
    return


@app.cell
def _(mo):
    alphas = [
        mo.ui.slider(-0.3, 0.3, step=0.02, value=value, label=f"alpha {at}", show_value=True)
        for at, value in ((1, 0.1), (2, -0.2), (3, 0.0))
    ]
    first_alpha, second_alpha, third_alpha = alphas
    scale = mo.ui.dropdown(
        {"square root of the eigenvalue": "deviation", "eigenvalue": "eigenvalue"},
        value="square root of the eigenvalue",
        label="length / 長度",
    )
    mo.hstack([first_alpha, second_alpha, third_alpha, scale], justify="start", wrap=True)
    return first_alpha, scale, second_alpha, third_alpha


@app.cell
def _(
    colour_shift,
    first_alpha,
    make_transform,
    page,
    pictures,
    run,
    scale,
    second_alpha,
    store,
    third_alpha,
    torch,
    views,
):
    def components_of(length):
        recipe = run.recipe.replace(views={"colour_scale": length})
        statistics = (torch.from_numpy(each) for each in (store.mean, store.eigenvalues, store.eigenvectors))
        return make_transform(recipe, *statistics).components

    alpha = torch.tensor([[first_alpha.value, second_alpha.value, third_alpha.value]])
    shift = colour_shift(alpha, components_of(scale.value))[0].numpy()
    figure, lost = views.recoloured(pictures[0], shift)
    page.picture(figure, "shift-picture", lost=f"{100 * lost:.0f}")
    return (components_of,)


@app.cell
def _(page):
    page.say("slides")
    return


@app.cell
def _(RECIPES, components_of, page, transform):
    paper = RECIPES["paper"]
    margin, size = 256 - paper.net.image_size, paper.net.image_size
    # alpha has deviation 0.1, so a colour shifts by 0.1 times the length of its row of the components.
    spread = {
        length: (0.1 * components_of(length).square().sum(1).sqrt()).tolist() for length in ("deviation", "eigenvalue")
    }
    page.questions(
        places=margin + 1,
        count=f"{2 * (margin + 1) ** 2:,}",
        shared=f"{100 * (size - margin) ** 2 / size**2:.0f}",
        deviation=", ".join(f"{each:.1f}" for each in spread["deviation"]),
        eigenvalue=", ".join(f"{each:.0f}" for each in spread["eigenvalue"]),
        margin=transform.margin,
    )
    return


@app.cell
def _(page):
    page.finish()
    return


if __name__ == "__main__":
    app.run()
