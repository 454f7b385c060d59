"""What the contract promises, of every task that there is, those of others included."""

import pytest

from evoml.contracts.part import task_class
from evoml.core.registry import names
from evoml.testing import check_task


@pytest.mark.parametrize("name", names("tasks"))
def test_keeps_its_promises(name: str) -> None:
    part = task_class(name)
    if part.example is None:
        pytest.skip("cannot be made without files; it has tests of its own")
    check_task(part)
