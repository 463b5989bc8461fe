"""The claims about training and testing (sections 4 to 6): views, dropout, the update rule and averaged nets."""

from alexnet.config.recipe import Late, Steps
from alexnet.studies import arms
from alexnet.studies.claim import Claim, Expect, TableRow, with_top5

# Factors on the learning rates of the nets without momentum. A search over two epochs of CIFAR-10 gave these held-out
# errors with one view: 71.2 % at 1, 64.0 at 3, 59.2 at 10, 59.0 at 30.
TIMES_STILL = (1, 3, 10, 30)
PRETRAINED = (
    "Each CNN* trains on the store of --pretrain-on first, and then on this one, as net 146-2012-2011 did. In the "
    "second training the weights' learning rate is a tenth of the base's, in conv1 a hundredth, and in the new fc8 the "
    "full rate; the biases keep their rate. conv1 is frozen at epoch 7 of 54, and the colour noise ends at epoch 38. "
    "The rates fall as in the base recipe. In 2012 they were set by hand: fc8's from its 300th batch to epoch 9, and "
    "conv1 was slowed at epoch 5.",
    "The net of 2012 had a longer history: net 145 on ILSVRC-2012, then ImageNet of autumn 2009, then of autumn 2011, "
    "then ILSVRC-2012 again. Each step kept only the convolutions of the step before; the last one also kept fc6 and "
    "fc7. Here there is only one step before.",
)
EQUAL_SHARES = (
    "Unless it is given the nets' coefficients, avg-valid.py of the 2012 code searches for them on the validation set. "
    "Its five nets were probably the five different ones whose logs are in the release (120, 131, 135, 137, 145). Here "
    "the five nets share one recipe, differ only in their seeds and count equally. They are less diverse, so expect a "
    "smaller gain."
)

# fmt: off
TRAINING = (
    Claim(
        "crops", "4.1",
        "Without this scheme, our network suffers from substantial overfitting, which would have forced us to use much "
        "smaller networks.",
        plain="A net that trains on random crops and mirror images errs less than one that sees the centre alone.",
        paper="substantial", log="not in the release", room=True, ground="B",
        arms={
            "crops and mirrors": {"views": {"crops": True, "mirror": True, "pictures_per_crop": 1}},
            "centre alone": {"views": arms.CENTRE | {"pictures_per_crop": 1}},
        },
        expects=(
            Expect("centre alone", "crops and mirrors", "one_top1"),
            Expect("centre alone", "crops and mirrors", "even_gap", judged=False),
            Expect("centre alone", "crops and mirrors", "top1", judged=False),
            Expect("centre alone", "crops and mirrors", "nats", judged=False),
        ),
        notes=(
            "The verdict is about the error with the central view, which is among the training views of both nets. Of "
            "the ten views, the net trained on the centre alone has seen only one.",
            "Both arms draw a new crop for each picture; the 2012 code draws one crop for 32 pictures.",
        ),
    ),
    Claim(
        "colour", "4.1",
        "This scheme reduces the top-1 error rate by over 1%.",
        plain="A net that trains with colour noise errs less.",
        paper="over 1 point", log="not in the release",
        arms={"colour noise": {"views": {"colour": 0.1}}, "none": {"views": {"colour": 0.0}}}, ground="B", seeds=10,
        expects=(
            Expect("none", "colour noise", "top1", paper=0.01),
            Expect("none", "colour noise", "nats", judged=False),
        ),
        notes=("The noise is turned off late in the run, as in 2012.",),
    ),
    Claim(
        "ten-views", "4.1, 6",
        "The error rates without averaging predictions over ten patches as described in Section 4.1 are 39.0% and "
        "18.3%.",
        plain="The average over ten views errs less than the central view alone.",
        paper="1.5 / 1.3 points (37.5 / 17.0 with them, ILSVRC-2010)",
        log="1.55 / 1.30 points (37.47 / 17.00 from 39.02 / 18.30, ILSVRC-2010)", room=True,
        arms={"net": {}}, seeds=12, margin=0.0075,
        expects=(
            Expect("net", "net", "one_top1", smaller_measure="top1", paper=0.015, log=0.0155),
            Expect("net", "net", "one_top5", smaller_measure="top5", paper=0.013, log=0.0130, judged=False),
        ),
        notes=("The same nets are evaluated with one view and with ten; nothing else differs.",),
    ),
    Claim(
        "dropout", "4.2",
        "Without dropout, our network exhibits substantial overfitting. Dropout roughly doubles the number of "
        "iterations required to converge.",
        plain="With dropout a net that overfits errs less.",
        paper="substantial; 2 times the iterations", log="not in the release", shape=True, ground="B",
        arms={"dropout": {"net": {"dropout": 0.5}}, "none": {"net": {"dropout": 0.0}}},
        adjust=arms.wider_hidden, seeds=6,
        expects=(
            Expect("none", "dropout", "top1"),
            Expect("none", "dropout", "nats", judged=False),
            Expect("none", "dropout", "even_gap", judged=False),
            Expect("dropout", "none", "settled", paper=2.0, ratio=True, judged=False),
        ),
        notes=(
            "The verdict is about the held-out error. The gap between training and held-out error does not measure "
            "overfitting by itself, because anything that hinders the fit also narrows it. So the gap is shown at "
            "equal training error, and not judged.",
            "fc6 and fc7 are four times as wide as in the base recipe, so that the net without dropout overfits. fc7 "
            "and fc8 start with weights half as large, which keeps the size of their outputs.",
            "The epoch at which the error settles depends on when the learning rate falls, and that is the same in "
            "both arms. So the ratio of these epochs is shown and not judged.",
        ),
    ),
    Claim(
        "init", "5",
        "This initialization accelerates the early stages of learning by providing the ReLUs with positive inputs.",
        plain="With biases of 1 the loss falls faster in the first epoch.",
        paper="no number", log="std 0.03 in conv3 to conv5 where the paper prints 0.01", shape=True,
        arms={
            f"{pixels}, {std}, biases of {biases}": arms.started(weights, ones, scale)
            for pixels, scale in (("raw", 1.0), ("unit", 1 / 58))
            for std, weights in (("own std", None), ("0.01", arms.PRINTED))
            for biases, ones in (("one", arms.ONES), ("zero", ()))
        },
        adjust={"epochs": 1, "schedule": Steps(), "late": Late()}, margin=0.02,
        expects=(
            Expect("raw, own std, biases of zero", "raw, own std, biases of one", "early"),
            Expect("raw, 0.01, biases of zero", "raw, 0.01, biases of one", "early", judged=False),
            Expect("raw, 0.01, biases of one", "raw, own std, biases of one", "early", judged=False),
            Expect("unit, own std, biases of one", "raw, own std, biases of one", "early", judged=False),
            Expect("unit, 0.01, biases of one", "raw, 0.01, biases of one", "early", judged=False),
        ),
        notes=(
            "Raw pixels are 0 to 255 minus the mean; unit pixels are 1/58 of that. Own std is the base recipe's. The "
            "printed std of 0.01 with unit pixels gives the plateau on which re-implementations get stuck.",
            "The measure is the training loss over the first epoch, in nats. The learning rate stays at its first "
            "value throughout.",
        ),
    ),
    Claim(
        "decay", "5",
        "In other words, weight decay here is not merely a regularizer: it reduces the model's training error.",
        plain="Weight decay lowers the training loss.",
        paper="no number", log="not in the release", ground="B",
        arms={
            "decay": {}, "none": arms.decayed(0), "decay x 10": arms.decayed(10), "decay x 40": arms.decayed(40),
        },
        adjust={"schedule": {"milestones": (), "bias_milestones": ()}, "late": Late()}, seeds=8, margin=0.02,
        expects=(
            Expect("none", "decay", "train_nats"),
            Expect("none", "decay", "train", judged=False),
            Expect("none", "decay", "top1", judged=False),
            Expect("none", "decay x 10", "train_nats", judged=False),
            Expect("none", "decay x 40", "train_nats", judged=False),
            Expect("none", "decay x 10", "top1", judged=False),
            Expect("none", "decay x 40", "top1", judged=False),
        ),
        notes=(
            "The effect of weight decay grows with the sum of learning rate times decay over the run, which was 1.41 "
            "in 2012. Ground B takes 18,840 steps at a constant rate of 0.004. Its sum is 0.037 with the paper's decay "
            "of 0.0005, 0.37 with ten times that, and 1.5 with forty times. Momentum multiplies the effect by ten, so "
            "the paper's decay alone shrinks a weight by a third here; in 2012 it left nothing of the initial weights. "
            "The larger decays are shown for this reason.",
        ),
    ),
    Claim(
        "momentum", "5; slides",
        "We trained our models using stochastic gradient descent with ... momentum of 0.9.",
        plain="With momentum a net errs less after as many epochs.",
        paper="none claimed", log="not in the release",
        arms={"momentum": {}} | {f"none, rates x {k}": arms.unhurried(k) for k in TIMES_STILL},
        tune={"none": tuple(f"none, rates x {k}" for k in TIMES_STILL)},
        adjust={"epochs": 5},
        expects=(Expect("none", "momentum", "top1"),),
        notes=(
            "In the long run, momentum of 0.9 moves a weight ten times as far. So the net without momentum tries the "
            "base's learning rates and 3, 10 and 30 times these, and the best one counts. It is chosen on a seed that "
            "is not part of the verdict.",
        ),
    ),
    Claim(
        "ensemble", "6, table 2",
        "Averaging the predictions of five similar CNNs gives an error rate of 16.4%.",
        plain="Five nets averaged err less than one.",
        paper="2.6 / 1.8 points (40.7 / 18.2 to 38.1 / 16.4)",
        log="single nets 40.66 to 41.07 / 18.21 to 18.71; the average itself is not logged",
        arms={"net": {}}, seeds=10, margin=0.013,
        expects=(
            Expect("net", "net", "top1", smaller_measure="ensemble_top1", paper=0.026),
            Expect("net", "net", "top5", smaller_measure="ensemble_top5", paper=0.018, judged=False),
        ),
        notes=(EQUAL_SHARES,),
    ),
    Claim(
        "pretrain", "6, table 2",
        "Training one CNN, with an extra sixth convolutional layer over the last pooling layer, to classify the entire "
        "ImageNet Fall 2011 release (15M images, 22K categories), and then “fine-tuning” it on ILSVRC-2012 gives an "
        "error rate of 16.6%.",
        plain="A net that trains on more classes first, and is then fine-tuned, errs less.",
        paper="1.7 / 1.6 points (40.7 / 18.2 to 39.0 / 16.6)",
        log="1.67 / 1.59 points (net 146-2012-2011: 38.99 / 16.62)", shape=True,
        arms={"CNN": {}, "six convolutions": arms.six, "CNN*": arms.tuned}, first={"CNN*": arms.six}, margin=0.0085,
        expects=(
            *with_top5("CNN", "CNN*", (0.017, 0.016), (0.0167, 0.0159)),
            Expect("six convolutions", "CNN*", "top1", judged=False),
        ),
        notes=PRETRAINED,
    ),
    Claim(
        "table-2", "6, table 2",
        "Averaging the predictions of two CNNs that were pre-trained on the entire Fall 2011 release with the "
        "aforementioned five CNNs gives an error rate of 15.3%.",
        plain="Of the nets of table 2, five averaged err less than one.",
        paper="40.7 / 18.2; 38.1 / 16.4; 39.0 / 16.6; 36.7 / 15.4 (1 CNN, 5 CNNs, 1 CNN*, 7 CNNs*)",
        log="40.66 / 18.21 (net 145) and 38.99 / 16.62 (net 146-2012-2011); averages are not logged",
        shape=True,
        arms={"CNN": {}, "CNN*": arms.tuned}, first={"CNN*": arms.six}, margin=0.013,
        expects=(
            Expect("CNN", "CNN", "top1", smaller_measure="ensemble_top1", paper=0.026),
            Expect("CNN", "CNN", "top5", smaller_measure="ensemble_top5", paper=0.018, judged=False),
        ),
        rows=(
            TableRow("1 CNN", {"CNN": 1}), TableRow("5 CNNs", {"CNN": 5}), TableRow("1 CNN*", {"CNN*": 1}),
            TableRow("7 CNNs*", {"CNN": 5, "CNN*": 2}),
        ),
        notes=(
            "The table always has five nets and two pre-trained ones, whatever --seeds is.", EQUAL_SHARES, *PRETRAINED,
        ),
    ),
)
# fmt: on
