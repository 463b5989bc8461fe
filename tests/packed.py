"""Small sources in the forms in which data sets are packed: WebDataset shards, Parquet files, CIFAR-100."""

import io
import json
import pickle
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def jpeg(shade: int, orientation: int = 1) -> bytes:
    """A JPEG of 24 x 16, gray, with a lighter left half."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    colours = np.full((16, 24, 3), shade, np.uint8)
    colours[:, :12] += 30
    out = io.BytesIO()
    Image.fromarray(colours).save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


def tar_of(members: Mapping[str, bytes] | Iterable[tuple[str, bytes]], mode: str = "w") -> bytes:
    """A tar with these members; pairs may repeat a name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items() if isinstance(members, Mapping) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def shard(labels: Mapping[str, int | str], suffix: str = "cls") -> dict[str, bytes]:
    """The members of a shard: a picture and a label for each key."""
    found = {}
    for n, (key, label) in enumerate(labels.items()):
        found[f"{key}.jpg"] = jpeg(20 + n)
        found[f"{key}.{suffix}"] = (json.dumps({"label": label}) if suffix == "json" else str(label)).encode()
    return found


def features(names: object = ("cat", "dog")) -> dict[str, Any]:
    """Hugging Face's metadata of a picture and its class."""
    names = list(names) if isinstance(names, tuple) else names
    return {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}


def parquet_of(
    path: Path, labels: Iterable[Any], metadata: dict[str, Any] | None = None, struct: bool = True, **options: Any
) -> Path:
    """Write a Parquet file with a picture for each label; without `struct`, the column of pictures is binary."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    labels = list(labels)
    data = [jpeg(20 + n % 200) for n in range(len(labels))]
    pictures = [{"bytes": one, "path": f"{n}.jpg"} for n, one in enumerate(data)] if struct else data
    table = pa.table({"image": pa.array(pictures), "label": pa.array(labels)})
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": metadata}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path, **options)
    return path


def cifar100(folder: Path, form: str = "python") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write CIFAR-100 in either form, with each class once in train and some in test; return labels and planes."""
    folder.mkdir(parents=True)
    names = [f"kind_{n}".encode() for n in range(100)]
    made = {}
    for seed, (name, number) in enumerate((("train", 100), ("test", 30))):
        numbers = np.random.default_rng(seed)
        labels = numbers.permutation(100)[:number].astype(np.uint8)
        planes = numbers.integers(0, 256, (number, 3072), np.uint8)
        coarse = labels // 5
        made[name] = labels, planes
        if form == "python":
            batch = {b"fine_labels": labels.tolist(), b"coarse_labels": coarse.tolist(), b"data": planes}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        else:
            records = np.concatenate([coarse[:, None], labels[:, None], planes], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
    if form == "python":
        meta = {b"fine_label_names": names, b"coarse_label_names": [b"group"] * 20}
        (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    else:
        (folder / "fine_label_names.txt").write_bytes(b"\n".join(names) + b"\n")
    return made
