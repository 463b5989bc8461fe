"""Caffe's files in each way to write them, what their order of layers says, and their means."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.foreign import (
    CAFFE,
    CAFFENET,
    Kind,
    Wire,
    binaryproto,
    blob,
    caffe_views,
    caffemodel,
    chunk,
    forward,
    layer,
    mean_bgr,
    number,
    off,
    single,
    squares,
    weights,
    written,
)

import alexnet
from alexnet.config.recipe import LRN, Net
from alexnet.core.errors import InputError
from alexnet.interop.importing import import_weights
from alexnet.runs.run import Run

W = Wire()
WIRES = {
    "V1": Wire(1, shapes=False),
    "V2": Wire(2),
    "V1, unpacked": Wire(1, shapes=False, packed=False),
    "V2, unpacked": Wire(2, packed=False),
    "doubles": Wire(2, doubles=True),
    "V1, doubles, unpacked": Wire(1, doubles=True, packed=False),
    "the layers without their settings": Wire(1, settings=False),
    "a net for testing, without dropout": Wire(2, dropouts=False),
    "weights alone": Wire(2, listed=False),
    "weights alone, V1": Wire(1, listed=False, settings=False),
}


def placed(folder: Path, kind: Kind, wire: Wire = W, **change: bytes) -> Path:
    """A net and its mean in a folder."""
    written(folder, "mean.binaryproto", binaryproto(mean_bgr(kind)))
    return written(folder, "net.caffemodel", caffemodel(kind, weights(kind), wire, **change))


@pytest.mark.parametrize("name", ["bvlc", "caffenet"])
@pytest.mark.parametrize("wire", WIRES)
def test_every_way_to_write_a_net_gives_the_same_logits(wire: str, name: str, tmp_path: Path) -> None:
    kind, way = {"bvlc": CAFFE, "caffenet": CAFFENET}[name], WIRES[wire]
    file = placed(tmp_path, kind, way)
    if not way.listed:
        with pytest.raises(InputError, match=r"give --as bvlc \(BVLC's AlexNet\) or --as caffenet"):
            import_weights(file, tmp_path / "run")
    found = import_weights(file, tmp_path / "run", kind="auto" if way.listed else name)  # type: ignore[arg-type]
    assert found.kind == name
    net, pictures = alexnet.load(tmp_path / "run"), squares(kind)
    with torch.no_grad():
        logits = net(net.transform(pictures))
    assert off(logits, forward(kind, weights(kind), caffe_views(kind, pictures))[1]) < 1e-5


def test_the_order_of_layers_contradicts_the_kind_that_was_given(tmp_path: Path) -> None:
    for kind, wrong in ((CAFFE, "caffenet"), (CAFFENET, "bvlc")):
        with pytest.raises(InputError, match=f"not of {wrong}; leave out --as {wrong}"):
            import_weights(placed(tmp_path / wrong, kind), tmp_path / "run", kind=wrong)  # type: ignore[arg-type]


def test_numbers_of_norms_pools_and_dropout_are_those_of_the_file(tmp_path: Path) -> None:
    lrn = number(1, 3) + single(2, 3e-4) + single(3, 0.5) + single(5, 2.0)
    change = {f"norm{i}": lrn for i in (1, 2)} | {f"drop{i}": single(1, 0.25) for i in (6, 7)}
    import_weights(placed(tmp_path, CAFFE, W, **change), tmp_path / "run")
    net = Run(tmp_path / "run").recipe.net
    assert isinstance(net, Net)
    assert net.lrn == LRN(3, 2.0, 3e-4, 0.5, divide_alpha_by_n=True, across="all")
    assert (net.dropout, net.dropped) == (0.25, ("fc6", "fc7"))


CONVOLUTION = number(1, 16) + number(4, 3)
CHANGES = {
    "a norm within maps": ({"norm1": number(1, 5) + number(4, 1)}, "layer norm1 normalises within a map"),
    "another norm": ({"norm2": number(1, 3)}, r"norm2 differs from norm1; both norms need the same numbers"),
    "an average": ({"pool2": number(1, 1) + number(2, 3) + number(3, 2)}, "layer pool2 is no maximum over windows"),
    "a pool of another side": ({"pool2": number(2, 2) + number(3, 2)}, "pool2 has side 2 and stride 2; equal sides"),
    "no stride": ({"pool1": number(2, 3)}, "pool1 has side 3 and stride 1"),
    "a padded pool": ({"pool5": number(2, 3) + number(3, 2) + number(4, 1)}, "layer pool5 has zeros at its border"),
    "stride in conv3": ({"conv3": CONVOLUTION + number(3, 1) + number(6, 2)}, "conv3 has stride 2"),
    "groups in conv3": ({"conv3": CONVOLUTION + number(3, 1) + number(5, 4)}, "conv3 has 4 groups"),
    "no groups in conv4": ({"conv4": CONVOLUTION + number(3, 1)}, "conv4 has 1 groups, where AlexNet has 2"),
    "dilation": ({"conv5": CONVOLUTION + number(3, 1) + number(5, 2) + number(18, 2)}, "conv5 has a dilation of 2"),
    "no padding": ({"conv3": CONVOLUTION}, "side 75, less than the 99 pixels of a view"),
    "a padding of conv1 alone": ({"conv1": number(3, 40) + number(6, 4)}, "net.padding"),
    "another dropout": ({"drop7": single(1, 0.25)}, "drop7 differs from drop6; one probability"),
    "dropout scaled in testing": ({"drop6": number(2, 0)}, "layer drop6 scales its dropout in testing"),
    "a transposed layer": ({"fc6": number(6, 1)}, "layer fc6 has a transposed weight"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_setting_that_no_recipe_has_is_named(case: str, tmp_path: Path) -> None:
    change, said = CHANGES[case]
    with pytest.raises(InputError, match=said):
        import_weights(placed(tmp_path, CAFFE, W, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


ARRAYS = [blob(np.zeros(s, np.float32), W) for s in ((8, 3, 11, 11), (8,))]
CONV1 = layer(W, "Convolution", "conv1", "data", "conv1", number(4, 11), ARRAYS)
RELU1 = layer(W, "ReLU", "relu1", "conv1", "conv1")
UNLIKE = [chunk(7, chunk(1, b"\x08\x03\x0b\x0c")) + chunk(5, bytes(4 * 2904)), ARRAYS[1]]
NETS = {
    "no weights": (RELU1, "none of its 1 layers has any"),
    "one layer": (layer(W, "Convolution", "conv1", "data", "conv1", b"", ARRAYS), "it has 1 layers with weights"),
    "no bias": (
        layer(W, "Convolution", "conv1", "data", "conv1", number(4, 11), ARRAYS[:1]) + RELU1,
        "conv1 has 1 arrays of weights; a weight and a bias",
    ),
    "a sigmoid": (CONV1 + layer(W, "Sigmoid", "s1", "conv1", "conv1"), "layer s1 is Sigmoid, which AlexNet lacks"),
    "a jump": (
        CONV1 + layer(W, "ReLU", "relu1", "data", "data"),
        "layer relu1 reads data, not conv1, the layer before it",
    ),
    "an end": (CONV1 + RELU1, "a pool is missing after conv1, the end of the net"),
    "a wrong shape": (
        layer(W, "Convolution", "conv1", "data", "conv1", b"", UNLIKE),
        "layer conv1 has 2,904 numbers for the shape 8 x 3 x 11 x 12",
    ),
    "two formats": (RELU1 + layer(Wire(1), "ReLU", "b", "a", "a"), "mixes two wire formats"),
    "older": (chunk(2, chunk(1, b"\x0a\x01a")), "upgrade it with Caffe's upgrade_net_proto_binary"),
    "another file": (b"PK\x03\x04" + bytes(99), "is damaged"),
    "empty": (b"", "none of its 0 layers has any"),
}


@pytest.mark.parametrize("case", NETS)
def test_a_file_of_another_net_is_refused_with_its_first_misfit(case: str, tmp_path: Path) -> None:
    data, said = NETS[case]
    file = written(tmp_path, "net.caffemodel", data)
    with pytest.raises(InputError) as refused:
        import_weights(file, tmp_path / "run", kind="bvlc" if case == "one layer" else "auto")
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(file))


def test_the_mean_is_the_only_one_beside_the_net_or_the_one_that_was_given(tmp_path: Path) -> None:
    file = placed(tmp_path, CAFFE)
    assert import_weights(file, tmp_path / "a").notes[-1].endswith("the only .binaryproto beside the file")
    written(tmp_path, "other.binaryproto", binaryproto(mean_bgr(CAFFE)))
    with pytest.raises(InputError, match=r"2 .binaryproto files lie beside it; give --mean FILE"):
        import_weights(file, tmp_path / "b")
    import_weights(file, tmp_path / "b", mean=tmp_path / "other.binaryproto")
    assert torch.equal(Run(tmp_path / "a").transform.mean, Run(tmp_path / "b").transform.mean)


def test_a_mean_is_a_picture_or_a_pixel_blue_first(tmp_path: Path) -> None:
    file, mean = placed(tmp_path, CAFFE), mean_bgr(CAFFE)
    np.save(tmp_path / "picture.npy", mean)
    np.save(tmp_path / "doubles.npy", np.asfortranarray(mean.astype(np.float64)))
    np.save(tmp_path / "pixel.npy", np.array([104.0, 117.0, 123.0]))
    for name in ("picture", "doubles"):
        import_weights(file, tmp_path / name, mean=tmp_path / f"{name}.npy")
        assert torch.equal(Run(tmp_path / name).transform.mean, torch.from_numpy(mean[::-1].copy()).permute(1, 2, 0))
    import_weights(file, tmp_path / "pixel", mean=tmp_path / "pixel.npy")
    transform = Run(tmp_path / "pixel").transform
    assert (transform.side, transform.mean[3, 4].tolist()) == (75, [123.0, 117.0, 104.0])


def refused_means(folder: Path) -> dict[Path, str]:
    for name, shape in (
        ("grey", (1, 75, 75)),
        ("wide", (3, 75, 80)),
        ("small", (3, 66, 66)),
        ("two", (2,)),
        ("one", ()),
    ):
        np.save(folder / f"{name}.npy", np.zeros(shape, np.float32))
    np.save(folder / "nan.npy", np.full((3, 75, 75), np.nan, np.float32))
    np.save(folder / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "words.npy", np.array(["a"]))
    cut = (folder / "small.npy").read_bytes()[:-4]
    lie = (folder / "two.npy").read_bytes().replace(b"(2,)", b"(2000000000000,)", 1)
    return {
        folder / "grey.npy": "is 1 x 75 x 75; a mean is 3 x side x side or 3, blue first",
        folder / "wide.npy": "is 3 x 75 x 80",
        folder / "small.npy": "has side 66, less than the 67 pixels of a view",
        folder / "two.npy": "is 2; a mean is",
        folder / "one.npy": "is one number; a mean is",
        folder / "nan.npy": "has NaN or infinite values",
        folder / "objects.npy": "is not a .npy file of numbers (numbers of type object)",
        folder / "words.npy": "is not a .npy file of numbers",
        written(folder, "cut.npy", cut): "is not a .npy file of numbers",
        written(folder, "lie.npy", lie): "is not a .npy file of numbers",
        written(folder, "empty.npy", b""): "is not a .npy file of numbers",
        written(folder, "mean.txt", b"104 117 123"): "has the suffix .txt; a mean is a .binaryproto or a .npy file",
        written(folder, "bad.binaryproto", b"\xff" * 9): "is not a mean picture",
        written(folder, "flat.binaryproto", blob(np.zeros(9, np.float32), W)): "is 9; a mean is",
        folder / "none.npy": "does not exist",
    }


def test_a_mean_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    file = placed(tmp_path, CAFFE)
    for mean, said in refused_means(tmp_path).items():
        with pytest.raises(InputError) as refused:
            import_weights(file, tmp_path / "run", mean=mean)
        assert said in str(refused.value), mean


def test_the_size_of_views_is_that_of_the_files_input(tmp_path: Path) -> None:
    """66 and 67 pixels give fc6 as many units; without a word the exact one is taken."""
    data = caffemodel(CAFFE, weights(CAFFE))
    inputs = {
        "deploy": b"".join(number(4, n) for n in (10, 3, 66, 66)),
        "shape": chunk(8, chunk(1, bytes((10, 3, 66, 66)))),
        "crop": chunk(100, chunk(1, b"data") + chunk(2, b"Data") + chunk(100, number(3, 66))),
        "input": chunk(
            100, chunk(1, b"data") + chunk(2, b"Input") + chunk(143, chunk(1, chunk(1, bytes((1, 3, 66, 66)))))
        ),
    }
    mean = written(tmp_path, "m.binaryproto", binaryproto(mean_bgr(CAFFE)))
    for name, before in inputs.items():
        import_weights(written(tmp_path, f"{name}.caffemodel", before + data), tmp_path / name, mean=mean)
        assert Run(tmp_path / name).recipe.net.image_size == 66, name
    scaled = chunk(100, chunk(1, b"data") + chunk(2, b"Data") + chunk(100, single(1, 0.5)))
    with pytest.raises(InputError, match=r"layer data scales its pictures by 0.5"):
        import_weights(written(tmp_path, "scaled.caffemodel", scaled + data), tmp_path / "run", mean=mean)
    wrong = b"".join(number(4, n) for n in (10, 3, 227, 227))
    with pytest.raises(InputError, match=r"reads 1 x 1 maps, but views of 227 pixels give 6 x 6"):
        import_weights(written(tmp_path, "wrong.caffemodel", wrong + data), tmp_path / "run", mean=mean)
