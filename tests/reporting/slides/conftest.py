"""A deck of a trained run and of planted records, drawn once for all tests of slides."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.reporting.slides.decks import plant_claims

from alexnet.reporting.slides import pictures
from alexnet.reporting.slides.source import Source, open_source
from alexnet.reporting.slides.write import deck

COARSE = 24  # dots per inch: the tests look at layouts and words, and coarse pictures are drawn sooner


@dataclass(frozen=True)
class Decks:
    """The files of the decks in both languages, and what they are made from."""

    source: Source
    drawn: pictures.Pictures
    en: dict[str, bytes]
    zh: dict[str, bytes]


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    plant_claims(folder)
    return folder


@pytest.fixture(scope="session")
def decks(run: Path, records: Path) -> Decks:
    pytest.importorskip("latex2mathml", reason="pip install 'alexnet[slides]'")
    source = open_source(run, records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "DOTS", COARSE)
        drawn = pictures.draw_pictures(source)
    return Decks(source, drawn, deck(source, drawn, "en"), deck(source, drawn, "zh"))
