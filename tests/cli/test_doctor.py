"""`alexnet doctor`."""

import json

import pytest

from alexnet.cli.main import main
from alexnet.reporting import installation


def test_doctor_shows_every_fact_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for words in (["doctor"], ["doctor", "--json"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
        said.append(capsys.readouterr().out)
    assert all(name.replace("_", " ") in said[0] for name in installation.FACTS)
    assert list(json.loads(said[1])) == list(installation.FACTS)
