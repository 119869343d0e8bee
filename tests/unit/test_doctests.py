"""The examples in docstrings run, and give what they show."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import arena_learning

WITH_EXAMPLES = [
    module.name
    for module in pkgutil.walk_packages(arena_learning.__path__, "arena_learning.")
    if not module.ispkg
    and ">>> " in Path(module.module_finder.find_spec(module.name).origin).read_text("utf-8")
]


def test_modules_with_examples_are_found():
    assert "arena_learning.core.thoughts" in WITH_EXAMPLES


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_give_what_they_show(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
