"""What tests with a real MLflow store share: its own warnings are no errors, and nothing reaches another server."""

from __future__ import annotations

import pytest

# MLflow's own, on the pinned SQLAlchemy and pandas.
THEIRS = (
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",
    "ignore:For backward compatibility, 'str' dtypes are included:DeprecationWarning",
)


def allow_their_warnings(items, folder):
    """Let MLflow's own warnings pass in the tests below ``folder``; for a conftest's collection hook."""
    for item in items:
        if folder in item.path.parents:
            for line in THEIRS:
                item.add_marker(pytest.mark.filterwarnings(line))


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    """Forget a server and a token that the caller's environment names; imported by a conftest, it holds for its folder."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
