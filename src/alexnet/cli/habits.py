"""Options that other tools have, and what to write here instead."""

from collections.abc import Sequence

from cyclopts.exceptions import UnknownOptionError

from alexnet.core.text import shorten

RECIPE_VERBS = ("train", "recipe", "summary")  # they take --set
# Names of an option in other tools -> what to write here, or what to do; {} is the value.
FIELDS = {
    ("lr", "learning-rate", "base-lr"): "--set sgd.lr={} (biases have a rate of their own: --set sgd.bias_lr=...)",
    ("batch-size", "batch", "bs", "b"): "--set sgd.batch={}",
    ("wd", "weight-decay", "decay"): "--set sgd.weight_decay={}",
    ("momentum",): "--set sgd.momentum={}",
    ("dropout", "drop"): "--set net.dropout={}",
    ("activation",): "--set net.activation={}",
    ("label-smoothing", "smoothing"): "--set sgd.label_smoothing={}",
    ("ema", "model-ema", "swa"): "--set sgd.average=0.02, the part of the run over which weights are averaged",
    ("no-flip", "no-mirror"): "--set views.mirror=false",
    ("no-augment", "no-augmentation"): "--set views.crops=false --set views.mirror=false --set views.colour=0",
    ("lr-scheduler", "scheduler", "lr-schedule"): "--set with a field of schedule; alexnet recipe lists them",
}
OPTIONS = {
    "train": {
        ("num-epochs", "n-epochs", "max-epochs", "e"): "--epochs {}",
        ("num-workers", "j"): "--workers {}",
        ("gpu", "gpus", "cuda", "use-cuda"): "--device cuda",
        ("cpu", "no-cuda"): "--device cpu",
        ("amp", "bf16", "mixed-precision"): "--precision bf16",
        ("fp16", "half"): "--precision bf16; float16 would need a scaled loss",
        ("fp32",): "--precision fp32",
        ("model", "arch", "a"): "--recipe {}; alexnet train --help lists the recipes",
        ("config", "cfg"): "--recipe {}",
        ("pretrained", "weights", "finetune", "init-from"): "--from RUN; alexnet import makes a run of other weights",
        (
            "output",
            "output-dir",
            "out",
            "o",
            "save-dir",
            "logdir",
            "run",
        ): "give the folder as the second word: STORE RUN",
        ("data", "data-dir", "dataset", "train-dir"): "give the store as the first word; alexnet prepare makes one",
        ("val-split", "validation-split", "val-fraction"): "choose it when you prepare: alexnet prepare SOURCE STORE "
        "--val-fraction {}",
        ("image-size", "img-size", "imgsz", "size", "side"): "choose it when you prepare: alexnet prepare SOURCE STORE "
        "--side {}",
        ("early-stopping", "early-stop"): "--patience {}",
        ("balanced", "class-weight", "balance"): "--class-weights balanced",
        ("optimizer", "opt", "optim"): "leave it out: every recipe trains by SGD with momentum (section 5)",
        ("grad-accumulation", "gradient-accumulation-steps"): "--accumulate {}",
        ("checkpoint", "ckpt"): "--resume to continue RUN, or --from RUN to start from its weights",
    },
    "prepare": {
        ("size", "image-size", "img-size", "resize"): "--side {}",
        ("val-split", "validation-split", "val", "split"): "--val-fraction {}",
        ("num-workers", "workers", "j", "threads"): "--jobs {}",
        ("exclude", "skip"): "--ignore {}",
        ("output", "out", "o"): "give the store as the second word: SOURCE STORE",
    },
    "predict": {
        ("topk", "top-k", "k"): "--top {}",
        ("tta", "ten-crop"): "--views 10, which is the default",
        ("gpu", "cuda"): "--device cuda",
        ("model", "weights", "checkpoint-path"): "give the run's folder as the first word: RUN PICTURE",
    },
    "evaluate": {
        ("tta", "ten-crop"): "--views 10, which is the default",
        ("gpu", "cuda"): "--device cuda",
        ("model",): "give the run's folder as the second word: STORE RUN",
    },
}


def advice(error: UnknownOptionError, words: Sequence[str]) -> str | None:
    """Say what to write instead of an option that other tools have, or return None.

    Args:
        error: The error for the unknown option.
        words: The command line without the program's name.
    """
    asked = (error.token.keyword or error.token.value).partition("=")[0]
    verb = next((word for word in words if not word.startswith("-")), "")
    known = (FIELDS if verb in RECIPE_VERBS else {}) | OPTIONS.get(verb, {})
    name = asked.lstrip("-").replace("_", "-").lower()
    instead = next((line for names, line in known.items() if name in names), None)
    if instead is None:
        return None
    write = "write " * instead.startswith("-")
    return f"{verb} has no option {shorten(asked)}; {write}{instead.replace('{}', _value(asked, words))}"


def _value(asked: str, words: Sequence[str]) -> str:
    """Find the value that was given to an option: after "=", or as the next word; "..." if there is none."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, given, value = word.partition("=")
        if name == asked:
            value = value if given else following
            return shorten(value) if value and not value.startswith("--") else "..."
    return "..."
