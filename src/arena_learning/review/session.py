"""One reviewer's work: the battles to show, in an order and on sides of their own, and the file of verdicts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from arena_learning.core import ArenaError, Paths, logger, remove_torn_line
from arena_learning.params import Params, suggested
from arena_learning.pool import seeded_rank
from arena_learning.review.battles import ReviewBattle, read_review_battles
from arena_learning.review.sample import draw_sample
from arena_learning.schema import (
    BY_CHANCE,
    Review,
    ReviewSampling,
    ReviewWinner,
    append_row,
    current_reviews,
    read_rows,
)


class VerdictConflictError(ArenaError):
    """A verdict on a battle that has got another one since the page was shown, in another tab for example."""


class ShownBattle(NamedTuple):
    """A battle as a reviewer sees it.

    Attributes:
        battle: the battle.
        names: the contestants of answer 1 and answer 2.
        answers: the two answers, in that order.
    """

    battle: ReviewBattle
    names: tuple[str, str]
    answers: tuple[str, str]


class ReviewSession:
    """One reviewer's sample of battles and the verdicts on them.

    Args:
        reviewer: name of the reviewer, and of the file.
        place: ``arena`` or a round.
        sampling: how the sample was drawn.
        seed: seed of the draw; order and sides come from it and the reviewer's name.
        sample: the battles (`sample.draw_sample`).
        paths: the project.

    Raises:
        ArenaError: the reviewer's file is malformed.
    """

    def __init__(
        self,
        reviewer: str,
        place: str,
        sampling: ReviewSampling,
        seed: int,
        sample: Sequence[ReviewBattle],
        paths: Paths,
    ) -> None:
        self.reviewer, self.place, self.sampling, self.seed = reviewer, place, sampling, seed
        self.path = paths.review(reviewer)
        self._shown = {b.key: self._sided(b) for b in sorted(sample, key=lambda b: self._rank("order", b))}
        self._lock = threading.Lock()
        if remove_torn_line(self.path):
            logger.warning("%s: the last line, which was cut when it was written, is removed", self.path)
        self._rows = read_rows(self.path, Review) if self.path.is_file() else []
        if sampling in BY_CHANCE:
            self._take_over()

    @property
    def done(self) -> dict[str, Review]:
        """The reviewer's verdicts on the sample, by the battle's key, in the order in which they were given."""
        return {row.battle: row for row in current_reviews(self._rows) if row.battle in self._shown}

    @property
    def total(self) -> int:
        """Number of battles in the sample."""
        return len(self._shown)

    def shown(self, key: str) -> ShownBattle | None:
        """Return a battle of the sample by its key."""
        return self._shown.get(key)

    def next(self) -> ShownBattle | None:
        """Return the first battle without a verdict, or None if all have one."""
        done = self.done
        return next((shown for key, shown in self._shown.items() if key not in done), None)

    def before(self, key: str | None) -> str | None:
        """Return the key of the verdict that was given before the one on ``key``; the last one if that has none."""
        keys = list(self.done)
        place = keys.index(key) if key in keys else len(keys)
        return keys[place - 1] if place else None

    def record(self, key: str, winner: ReviewWinner | None, note: str, replaces: str) -> Review:
        """Add a verdict to the file; it is on the disk when this returns.

        Args:
            key: the battle.
            winner: the winner by answer (``model_a`` is answer 1), or None to skip.
            note: what the reviewer noted.
            replaces: id of the reviewer's row that this one replaces, as the page showed it; empty for none.

        Raises:
            VerdictConflictError: the battle's current row is another one.
            ArenaError: the file cannot be written.
        """
        with self._lock:
            held = self.done.get(key)
            if replaces != (held.id if held else ""):
                raise VerdictConflictError("this battle has another verdict by now")
            sampling, seed = (held.sampling, held.seed) if held else (self.sampling, self.seed)
            row = self._row(self._shown[key], winner, note, replaces, sampling, seed)
            self._append(row)
            return row

    def _row(
        self,
        shown: ShownBattle,
        winner: ReviewWinner | None,
        note: str,
        replaces: str,
        sampling: ReviewSampling,
        seed: int,
    ) -> Review:
        asked, key = shown.battle.instruction, shown.battle.key
        return Review(
            id=self._new_id(key),
            battle=key,
            place=self.place,
            instruction_id=asked.id,
            category=asked.category,
            source=asked.source,
            turns=asked.turns,
            rubric=asked.rubric,
            reference=asked.reference,
            model_a=shown.names[0],
            model_b=shown.names[1],
            response_a=shown.answers[0],
            response_b=shown.answers[1],
            winner=winner,
            note=note,
            reviewer=self.reviewer,
            sampling=sampling,
            seed=seed,
            at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            replaces=replaces,
        )

    def _take_over(self) -> None:
        """Mark as drawn by chance what this reviewer judged for another reason and the draw contains as well.

        Else the drawn battles would lack just those on which judges disagree, or would be asked twice.
        """
        for held in list(self.done.values()):
            if held.sampling not in BY_CHANCE:
                update = {"sampling": self.sampling, "seed": self.seed, "replaces": held.id}
                self._append(held.model_copy(update={**update, "id": self._new_id(held.battle)}))

    def _append(self, row: Review) -> None:
        append_row(self.path, row)
        self._rows.append(row)

    def _new_id(self, key: str) -> str:
        return f"{key}.{self.reviewer}.{1 + sum(row.battle == key for row in self._rows)}"

    def _sided(self, battle: ReviewBattle) -> ShownBattle:
        """Return the battle with its sides drawn."""
        names, answers = battle.pair, (battle.text_a, battle.text_b)
        if int(self._rank("side", battle)[0], 16) % 2:
            return ShownBattle(battle, names[::-1], answers[::-1])
        return ShownBattle(battle, names, answers)

    def _rank(self, purpose: str, battle: ReviewBattle) -> str:
        return seeded_rank(self.seed, f"review {purpose}", self.reviewer, battle.key)


def open_session(
    reviewer: str,
    params: Params,
    paths: Paths,
    *,
    place: str = "arena",
    sampling: ReviewSampling = "random",
    count: int = 40,
    seed: int | None = None,
) -> ReviewSession:
    """Draw a reviewer's sample and read what the reviewer has done; arguments as in `ReviewSession`.

    Args:
        reviewer: name of the reviewer.
        params: names the rounds and the seed.
        paths: the project.
        place: ``arena`` or a round.
        sampling: how to draw.
        count: the most battles to draw.
        seed: seed of the draw; None: params.yaml's.

    Raises:
        ArenaError: a reviewer's name that is no name of a file, no battles, or a malformed file.
    """
    check_reviewer(reviewer)
    seed = params.seed if seed is None else seed
    sample = draw_sample(read_review_battles(place, params, paths), sampling, count, seed)
    return ReviewSession(reviewer, place, sampling, seed, sample, paths)


def check_reviewer(name: str) -> None:
    """Raise an `ArenaError` if ``name`` cannot be the name of a reviewer, which is a file's name too."""
    if not name:
        raise ArenaError("who judges?", where="--reviewer", hint="name yourself, such as --reviewer ann")
    if suggested(name) != name:
        raise ArenaError(
            f"'{name}' is no name of a reviewer",
            where="--reviewer",
            hint=f"use letters a to z, digits, '-' and '_', such as --reviewer {suggested(name) or 'ann'}",
        )


def read_reviews(paths: Paths) -> list[Review]:
    """Return all reviewers' current verdicts, by the files' names and in their order; skips included.

    Raises:
        ArenaError: a malformed file.
    """
    files = sorted(paths.reviews.glob("*.jsonl"))
    return current_reviews([row for file in files for row in read_rows(file, Review)])
