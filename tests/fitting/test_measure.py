"""Measuring what decoding and training take."""

from pathlib import Path

import pytest

from alexnet.core.errors import InputError
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store
from alexnet.fitting.candidates import Candidate
from alexnet.fitting.choosing import LONGEST
from alexnet.fitting.measure import EPOCHS, rates, rehearse, sample


def test_a_sample_is_of_pictures_that_can_be_read_and_tells_their_size(pictures: Path, tmp_path: Path) -> None:
    found = sample(read_source(pictures, tmp_path / "work"), most=12)
    assert len(found.images) == 12
    assert found.side == 64
    assert 0 < found.seconds < 1
    assert len(sample(read_source(pictures, tmp_path / "work"), most=12, seconds=0.0).images) == 1
    assert not (tmp_path / "work").exists()


def test_a_sample_without_a_readable_picture_is_refused_with_an_example(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        for n in range(6):
            (tmp_path / "broken" / name / f"{n}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 40)
    with pytest.raises(InputError, match=r"12 pictures that were tried can be read \('.*png': "):
        sample(read_source(tmp_path / "broken", tmp_path / "work"), most=50)


def test_a_recipe_is_measured_on_a_full_batch_of_a_smaller_sample_and_leaves_no_run(
    pictures: Path, tmp_path: Path
) -> None:
    found = sample(read_source(pictures, tmp_path / "work"), most=12)
    seen = rehearse(found, Candidate("tiny", 64), classes=3, folder=tmp_path / "measured", device="cpu", seconds=0.01)
    assert 0 < seen.validation < seen.picture < 1
    assert 0 < seen.save < 10
    (store,) = (tmp_path / "measured").iterdir()
    assert len(Store(store)["train"]) == 128  # the batch of tiny


def test_a_training_that_is_measured_outlasts_the_measurement_at_one_step_an_epoch_of_a_fast_card() -> None:
    assert EPOCHS * 1e-5 > 2 * LONGEST


def test_a_measurement_takes_about_as_long_as_it_may(store: Path, small: object, tmp_path: Path) -> None:
    """With steps of milliseconds it makes many, over epochs whose last batch is smaller."""
    seen = rates(Store(store), small, tmp_path / "run", "cpu", 0.3)  # type: ignore[arg-type]
    assert 0 < seen.picture < 0.3 / 30
