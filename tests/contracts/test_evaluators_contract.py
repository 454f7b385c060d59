"""What the contract promises, of every evaluator that there is, those of others included."""

import pytest

from evoml.contracts.part import evaluator_class
from evoml.core.registry import names
from evoml.testing import check_evaluator


@pytest.mark.parametrize("name", names("evaluators"))
def test_keeps_its_promises(name: str) -> None:
    part = evaluator_class(name)
    if part.example is None:
        pytest.skip("cannot be made without files; it has tests of its own")
    check_evaluator(part)
