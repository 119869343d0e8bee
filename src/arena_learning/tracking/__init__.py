"""MLflow as a view of the files: runs that are made from them, left alone when equal, superseded when not."""

from arena_learning.tracking.stage import TrackReport, track

__all__ = ["TrackReport", "track"]
