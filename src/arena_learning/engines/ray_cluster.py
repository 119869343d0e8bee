"""Join a Ray cluster, or start Ray on this machine: for copies of models, and for trainings."""

from __future__ import annotations

import os

from arena_learning.core import ArenaError, first_line
from arena_learning.params import Ray

_OBJECTS = 256 * 2**20  # bytes of shared memory of a Ray that is started here: texts are small


def require_ray(where: str, otherwise: str) -> None:
    """Check that Ray is installed.

    Args:
        where: the key that asks for it.
        otherwise: what to set where Ray is not wanted.

    Raises:
        ArenaError: it is not.
    """
    try:
        import ray  # noqa: F401
    except ImportError:
        raise ArenaError(
            "Ray is not installed",
            where=where,
            hint=f"pip install 'arena-learning[ray]', or {otherwise}",
        ) from None


def join_ray(ray: Ray, cpus: int | None = None) -> None:
    """Join the cluster that ``ray.address`` names, or start Ray on this machine; nothing if it is joined.

    Args:
        ray: where the cluster is.
        cpus: processes of one CPU for which a Ray that is started here has room; none: as many as it has cores.

    Raises:
        ArenaError: there is no cluster at this address.
    """
    import ray as library

    if library.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        if ray.address:
            library.init(address=ray.address, **quiet)
        else:
            own = {"include_dashboard": False, "object_store_memory": _OBJECTS, "num_cpus": cpus}
            library.init(address="local", **own, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ArenaError(
            f"no Ray cluster: {first_line(error)}",
            where=f"ray.address: {ray.address}",
            hint="start one with `ray start --head`, or leave the address empty",
        ) from error
