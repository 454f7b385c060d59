"""What the contract promises, of every space that there is, those of others included."""

import pytest

from evoml.contracts.part import space_class
from evoml.core.registry import names
from evoml.testing import check_space


@pytest.mark.parametrize("name", names("spaces"))
def test_keeps_its_promises(name: str) -> None:
    part = space_class(name)
    if part.example is None:
        pytest.skip("cannot be made without files; it has tests of its own")
    check_space(part)
