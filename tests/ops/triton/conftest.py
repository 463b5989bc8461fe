from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def interpreter() -> Iterator[None]:
    from tests.ops.triton.shared import interpreting  # not above: where Triton is missing, the tests are skipped

    with interpreting():
        yield
