"""Momentum and the plateau: the update rule, the drops of the rate, and a loss that stays at ln(classes) (5)."""

import marimo

app = marimo.App(width="medium", app_title="9. Momentum and the plateau")


@app.cell
def _():
    import math

    import marimo as mo
    import torch

    import alexnet
    from alexnet.data.loader import training_batches
    from alexnet.data.transforms import make_transform
    from alexnet.models.build import build
    from alexnet.training.diagnostics import LossMonitor
    from alexnet.training.optimizer import Momentum
    from alexnet.training.schedule import LearningRates
    from coursekit import momentum as drawn
    from coursekit.demo_run import small_store
    from coursekit.page import Page, language_switch

    return (
        LearningRates,
        LossMonitor,
        Momentum,
        Page,
        alexnet,
        build,
        drawn,
        language_switch,
        make_transform,
        math,
        mo,
        small_store,
        torch,
        training_batches,
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
    page = Page("09_momentum_and_plateau", switch.value)
    page.say("title")
    return (page,)


@app.cell
def _(page):
    page.say("paper")
    return


@app.cell
def _(page):
    page.say("valley")
    return


@app.cell
def _(mo):
    momentum = mo.ui.slider(0, 0.98, step=0.02, value=0.9, label="momentum / 動量", show_value=True)
    rate = mo.ui.slider(0.002, 0.09, step=0.002, value=0.02, label="learning rate / 學習率", show_value=True)
    mo.hstack([momentum, rate], justify="start", wrap=True)
    return momentum, rate


@app.cell
def _(drawn, momentum, page, rate):
    places = drawn.descend(momentum.value, rate.value, 80)
    plain = drawn.descend(0.0, rate.value, 80)
    page.picture(
        drawn.valley(places, plain),
        "valley-picture",
        steps=len(plain) - 1,
        momentum=f"{momentum.value:.2f}",
        rate=f"{rate.value:.3f}",
        loss=f"{drawn.heights(places)[-1]:.2g}",
        plain=f"{drawn.heights(plain)[-1]:.2g}",
    )
    return


@app.cell
def _(momentum, page):
    page.say("inside", momentum=f"{momentum.value:.2f}", times=f"{1 / (1 - momentum.value):.1f}")
    return


@app.cell
def _(drawn, momentum, page):
    fall = 30  # the step at which the rate drops
    lengths = drawn.speeds(momentum.value, 0.01, 10, fall, 70)
    after = {name: lengths[name][fall:].sum() for name in lengths}
    page.picture(
        drawn.drop(lengths, fall),
        "drop",
        momentum=f"{momentum.value:.2f}",
        ours=f"{after['section 5']:.3f}",
        theirs=f"{after['torch.optim.SGD']:.3f}",
    )
    return


@app.cell
def _(alexnet, page):
    paper_recipe = alexnet.recipe("paper")
    page.say("schedule", patience=paper_recipe.schedule.patience, epochs=paper_recipe.epochs)
    return (paper_recipe,)


@app.cell
def _(mo, paper_recipe):
    patience = mo.ui.slider(
        1, 15, value=paper_recipe.schedule.patience, label="patience (epochs) / 耐心（週期）", show_value=True
    )
    patience
    return (patience,)


@app.cell
def _(alexnet, drawn, page, paper_recipe, patience):
    errors, rates = drawn.invented_run(paper_recipe.replace(schedule={"patience": patience.value}))
    others = {name: drawn.planned(alexnet.recipe(name)) for name in ("source-145", "source")}
    page.picture(
        drawn.schedules(errors, rates, others),
        "schedule-picture",
        patience=patience.value,
        epochs=len(errors),
        drops=len(set(rates)) - 1,
        error=f"{100 * min(errors):.1f}",
        first=f"{others['source'][0]:g}",
        last=f"{others['source'][-1]:g}",
    )
    return


@app.cell
def _(math, page):
    page.say("plateau", **{f"ln{n}": f"{math.log(n):.3f}" for n in (2, 10, 1000)})
    return


@app.cell
def _(alexnet, short, small_store):
    store = small_store(short)
    # A small net of AlexNet's shape for pictures of 32 pixels; "printed" has the paper's initial weights, std 0.01.
    own = alexnet.recipe("small").replace(net={"classes": len(store.classes)}, sgd={"batch": 32})
    printed = own.replace(net={"std": (0.01,) * 8})
    nets = {
        "raw pixels, own std": own,
        "pixels / 58, own std": own.replace(views={"scale": 1 / 58}),
        "raw pixels, std 0.01": printed,
        "pixels / 58, std 0.01": printed.replace(views={"scale": 1 / 58}),
    }
    return nets, own, store


@app.cell
def _(make_transform, store, torch):
    def views_of(recipe):
        """Make what cuts the views of a recipe from the store's pictures."""
        statistics = (store.mean, store.eigenvalues, store.eigenvectors)
        return make_transform(recipe, *map(torch.from_numpy, statistics))

    return (views_of,)


@app.cell
def _(LearningRates, LossMonitor, Momentum, build, store, torch, training_batches, views_of):
    def train(recipe, steps):
        """Train for some steps at the first rate: section 5 as a loop. Return the losses and what training prints."""
        net, transform, sgd = build(recipe.net, recipe.seed).train(), views_of(recipe), recipe.sgd
        rule, monitor = Momentum(net, sgd), LossMonitor(recipe)
        losses, lines = [], []
        batches = training_batches(
            store["train"], sgd.batch, epochs=steps, seed=recipe.seed, reshuffle=True, first_step=0,
            device=torch.device("cpu"), workers=1,
        )  # fmt: skip
        for batch in batches:
            if batch.step == steps:
                break
            views = transform.augment(batch.images, batch.ids, seed=recipe.seed, epoch=batch.epoch)
            logits = net(views)
            loss = torch.nn.functional.cross_entropy(logits, batch.labels)
            net.zero_grad()
            loss.backward()
            rule.step(LearningRates(sgd.lr, sgd.bias_lr), {name: w.grad for name, w in net.named_parameters()})
            losses.append(loss.item())
            monitor.update(losses[-1])
            lines += monitor.explain(views, logits)
        batches.close()
        return losses, lines

    return (train,)


@app.cell
def _(mo, nets, short, train):
    with mo.status.spinner(title="alexnet"):
        trained = {name: train(recipe, 6 if short else 300) for name, recipe in nets.items()}
    return (trained,)


@app.cell
def _(mo, nets):
    which = mo.ui.dropdown(list(nets), value=list(nets)[-1], label="net / 網路")
    which
    return (which,)


@app.cell
def _(drawn, page, store, trained, which):
    losses_of = {name: losses for name, (losses, _) in trained.items()}
    last = losses_of[which.value][-20:]
    page.picture(
        drawn.loss_curves(losses_of, which.value, len(store.classes), trained[which.value][1]),
        "plateau-picture",
        net=which.value,
        steps=len(losses_of[which.value]),
        loss=f"{sum(last) / len(last):.3f}",
    )
    return (losses_of,)


@app.cell
def _(page):
    page.say("signals")
    return


@app.cell
def _(build, nets, store, torch, views_of):
    few = store["train"].read(list(range(48)))

    @torch.inference_mode()
    def spread(recipe):
        """Measure how much each layer's outputs differ from picture to picture, before training."""
        untrained = build(recipe.net, recipe.seed).eval()
        inputs = views_of(recipe)(few)
        found = {"input": inputs.std(0).mean().item()}
        for layer, output in untrained.walk(inputs):
            if layer in recipe.net.layers:
                found[layer] = output.std(0).mean().item()
        return found

    spreads = {name: spread(recipe) for name, recipe in nets.items()}
    return few, spreads


@app.cell
def _(drawn, page, spreads, which):
    logit = {name: list(of.values())[-1] for name, of in spreads.items()}
    page.picture(
        drawn.signals(spreads, which.value),
        "signals-picture",
        net=which.value,
        input=f"{spreads[which.value]['input']:.3g}",
        logit=f"{logit[which.value]:.1g}",
        best=f"{max(logit.values()):.1g}",
    )
    return


@app.cell
def _(build, few, own, torch, views_of):
    @torch.inference_mode()
    def active(recipe):
        """Measure the share of the units of fc6 and fc7 whose ReLU has a positive input, before training."""
        untrained = build(recipe.net, recipe.seed).eval()
        outputs = [x for name, x in untrained.walk(views_of(recipe)(few)) if name in ("fc6", "fc7")]
        return (torch.cat(outputs, 1) > 0).float().mean().item()

    with_ones, without = active(own), active(own.replace(net={"bias_one_layers": ()}))
    return with_ones, without


@app.cell
def _(page):
    page.say("slides")
    return


@app.cell
def _(math, page, paper_recipe, with_ones, without):
    steps_of_epoch = 1_200_000 // paper_recipe.sgd.batch
    shrink = paper_recipe.sgd.weight_decay * paper_recipe.sgd.lr / (1 - paper_recipe.sgd.momentum)
    page.questions(
        steps=f"{steps_of_epoch:,}",
        shrink=f"{shrink:.0e}",
        left=f"{100 * math.exp(-shrink * steps_of_epoch):.0f}",
        ln2=f"{math.log(2):.3f}",
        with_ones=f"{100 * with_ones:.0f}",
        without=f"{100 * without:.0f}",
    )
    return


@app.cell
def _(page):
    page.finish()
    return


if __name__ == "__main__":
    app.run()
