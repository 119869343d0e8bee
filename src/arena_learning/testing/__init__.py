"""Conformance suites for those who write an engine or a judge: `EngineConformance`, `JudgeConformance`.

The suites are plain classes that pytest collects from a subclass. They never import pytest, so the package does not
depend on it; pytest, where it runs, shows the values of an assertion that fails.
"""

import sys

import lazy_loader

if "pytest" in sys.modules:  # else an assertion that fails in an installed package shows no values
    sys.modules["pytest"].register_assert_rewrite(f"{__name__}.engine_suite", f"{__name__}.judge_suite")

# The names stand in __init__.pyi, with the files that they come from; a file is loaded when one is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
