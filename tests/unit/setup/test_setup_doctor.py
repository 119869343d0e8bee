from __future__ import annotations

from arena_learning.paths import Paths
from arena_learning.rows import write_text
from arena_learning.setup.doctor import _torn_lock


def test_a_lock_file_that_dvc_left_half_written_is_found_and_a_whole_one_is_not(tmp_path):
    lock = tmp_path / ".dvc" / "tmp" / "rwlock"
    assert list(_torn_lock(Paths(tmp_path))) == []
    write_text(lock, "{}")
    assert list(_torn_lock(Paths(tmp_path))) == []
    write_text(lock, "")  # as it was found after a kill
    (finding,) = _torn_lock(Paths(tmp_path))
    assert (finding.level, finding.mend) == ("fail", "rm .dvc/tmp/rwlock")


def test_dvcs_memory_of_the_stages_that_was_cut_off_is_found_and_a_whole_one_is_not(tmp_path):
    whole = "schema: '2.0'\nstages:\n  prepare:\n    cmd: arena prepare\n    outs: [{path: a, md5: b}]\n"
    write_text(tmp_path / "dvc.lock", whole)
    assert list(_torn_lock(Paths(tmp_path))) == []
    for torn in ("", whole[:10], whole[: whole.index("{path") + 3]):
        write_text(tmp_path / "dvc.lock", torn)
        (finding,) = _torn_lock(Paths(tmp_path))
        assert (finding.level, finding.mend) == ("fail", "git checkout dvc.lock")
