"""Defines the path of every artefact; no other module does.

Paths are below the project's root, the folder with params.yaml. When DVC runs an experiment in a copy of the project,
stores that outlive a run (responses and games, MLflow) stay in the original root.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from arena_learning.core.errors import ArenaError


@dataclass(frozen=True)
class Paths:
    """The artefacts below one project root."""

    root: Path

    @property
    def params(self) -> Path:
        """The current parameters."""
        return self.root / "params.yaml"

    @property
    def pipeline(self) -> Path:
        """DVC's definition of the stages."""
        return self.root / "dvc.yaml"

    @property
    def lockfile(self) -> Path:
        """DVC's record of the stages that have run."""
        return self.root / "dvc.lock"

    @property
    def profiles(self) -> Path:
        """The shipped parameter files."""
        return self.root / "profiles"

    def user_file(self, name: str, where: str, *, outside: bool) -> Path:
        """Return the file that params.yaml names at ``where``.

        Args:
            name: a path, relative to the root.
            where: the parameter, for the error.
            outside: whether the file may lie outside the project (``files_outside``).

        Raises:
            ArenaError: the file lies outside the project (links are followed), and ``outside`` is false.
        """
        path = self.root / name
        if not outside and not any(
            path.resolve().is_relative_to(top) for top in (self.root.resolve(), self.home)
        ):
            raise ArenaError(
                f"{name} lies outside the project",
                where=f"params.yaml, {where}",
                hint="copy it into the project, or set files_outside: true",
            )
        return path

    @property
    def inputs(self) -> Path:
        """Folder of the files of `input`."""
        return self.root / "data" / "inputs"

    def input(self, consumer: str) -> Path:
        """Digests of the files that params.yaml names for one consumer: ``pool``, ``judges/NAME``, ..."""
        return self.inputs / f"{consumer}.json"

    @property
    def input_digests(self) -> Path:
        """Cache of digests by path, size and modification time, so that large files are read once."""
        return self.scratch / "input_digests.json"

    def split(self, name: str) -> Path:
        """The instructions of one split, ``validation`` or ``test``."""
        return self.root / "data" / "prepared" / f"{name}.jsonl"

    @property
    def prepare_card(self) -> Path:
        """Data card of stage prepare: how many instructions were kept and dropped, with reasons."""
        return self.root / "data" / "prepared" / "card.json"

    @property
    def dropped(self) -> Path:
        """The instructions that stage prepare dropped: a row each, with the reason."""
        return self.root / "data" / "prepared" / "dropped.jsonl"

    def round(self, name: str) -> Path:
        """The folder of one round's data."""
        return self.root / "data" / "rounds" / name

    def responses(self, round_name: str) -> Path:
        """A round's responses."""
        return self.round(round_name) / "responses.jsonl"

    def samples(self, round_name: str) -> Path:
        """The target's samples in a round that learns from them; empty in others."""
        return self.round(round_name) / "samples.jsonl"

    def sample_scores(self, round_name: str) -> Path:
        """The scores of the target's samples."""
        return self.round(round_name) / "sample_scores.jsonl"

    def games(self, round_name: str) -> Path:
        """A round's games."""
        return self.round(round_name) / "games.jsonl"

    def battles(self, round_name: str) -> Path:
        """A round's battles."""
        return self.round(round_name) / "battles.jsonl"

    def sft(self, round_name: str) -> Path:
        """A round's rows for supervised fine-tuning, accumulated ones included."""
        return self.round(round_name) / "sft.jsonl"

    def preferences(self, round_name: str) -> Path:
        """A round's preference pairs, accumulated ones included."""
        return self.round(round_name) / "preferences.jsonl"

    def card(self, round_name: str) -> Path:
        """A round's data card."""
        return self.round(round_name) / "card.json"

    def stage_metrics(self, round_name: str, stage: str) -> Path:
        """The metrics of one stage of a round (battle, judge, train)."""
        return self.round(round_name) / f"{stage}_metrics.json"

    def model(self, name: str) -> Path:
        """A model's folder: ``base`` or a round's name."""
        return self.root / "models" / name

    def arena_responses(self, contestant: str) -> Path:
        """A contestant's answers to the test set."""
        return self.root / "data" / "arena" / "responses" / f"{contestant}.jsonl"

    @property
    def arena_games(self) -> Path:
        """All games of the test set."""
        return self.root / "data" / "arena" / "games.jsonl"

    @property
    def arena_battles(self) -> Path:
        """All battles of the test set."""
        return self.root / "data" / "arena" / "battles.jsonl"

    @property
    def arena_metrics(self) -> Path:
        """Health metrics of the judges on the test set."""
        return self.root / "data" / "arena" / "evaluate_metrics.json"

    @property
    def reports(self) -> Path:
        """Ratings, tables and figures."""
        return self.root / "reports"

    @property
    def leaderboard(self) -> Path:
        """The leaderboard as JSON."""
        return self.reports / "leaderboard.json"

    @property
    def audits(self) -> Path:
        """Folder of the files of `audit`."""
        return self.reports / "audits"

    def audit(self, labelled: str) -> Path:
        """The judges' agreement with a file of labelled pairs."""
        return self.audits / f"{labelled}.json"

    def sweep_report(self, study: str) -> Path:
        """Results of a sweep: trials, confirmation, winner."""
        return self.reports / "sweeps" / f"{study}.json"

    def sweep_figures(self, study: str) -> Path:
        """The folder of a sweep's figures."""
        return self.reports / "sweeps" / study

    @property
    def ablations(self) -> Path:
        """Folder of the reports of ablations: JSON, a page and a figure each."""
        return self.reports / "ablations"

    @property
    def elo_plot(self) -> Path:
        """Ratings by round index, for `dvc plots`."""
        return self.reports / "elo.json"

    @property
    def figures(self) -> Path:
        """The figures' folder."""
        return self.reports / "figures"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.reports / "index.html"

    @property
    def gate(self) -> Path:
        """The comparison of the last round's model with the recorded champion."""
        return self.root / "data" / "arena" / "gate.json"

    @property
    def gate_page(self) -> Path:
        """The same comparison as a page beside the report."""
        return self.reports / "gate.html"

    @property
    def registry(self) -> Path:
        """Which models were promoted, refused and rolled back; in git."""
        return self.root / "registry.json"

    @property
    def feedback(self) -> Path:
        """People's verdicts on traces in MLflow; in git."""
        return self.home / "feedback.jsonl"

    @property
    def reviews(self) -> Path:
        """Folder of the files of `review`; in git."""
        return self.root / "reviews"

    def review(self, reviewer: str) -> Path:
        """One reviewer's verdicts on battles."""
        return self.reviews / f"{reviewer}.jsonl"

    @property
    def home(self) -> Path:
        """The original project root; differs from `root` inside the copy that DVC makes for an experiment."""
        return Path(os.environ.get("DVC_ROOT", self.root)).resolve()

    @property
    def scratch(self) -> Path:
        """Folder, ignored by git, for files that can be made again or must survive a crash."""
        return self.home / ".arena"

    @property
    def store(self) -> Path:
        """Database of responses and games; see `store.Store`."""
        return self.scratch / "store.sqlite"

    @property
    def batches(self) -> Path:
        """Records of the batches that endpoints are working on."""
        return self.scratch / "batches"

    @property
    def vectors(self) -> Path:
        """Database of embedding vectors, in a folder of its own with its log; see `store.VectorStore`."""
        return self.scratch / "embeddings" / "vectors.sqlite"

    @property
    def stage_seconds(self) -> Path:
        """How long each stage took, a line for each run of it."""
        return self.scratch / "seconds.jsonl"

    @property
    def plans(self) -> Path:
        """What `arena repro` expected of each run when it began, a line for each."""
        return self.scratch / "plans.jsonl"

    @property
    def exports(self) -> Path:
        """Models converted to the serving engine's format, by digest."""
        return self.scratch / "exports"

    @property
    def locks(self) -> Path:
        """Folder of this checkout's stage locks (an experiment's copy has its own)."""
        return self.root / ".arena" / "locks"

    def lock(self, stage: str) -> Path:
        """The lock of one stage."""
        return self.locks / f"{stage.replace(' ', '@')}.lock"

    def checkpoints(self, round_name: str) -> Path:
        """A training's checkpoints, kept until it finishes; each experiment's copy has its own."""
        if self.root.resolve() == self.home:
            return self.scratch / "checkpoints" / round_name
        experiment = os.environ.get("DVC_EXP_NAME") or self.root.name
        return self.experiments / experiment / round_name

    @property
    def experiments(self) -> Path:
        """Checkpoints of trainings that run in an experiment's copy."""
        return self.scratch / "experiments"

    @property
    def opponent_weights(self) -> Path:
        """Opponents' models as folders of safetensors, where their source is none."""
        return self.scratch / "weights"

    @property
    def dvc_cache(self) -> Path:
        """DVC's cache (its default place)."""
        return self.home / ".dvc" / "cache"

    @property
    def sweeps(self) -> Path:
        """The scratch folder of all sweeps."""
        return self.scratch / "sweeps"

    @property
    def sweep_journal(self) -> Path:
        """Optuna's journal: all trials of all sweeps."""
        return self.sweeps / "journal.log"

    @property
    def sweep_looks(self) -> Path:
        """Who has looked at which confirmation half: a row a look."""
        return self.sweeps / "looks.jsonl"

    @property
    def sweep_models(self) -> Path:
        """Models of the best trials, by the digest of their training data and settings."""
        return self.sweeps / "models"

    @property
    def ablation_arms(self) -> Path:
        """Results of ablations' arms, a file for each training, and their models while they are measured."""
        return self.sweeps / "arms"

    def sweep(self, study: str) -> Path:
        """A sweep's scratch folder: locks of the sweep and its workers."""
        return self.sweeps / study

    @property
    def mlruns(self) -> Path:
        """MLflow's folder."""
        return self.home / "mlruns"


# Parts of paths that tools misread: MLflow's database URL decodes %20 and ends at ?; DVC interpolates braces.
_MISREAD = (
    (re.compile(r"%[0-9A-Fa-f]{2}"), "MLflow would decode it to another character and write elsewhere"),
    (re.compile(r"[?]"), "MLflow would end the path there and write outside the project"),
    (re.compile(r"[{}]"), "DVC's stages fail on it"),
)


def check_location(paths: Paths) -> None:
    """Refuse a project whose path MLflow or DVC would misread, before the first stage runs.

    Raises:
        ArenaError: the path contains ``?``, a brace, or ``%`` and two hexadecimal digits.
    """
    for pattern, why in _MISREAD:
        if found := pattern.search(str(paths.home)):
            raise ArenaError(
                f"the project's path contains '{found.group()}': {why}",
                where=str(paths.home),
                hint="rename the folder or move the project (spaces, accents and other characters are fine)",
            )


def find_project(root: str | Path | None = None) -> Paths:
    """Return the paths of the project at ``root``; by default of the current folder or its nearest parent that is one.

    Raises:
        ArenaError: there is no params.yaml.

    Example::

        paths = find_project()
        battles = read_rows(paths.battles("sft-i1"), Battle)
    """
    start = Path(root or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file():
            return Paths(folder)
        if root is not None:
            break
    raise ArenaError(
        "no params.yaml here or above",
        where=str(start),
        hint="run this inside a project, or create one with `arena init`",
    )
