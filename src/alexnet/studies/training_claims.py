"""The claims about training and testing (sections 4 to 6): views, dropout, the update rule and averaged nets."""

from alexnet.config.recipe import Late, Steps
from alexnet.studies import arms
from alexnet.studies.claim import Claim, Expect, TableRow, with_top5

# In a search over two epochs of CIFAR-10, held-out error with one view was: 1 71.2 %, 3 64.0, 10 59.2, 30 59.0.
TIMES_STILL = (1, 3, 10, 30)
PRETRAINED = (
    "Each CNN* is trained on the store of --pretrain-on, and then on this one as net 146-2012-2011 was: the weights' "
    "rate a tenth, conv1's a hundredth, that of the fresh fc8 the full one, and the biases' uncut; conv1 frozen at 7 "
    "of 54 epochs and the colour noise off at 38. Then the base recipe's rates fall; 2012 turned them by hand, fc8's "
    "from its 300th batch to epoch 9, and slowed conv1 at 5.",
    "2012's net had a longer line: net 145 on ILSVRC-2012, then ImageNet of autumn 2009, then of autumn 2011, then "
    "ILSVRC-2012 again; of each only the convolutions went on, and fc6 and fc7 in the last step. Here there is one "
    "store before.",
)
EQUAL_SHARES = (
    "The 2012 code's avg-valid.py searches the nets' coefficients on the validation set unless they are given, and the "
    "five were probably the five different nets that the release logs (120, 131, 135, 137, 145). Here they are nets of "
    "one recipe and different seeds, in equal shares: less diverse, so less is to be expected."
)

# fmt: off
TRAINING = (
    Claim(
        "crops", "4.1",
        "Without this scheme, our network suffers from substantial overfitting, which would have forced us to use much "
        "smaller networks.",
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
            "Judged is the error with the central view, which both nets know. Of ten views the net of the "
            "centre has seen one.",
            "Both arms draw a crop for each picture, where the 2012 code draws one for 32.",
        ),
    ),
    Claim(
        "colour", "4.1",
        "This scheme reduces the top-1 error rate by over 1%.",
        paper="over 1 point", log="not in the release",
        arms={"colour noise": {"views": {"colour": 0.1}}, "none": {"views": {"colour": 0.0}}}, ground="B", seeds=10,
        expects=(
            Expect("none", "colour noise", "top1", paper=0.01),
            Expect("none", "colour noise", "nats", judged=False),
        ),
        notes=("The noise ends late in the run, as in 2012.",),
    ),
    Claim(
        "ten-views", "4.1, 6",
        "The error rates without averaging predictions over ten patches as described in Section 4.1 are 39.0% and "
        "18.3%.",
        paper="1.5 / 1.3 points (37.5 / 17.0 with them, ILSVRC-2010)",
        log="1.55 / 1.30 points (37.47 / 17.00 from 39.02 / 18.30, ILSVRC-2010)", room=True,
        arms={"net": {}}, seeds=12, margin=0.0075,
        expects=(
            Expect("net", "net", "one_top1", smaller_measure="top1", paper=0.015, log=0.0155),
            Expect("net", "net", "one_top5", smaller_measure="top5", paper=0.013, log=0.0130, judged=False),
        ),
        notes=("The same nets are evaluated twice: nothing else differs.",),
    ),
    Claim(
        "dropout", "4.2",
        "Without dropout, our network exhibits substantial overfitting. Dropout roughly doubles the number of "
        "iterations required to converge.",
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
            "The held-out error is judged. A gap alone does not measure overfitting, as whatever hinders the fit "
            "narrows it: that gap stands beside at an equal training error.",
            "fc6 and fc7 are four times as wide as the ground's, so that the net without dropout overfits; fc7 and fc8 "
            "begin with weights half as large, and pass on as much.",
            "When an error settles depends on when the rate falls, which is at the same epochs for both arms: the "
            "ratio is shown and not judged.",
        ),
    ),
    Claim(
        "init", "5",
        "This initialization accelerates the early stages of learning by providing the ReLUs with positive inputs.",
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
            "Raw pixels are 0 to 255 minus the mean, unit ones 1/58 of that; own std is the base recipe's. The printed "
            "0.01 with unit pixels is the plateau on which re-implementations sit.",
            "Measured is the loss in training, in nats, over the first epoch, at the first rate throughout.",
        ),
    ),
    Claim(
        "decay", "5",
        "In other words, weight decay here is not merely a regularizer: it reduces the model's training error.",
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
            "What decay can do grows with the sum of rate times decay over the run: 1.41 in 2012. Ground B's 18,840 "
            "steps at a constant rate of 0.004 come to 0.037 with the paper's decay of 0.0005, to 0.37 with ten times "
            "that and to 1.5 with forty times. By itself the paper's decay takes a third off a weight there (momentum "
            "counts ten times), where in 2012 it left nothing of the initial ones: so the larger decays stand beside.",
        ),
    ),
    Claim(
        "momentum", "5; slides",
        "We trained our models using stochastic gradient descent with ... momentum of 0.9.",
        paper="none claimed", log="not in the release",
        arms={"momentum": {}} | {f"none, rates x {k}": arms.unhurried(k) for k in TIMES_STILL},
        tune={"none": tuple(f"none, rates x {k}" for k in TIMES_STILL)},
        adjust={"epochs": 5},
        expects=(Expect("none", "momentum", "top1"),),
        notes=(
            "Momentum of 0.9 moves a weight ten times as far in the long run. So the net without it has the base's "
            "rates, or 3, 10 or 30 times those, and the best of them counts, chosen on a seed that is not judged.",
        ),
    ),
    Claim(
        "ensemble", "6, table 2",
        "Averaging the predictions of five similar CNNs gives an error rate of 16.4%.",
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
        notes=("Always five nets, and two pre-trained ones, whatever --seeds says.", EQUAL_SHARES, *PRETRAINED),
    ),
)
# fmt: on
