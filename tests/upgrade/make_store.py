"""Fill a store by the version that is on the path, and write down what came out: a fixture for every later version.

    PYTHONPATH=FOLDER_OF_THAT_VERSION/src:tests:tests/openai python tests/upgrade/make_store.py NAME

writes ``stores/NAME.sqlite.xz`` and ``stores/NAME.json`` beside this file, and never over one that is there: a store
is only worth something as it was made then.

``0.1.0`` was made by version 0.1.0 as of 2026-11-25, before the store's table was laid out anew. That version was taken
out of the project's history into a folder of its own (``git worktree add --detach OLD 4771fc9``), and this script ran
against its sources with the libraries of constraints.txt.
"""

from __future__ import annotations

import argparse
import lzma
import os
import sqlite3
import tempfile
from pathlib import Path

from scenes import INSTRUCTIONS, SCENES, needs, opened

from arena_learning.core.json_files import write_json

STORES = Path(__file__).parent / "stores"


def make(store: Path, folder: Path) -> dict[str, dict[str, object]]:
    """Play every scene on a new store, once; return what each gave and what of this machine it hangs on."""
    found: dict[str, dict[str, object]] = {}
    for name, scene in SCENES.items():
        with opened(store, folder) as stage:
            outcome = scene(stage)
            requests = len(stage.server.requests)
        with opened(store, folder) as stage:
            again = scene(stage)
            if again["requested"] or stage.server.requests:
                raise SystemExit(f"'{name}' asks again by itself: it cannot tell whether an upgrade does")
        found[name] = {"needs": needs(name, folder), "requests": requests, **outcome}
        print(f"{name}: {outcome['requested']} requested, {requests} requests")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("name", help="of the version, such as 0.1.0")
    name = parser.parse_args().name
    packed, written = STORES / f"{name}.sqlite.xz", STORES / f"{name}.json"
    if packed.exists() or written.exists():
        raise SystemExit(f"{packed} is there already: take another name")
    with tempfile.TemporaryDirectory() as work:
        store = Path(work) / "store.sqlite"
        found = make(store, Path(work))
        db = sqlite3.connect(store)
        (layout,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'memory'").fetchone()
        db.close()
        STORES.mkdir(exist_ok=True)
        packed.write_bytes(lzma.compress(store.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
        whole = {"instructions": len(INSTRUCTIONS), "layout": " ".join(layout.split()), "scenes": found}
        write_json(written, whole)
    print(
        f"{packed.name}: {os.path.getsize(packed):,} bytes; {written.name}: {os.path.getsize(written):,} bytes"
    )


if __name__ == "__main__":
    main()
