import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.cifar10 import ALL_BATCHES
from alexnet.data.store import Store

PER_BATCH = 20


def _batches() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Labels and planes of made-up batches, each with every class."""
    made = {}
    for seed, name in enumerate(ALL_BATCHES):
        numbers = np.random.default_rng(seed)
        labels = numbers.permutation(np.arange(PER_BATCH) % 10).astype(np.uint8)
        made[name] = labels, numbers.integers(0, 256, (PER_BATCH, 3072), np.uint8)
    return made


def _binary(folder: Path) -> Path:
    folder.mkdir()
    for name, (labels, planes) in _batches().items():
        (folder / f"{name}.bin").write_bytes(np.concatenate([labels[:, None], planes], axis=1).tobytes())
    return folder


def _python(folder: Path) -> Path:
    folder.mkdir()
    for name, (labels, planes) in _batches().items():
        (folder / name).write_bytes(pickle.dumps({b"labels": labels.tolist(), b"data": planes}, protocol=2))
    return folder


def test_every_picture_keeps_its_pixels_and_label(tmp_path: Path) -> None:
    summary = prepare(_binary(tmp_path / "source"), tmp_path / "store", jobs=1)
    assert (summary.side, summary.pictures) == (32, {"train": 5 * PER_BATCH, "val": PER_BATCH})
    store = Store(tmp_path / "store")
    batches = _batches()
    for split in store.splits.values():
        pictures = split.read(np.arange(len(split)))
        for name, label, picture in zip(split.names, split.labels, pictures, strict=True):
            batch, number = name.split("/")
            labels, planes = batches[batch]
            assert labels[int(number)] == label
            np.testing.assert_array_equal(picture.transpose(2, 0, 1).ravel(), planes[int(number)])


def test_both_forms_and_their_archives_give_one_store(tmp_path: Path) -> None:
    sources = [_binary(tmp_path / "cifar-10-batches-bin"), _python(tmp_path / "cifar-10-batches-py")]
    for folder in list(sources):
        archive = folder.with_suffix(".tar.gz")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, folder.name)
        sources.append(archive)
    digests = {prepare(source, tmp_path / f"store-{n}", jobs=1).digest for n, source in enumerate(sources)}
    assert len(digests) == 1


def test_hostile_pickle_does_not_run(tmp_path: Path) -> None:
    source = _python(tmp_path / "source")
    ran = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (ran,)

    (source / "data_batch_3").write_bytes(pickle.dumps({b"labels": Hostile()}, protocol=2))
    with pytest.raises(InputError, match=r"data_batch_3 names the global \S+") as caught:
        prepare(source, tmp_path / "store", jobs=1)
    assert not ran.exists()
    assert len(str(caught.value).splitlines()) == 1


def _laughing(depth: int) -> bytes:
    """Nested lists, each with ten times the list before: 10 ** depth labels in a few hundred bytes."""
    labels: list[object] = [0] * 10
    for _ in range(depth - 1):
        labels = [labels] * 10
    return pickle.dumps({b"labels": labels, b"data": np.zeros((10**9, 0), np.uint8)}, protocol=2)


MEMO = b"\x80\x02}r\xff\xff\xff\x1f."  # memo index 536,870,911, which needs 8 GB


@pytest.mark.parametrize(
    "attack",
    [b"cos\nsystem\n(S'true'\ntR.", b"cbuiltins\neval\n.", b"cnumpy\nload\n.", b"\x80\x04no", _laughing(12), MEMO],
)
def test_other_globals_and_damaged_pickles_are_refused(attack: bytes, tmp_path: Path) -> None:
    source = _python(tmp_path / "source")
    (source / "data_batch_1").write_bytes(attack)
    with pytest.raises(InputError, match="data_batch_1"):
        prepare(source, tmp_path / "store", jobs=1)


def test_batch_of_another_size_is_refused(tmp_path: Path) -> None:
    source = _binary(tmp_path / "source")
    with (source / "data_batch_2.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="data_batch_2 has 61461 bytes, not a multiple of 3073"):
        prepare(source, tmp_path / "store", jobs=1)


def test_label_past_nine_is_refused(tmp_path: Path) -> None:
    source = _binary(tmp_path / "source")
    data = bytearray((source / "test_batch.bin").read_bytes())
    data[3073] = 10
    (source / "test_batch.bin").write_bytes(data)
    with pytest.raises(InputError, match="test_batch has the label 10"):
        prepare(source, tmp_path / "store", jobs=1)


def test_missing_batch_is_refused_by_name(tmp_path: Path) -> None:
    source = _binary(tmp_path / "source")
    (source / "data_batch_4.bin").unlink()
    with pytest.raises(InputError, match=r"data_batch_4\.bin"):
        prepare(source, tmp_path / "store", jobs=1)


@pytest.mark.data
def test_real_test_batch_is_the_official_one(shared: Path, tmp_path: Path) -> None:
    from PIL import Image

    mosaic = np.asarray(Image.open(shared / "cifar10/test_batch.webp").convert("RGB"))
    pictures = mosaic.reshape(100, 32, 100, 32, 3).transpose(0, 2, 4, 1, 3).reshape(10000, 3072)
    labels = np.load(shared / "cifar10/labels.npz")["test"].astype(np.uint8)
    official = np.concatenate([labels[:, None], pictures], axis=1).tobytes()
    source = _binary(tmp_path / "source")
    (source / "test_batch.bin").write_bytes(official)
    prepare(source, tmp_path / "store", jobs=1)
    val = Store(tmp_path / "store")["val"]
    order = np.argsort([int(name.split("/")[1]) for name in val.names])
    back = val.read(order).transpose(0, 3, 1, 2).reshape(10000, 3072)
    rebuilt = np.concatenate([val.labels[order].astype(np.uint8)[:, None], back], axis=1).tobytes()
    assert hashlib.sha256(rebuilt).digest() == hashlib.sha256(official).digest()
