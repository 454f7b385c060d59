"""What the contract promises, of every strategy that there is, those of others included."""

import pytest

from evoml.contracts.part import strategy_class
from evoml.core.registry import names
from evoml.testing import check_strategy


@pytest.mark.parametrize("name", names("strategies"))
def test_keeps_its_promises(name: str) -> None:
    part = strategy_class(name)
    if part.example is None:
        pytest.skip("cannot be made without files; it has tests of its own")
    check_strategy(part)
