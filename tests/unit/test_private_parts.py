"""What libraries do not promise, and this project uses: an upgrade that moves it fails here, in words."""

from __future__ import annotations

import pytest

from arena_learning.sweep.records import asked_values
from private_parts import moved, part

# Library, module, name, and what needs it.
MLFLOW = [
    (
        "mlflow.prompt.constants",
        "PROMPT_EXPERIMENT_IDS_TAG_KEY",
        "track/prompts.py links a prompt to the project's experiment by it",
    ),
    (
        "mlflow.data.dataset_source_registry",
        "get_dataset_source_from_json",
        "track/writer.py makes a dataset's source with it",
    ),
    (
        "mlflow.models.model",
        "MLMODEL_FILE_NAME",
        "track/writer.py writes the file without which no model can be registered",
    ),
    ("mlflow.models.utils", "get_external_mlflow_model_spec", "track/writer.py writes that file with it"),
    (
        "mlflow.utils.mlflow_tags",
        "MLFLOW_MODEL_IS_EXTERNAL",
        "track/writer.py says with it that weights stay in their folder",
    ),
]


@pytest.mark.parametrize(("module", "name", "use"), MLFLOW, ids=[name for _, name, _ in MLFLOW])
def test_mlflow_has_what_tracking_takes_from_its_inside(module, name, use):
    assert part("mlflow", module, name, use)


@pytest.mark.torch
def test_trl_has_what_training_takes_from_its_inside():
    use = "train/load.py loads a new score head without a warning by it"
    assert part("trl", "trl.trainer.reward_trainer", "suppress_seqcls_warning", use)


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("DVC_ROOT", "paths.py finds the original project by it in an experiment's copy"),
        ("DVC_EXP_NAME", "paths.py and track/views.py name an experiment by it"),
        ("DVC_STAGE", "core/stage_lock.py tells by it that DVC has started a stage"),
    ],
)
def test_dvc_tells_its_stages_what_they_read_from_the_environment(name, use):
    if part("dvc", "dvc.env", name, use) != name:
        moved("dvc", f"the variable {name}", use)


def test_dvc_knows_its_lock_files_by_what_the_doctor_reads():
    use = "setup/doctor.py tells by it that DVC was killed while it wrote"
    schema = part("dvc", "dvc.schema", "COMPILED_LOCKFILE_SCHEMA", use)
    try:
        schema({"schema": "2.0", "stages": {"train": {"cmd": "arena train", "outs": [{"path": "models/x"}]}}})
    except Exception as error:  # noqa: BLE001  whatever a schema of another library raises
        moved("dvc", f"the schema of dvc.lock ({error})", use)
    if part("dvc", "dvc.rwlock", "RWLOCK_FILE", use) != "rwlock":
        moved("dvc", "the name of .dvc/tmp/rwlock", use)


def test_optuna_keeps_what_a_waiting_trial_was_asked_for():
    import optuna

    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25})
    (waiting,) = study.get_trials()
    if asked_values(waiting) != {"x": 0.25}:
        use = "sweep/records.py tells by it which combinations are lined up, and sweep/study.py tries a dead trial's again"
        moved("optuna", "a waiting trial's system attribute 'fixed_params'", use)


def test_what_has_moved_is_said_in_words():
    with pytest.raises(pytest.fail.Exception) as failed:
        part("dvc", "dvc.schema", "NO_SUCH_SCHEMA", "setup/doctor.py needs it")
    said = str(failed.value)
    assert "dvc.schema.NO_SUCH_SCHEMA is not what it was. setup/doctor.py needs it" in said
    assert "hold dvc back in pyproject.toml and constraints.txt" in said
