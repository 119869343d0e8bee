"""Sections about the instruction pool: its filters and splits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from arena_learning.core import suggest
from arena_learning.params.section import SPLITS, Positive, Section


class Filters(Section):
    """Which instructions are dropped from the pool (paper, section 4.1).

    Attributes:
        min_chars: drop instructions with fewer characters (0: off).
        same_prefix: drop an instruction whose first N characters equal those of an earlier one (0: off).
        near_duplicate: drop an instruction whose estimated Jaccard similarity (word 3-grams) to an earlier one is at
            least this (0: off).
        contamination: drop an instruction whose cosine similarity to a validation or test item is at least this
            (0: off).
        nearest: also drop the N nearest neighbours of each validation and test item (paper: 5; 0: off).
        languages: codes of the languages that are kept.
        blocked: drop instructions that contain one of these words or phrases (such as a toxicity list).
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
        instructions: file of the pool, JSON Lines of `Instruction` rows.
        references: file of recorded answers that become the references of instructions without one; empty for none.
        filters: which instructions are dropped.
        splits: number of instructions in each training split, d0 to d9; a split that is not named is empty.
        validation: number of instructions held out for tuning, stratified by category.
        test: number of instructions held out for the leaderboard, stratified by category.
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
