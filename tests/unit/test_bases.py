"""Which base a LoRA is for, by its tensors."""

import pytest
from fewstep.tests.helpers.base_files import FILES, UNTOLD
from fewstep.weights import bases, keys

EVERY = [pytest.param(base, file, id=f"{base} {i}") for base, files in FILES.items() for i, file in enumerate(files)]


@pytest.mark.parametrize("base, file", EVERY)
def test_the_base_is_told_from_the_tensors(base, file):
    assert bases.base_of(keys.to_kohya(file)) == base


@pytest.mark.parametrize("file", UNTOLD)
def test_nothing_is_guessed(file):
    assert bases.base_of(keys.to_kohya(file)) is None
