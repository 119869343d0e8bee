from __future__ import annotations

from arena_learning.core.json_files import write_text
from arena_learning.core.paths import Paths
from arena_learning.project.dvc_health import find_torn, in_dvc_repository


def test_a_lock_file_that_dvc_left_half_written_is_found_and_a_whole_one_is_not(tmp_path):
    lock = tmp_path / ".dvc" / "tmp" / "rwlock"
    assert list(find_torn(Paths(tmp_path))) == []
    write_text(lock, "{}")
    assert list(find_torn(Paths(tmp_path))) == []
    write_text(lock, "")  # as it was found after a kill
    (finding,) = find_torn(Paths(tmp_path))
    assert (finding.level, finding.hint) == ("fail", "`rm .dvc/tmp/rwlock`")


def test_dvcs_memory_of_the_stages_that_was_cut_off_is_found_and_a_whole_one_is_not(tmp_path):
    out = f"    outs:\n    - path: a\n      hash: md5\n      md5: {'a' * 32}\n      size: 1\n"
    whole = f"schema: '2.0'\nstages:\n  prepare:\n    cmd: arena prepare\n{out}"
    write_text(tmp_path / "dvc.lock", whole)
    assert list(find_torn(Paths(tmp_path))) == []
    cuts = (0, 10, whole.index("    cmd"), whole.index("    - path"), whole.index("path") + 3)
    for torn in (whole[:cut] for cut in cuts):
        write_text(tmp_path / "dvc.lock", torn)
        (finding,) = find_torn(Paths(tmp_path))
        assert finding.level == "fail"
        assert finding.hint.startswith("`rm dvc.lock`")


def test_a_project_below_a_dvc_repository_is_in_one(tmp_path):
    assert not in_dvc_repository(Paths(tmp_path / "below"))
    (tmp_path / ".dvc").mkdir()
    assert in_dvc_repository(Paths(tmp_path / "below"))
