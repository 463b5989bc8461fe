from pathlib import Path

import pytest

from alexnet.core.errors import InputError
from alexnet.core.process_pool import process_pool


def test_a_system_that_cannot_share_open_files_works_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.pread")
    for jobs in (None, 1):
        with process_pool(jobs, tmp_path) as spread:
            assert list(spread(abs, [-1, 2])) == [1, 2]
    with (
        pytest.raises(InputError, match="jobs is 2, but this system supports one process only; use 1"),
        process_pool(2, tmp_path),
    ):
        pass
