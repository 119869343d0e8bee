"""Sections about the instruction pool: its filters and splits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from arena_learning.core import suggest
from arena_learning.params.section import SPLITS, Positive, Section

Share = Annotated[float, Field(ge=0, le=1)]


class Filters(Section):
    """Which instructions are dropped from the pool (paper, section 4.1), in the order of `arena prepare`.

    Attributes:
        flagged: drop conversations that their source has flagged as toxic (LMSYS-Chat, WildChat).
        blocked: drop instructions that contain one of these words or phrases.
        toxic_words: drop instructions that contain a word of the short English list that comes with this package.
        toxic_model: a text classifier, hub id or folder with safetensors, that drops toxic instructions; empty for
            none.
        toxic_labels: the classifier's labels that mean toxic.
        toxic_score: smallest probability of one of these labels that drops an instruction.
        min_chars: drop instructions with fewer characters (0: off).
        max_tokens: drop instructions with more tokens, all turns together (0: off).
        tokenizer: what counts the tokens: a folder or file with a tokenizer.json, or a hub id; empty for the embedding
            model's.
        same_prefix: drop an instruction whose first N characters equal those of an earlier one (paper: 10; 0: off).
        near_duplicate: drop an instruction whose Jaccard similarity (word 3-grams) to an earlier one is at least this
            (0: off).
        languages: codes of the languages that are kept.
        language_by: what says an instruction's language: the row's ``field`` (``en`` if it has none), or the ``text``,
            by an identifier that works offline.
        language_sure: smallest probability at which the identifier's word counts; below it the row's field does.
        contamination: drop an instruction whose cosine similarity to a held-out item is at least this (0: off). The
            held-out items are the validation and test set, and those of ``pool.benchmarks``.
        nearest: also drop the N nearest neighbours of each held-out item (paper: 5; 0: off).
        overlap: drop an instruction that contains at least this share of the word n-grams of a held-out item, without
            embeddings (0: off).
        overlap_words: n of these n-grams. An item with fewer words is found only where it is the whole instruction.
    """

    flagged: bool = True
    blocked: tuple[str, ...] = ()
    toxic_words: bool = False
    toxic_model: str = ""
    toxic_labels: tuple[str, ...] = ("toxic",)
    toxic_score: float = Field(default=0.5, gt=0, le=1)
    min_chars: int = Field(default=10, ge=0)
    max_tokens: int = Field(default=0, ge=0)
    tokenizer: str = ""
    same_prefix: int = Field(default=0, ge=0)
    near_duplicate: Share = 0.8
    languages: tuple[str, ...] = ("en",)
    language_by: Literal["field", "text"] = "field"
    language_sure: Share = 0.5
    contamination: Share = 0.85
    nearest: int = Field(default=0, ge=0)
    overlap: Share = 0.0
    overlap_words: int = Field(default=8, ge=1)


class Pool(Section):
    """The instruction pool and how it is split.

    Attributes:
        instructions: the pool: a file of `Instruction` rows, a public data set's file (ShareGPT, LMSYS-Chat, WildChat,
            Alpaca, OpenOrca, FLAN, UltraFeedback, any table), a folder of them, or a saved data set.
        strict: whether the first malformed row is an error; else malformed rows are passed over and counted.
        references: file of recorded answers that become the references of instructions without one; empty for none.
        benchmarks: files or folders of benchmark items, in the same formats. No instruction may be close to one of
            them (see ``filters.contamination``, ``nearest`` and ``overlap``).
        filters: which instructions are dropped.
        split_by: how the splits are filled. ``draw``: seeded draws, stratified by category, which do not depend on the
            order of the pool. ``hash``: in the order of the pool, each instruction to a split by a hash of its id,
            until the split is full: rows that are added at the end move no earlier row.
        splits: number of instructions in each training split, d0 to d9; a split that is not named is empty.
        validation: number of instructions held out for tuning, stratified by category.
        test: number of instructions held out for the leaderboard.
        test_set: how they are chosen. ``draw``: as ``split_by`` says, with ``draw`` stratified by category. As
            WizardArena: ``diverse`` (equally many of each cluster of like embeddings), ``hard`` (the most difficult of
            a sample of each cluster), ``mix`` (half of each). These three keep the pool's share of conversations of
            several turns.
        test_clusters: number of clusters (K-means) for ``diverse``, ``hard`` and ``mix``.
        test_sample: number of instructions of each cluster whose difficulty counts for ``hard`` and ``mix``.
        difficulties: file of ``{"id": ..., "difficulty": 0 to 10}`` rows for ``hard`` and ``mix``, which `arena
            difficulty` writes; empty: an instruction's own difficulty, or its length, stands in.
        difficulty_judge: the judge that `arena difficulty` asks, a key of ``judges`` of kind ``llm``; empty for none.
        difficulty_template: its prompt: ``difficulty``, which comes with this package, or the path of a file.
        embed_precision: precision of the pool's embeddings, ``fp32`` or ``bf16``, which is faster where the processor
            or GPU computes in it. Vectors of each are kept apart; judges use fp32 on the CPU.
        embed_device: where they are computed, ``cpu`` or ``cuda``.
        categories: categories with a description of each; an instruction without one (``other``) gets the nearest by
            sentence embedding. Empty: none is given.
    """

    instructions: str = "data/pool.jsonl"
    strict: bool = True
    references: str = ""
    benchmarks: tuple[str, ...] = ()
    filters: Filters = Filters()
    split_by: Literal["draw", "hash"] = "draw"
    splits: dict[str, Annotated[int, Field(ge=0)]]
    validation: int = Field(default=0, ge=0)
    test: Positive
    test_set: Literal["draw", "diverse", "hard", "mix"] = "draw"
    test_clusters: Positive = 500
    test_sample: Positive = 20
    difficulties: str = ""
    difficulty_judge: str = ""
    difficulty_template: str = "difficulty"
    embed_precision: Literal["fp32", "bf16"] = "fp32"
    embed_device: Literal["cpu", "cuda"] = "cpu"
    categories: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_splits(self) -> Pool:
        for name in self.splits:
            if name not in SPLITS:
                raise ValueError(f"unknown split '{name}'; {suggest(name, SPLITS)}")
        if self.test_set != "draw" and self.split_by == "hash":
            raise ValueError(
                f"test_set: {self.test_set} depends on the whole pool; with it set split_by: draw"
            )
        return self
