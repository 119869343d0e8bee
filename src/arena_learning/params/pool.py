"""The instruction pool: what is dropped, and how it is split."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from arena_learning.core import suggest
from arena_learning.params.section import SPLITS, Positive, Section


class Filters(Section):
    """Which instructions enter the pool (paper, section 4.1).

    Attributes:
        min_chars: shorter instructions are dropped (0: none).
        same_prefix: drop an instruction that starts like an earlier one for this many characters (0: off).
        near_duplicate: estimated Jaccard similarity of word 3-grams from which two instructions are one (0: off).
        contamination: cosine similarity to a validation or test item from which an instruction is dropped (0: off).
        nearest: also drop this many nearest neighbours of each validation and test item (paper: 5; 0: off).
        languages: language codes that are kept.
        blocked: words or phrases that drop an instruction (toxicity lists go here).
    """

    min_chars: int = Field(default=10, ge=0)
    same_prefix: int = Field(default=0, ge=0)
    near_duplicate: float = Field(default=0.8, ge=0, le=1)
    contamination: float = Field(default=0.85, ge=0, le=1)
    nearest: int = Field(default=0, ge=0)
    languages: tuple[str, ...] = ("en",)
    blocked: tuple[str, ...] = ()


class Pool(Section):
    """The instruction pool and how it is split.

    Attributes:
        instructions: the pool's file, JSON Lines of `rows.Instruction`.
        references: a recorded opponent's file whose answers become the references; empty for none.
        filters: what is dropped.
        splits: size of each split d0 to d9; splits not named are empty.
        validation: instructions held out for tuning.
        test: instructions held out for the leaderboard, stratified by category.
    """

    instructions: str = "data/pool.jsonl"
    references: str = ""
    filters: Filters = Filters()
    splits: dict[str, Annotated[int, Field(ge=0)]]
    validation: int = Field(default=0, ge=0)
    test: Positive

    @model_validator(mode="after")
    def _known_splits(self) -> Pool:
        for name in self.splits:
            if name not in SPLITS:
                raise ValueError(f"unknown split '{name}'; {suggest(name, SPLITS)}")
        return self
