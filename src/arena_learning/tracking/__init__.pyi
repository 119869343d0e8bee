from .efficiency import battle_efficiency
from .metric_names import slug
from .mlflow_store import opened
from .prompts import register
from .run_view import AttachedFile, MetricPoint, RunView, TableArtifact, md5
from .server import serve
from .stage import TrackReport, track_project
from .versions import RegisteredVersions, show_versions
from .views import as_params
from .writer import upsert

__all__ = [
    "AttachedFile",
    "MetricPoint",
    "RegisteredVersions",
    "RunView",
    "TableArtifact",
    "TrackReport",
    "as_params",
    "battle_efficiency",
    "md5",
    "opened",
    "register",
    "serve",
    "show_versions",
    "slug",
    "track_project",
    "upsert",
]
