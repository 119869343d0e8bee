"""Where every artefact lives; nothing else spells a path.

Paths are relative to the project's root: the folder with params.yaml that the command runs in. The stores that
outlive a run (responses and games, MLflow) belong to the original root when DVC runs an experiment in a copy.
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
        """The stages, for DVC."""
        return self.root / "dvc.yaml"

    @property
    def lockfile(self) -> Path:
        """What DVC remembers of the stages that have run."""
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
            outside: whether it may lie outside of the project (``files_outside``).

        Raises:
            ArenaError: it lies outside, by its name or by a link, and that was not asked for.
        """
        path = self.root / name
        if not outside and not any(
            path.resolve().is_relative_to(top) for top in (self.root.resolve(), self.home)
        ):
            raise ArenaError(
                f"{name} lies outside of the project",
                where=f"params.yaml, {where}",
                hint="copy it into the project, or set files_outside: true",
            )
        return path

    @property
    def inputs(self) -> Path:
        """The folder of `input`."""
        return self.root / "data" / "inputs"

    def input(self, consumer: str) -> Path:
        """Digests of the files that params.yaml names for one consumer: ``pool``, ``judges/NAME``, ..."""
        return self.inputs / f"{consumer}.json"

    @property
    def input_digests(self) -> Path:
        """Digests by path, size and time, so that large files are read once."""
        return self.scratch / "input_digests.json"

    def split(self, name: str) -> Path:
        """The instructions of one split, ``validation`` or ``test``."""
        return self.root / "data" / "prepared" / f"{name}.jsonl"

    @property
    def prepare_card(self) -> Path:
        """What prepare kept and dropped, with reasons."""
        return self.root / "data" / "prepared" / "card.json"

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
        """The judges' health on the test set."""
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
        """The folder of `audit`."""
        return self.reports / "audits"

    def audit(self, labelled: str) -> Path:
        """The judges' agreement with a file of labelled pairs."""
        return self.audits / f"{labelled}.json"

    def sweep_report(self, study: str) -> Path:
        """What a sweep found: its trials, the confirmation, the winner."""
        return self.reports / "sweeps" / f"{study}.json"

    def sweep_figures(self, study: str) -> Path:
        """The folder of a sweep's figures."""
        return self.reports / "sweeps" / study

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
    def home(self) -> Path:
        """The original project root: another one than `root` inside a DVC experiment's copy."""
        return Path(os.environ.get("DVC_ROOT", self.root)).resolve()

    @property
    def scratch(self) -> Path:
        """The ignored folder for what can be made again or must survive a crash."""
        return self.home / ".arena"

    @property
    def store(self) -> Path:
        """The memory of responses and games."""
        return self.scratch / "store.sqlite"

    @property
    def exports(self) -> Path:
        """Models in the serving engine's format, by digest."""
        return self.scratch / "exports"

    @property
    def locks(self) -> Path:
        """The locks of one checkout's stages (an experiment's copy has its own)."""
        return self.root / ".arena" / "locks"

    def lock(self, stage: str) -> Path:
        """The lock of one stage."""
        return self.locks / f"{stage.replace(' ', '@')}.lock"

    def checkpoints(self, round_name: str) -> Path:
        """A training's checkpoints, kept until it has finished: each experiment's copy has its own."""
        if self.root.resolve() == self.home:
            return self.scratch / "checkpoints" / round_name
        experiment = os.environ.get("DVC_EXP_NAME") or self.root.name
        return self.experiments / experiment / round_name

    @property
    def experiments(self) -> Path:
        """The checkpoints of trainings that run in an experiment's copy."""
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
        """The models of the best trials, by the digest of what they were trained on and how."""
        return self.sweeps / "models"

    def sweep(self, study: str) -> Path:
        """A sweep's scratch folder: its locks, and those of its workers."""
        return self.sweeps / study

    @property
    def mlruns(self) -> Path:
        """MLflow's folder."""
        return self.home / "mlruns"


# What tools make of a folder's name: MLflow's address of a database decodes %20 and ends at ?; DVC fills braces in.
_MISREAD = (
    (re.compile(r"%[0-9A-Fa-f]{2}"), "MLflow would read it as another character and write elsewhere"),
    (re.compile(r"[?]"), "MLflow would end the path there and write outside of the project"),
    (re.compile(r"[{}]"), "DVC's stages fail on it"),
)


def check_location(paths: Paths) -> None:
    """Refuse a project in a folder whose name a stage's tools misread: before the first stage, not after the last.

    Raises:
        ArenaError: the path holds ``?``, a brace, or ``%`` and two hexadecimal digits.
    """
    for pattern, why in _MISREAD:
        if found := pattern.search(str(paths.home)):
            raise ArenaError(
                f"the project's path holds '{found.group()}': {why}",
                where=str(paths.home),
                hint="rename the folder, or move the project: spaces, accents and other signs do no harm",
            )


def find_project(root: str | Path | None = None) -> Paths:
    """Return the paths of the project at ``root``, by default the nearest folder upwards with a params.yaml.

    Raises:
        ArenaError: there is no params.yaml.
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
        hint="run in the project, or make one with `arena init`",
    )
