"""Where files may be written: nothing is overwritten unasked, nothing leaves the folder."""

import pytest

from bevel.errors import TargetError
from bevel.outputs import claim, claim_file


def test_a_folder_is_made_and_the_paths_are_real(tmp_path):
    paths = claim(tmp_path / "a" / "b", ("x.json",))
    assert paths == {"x.json": (tmp_path / "a" / "b" / "x.json").resolve()}
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_is_overwritten_with_force_only(tmp_path):
    (tmp_path / "x.json").write_text("precious")
    with pytest.raises(TargetError, match=r"x\.json` exists\n  help: pass --force"):
        claim(tmp_path, ("x.json",))
    assert claim(tmp_path, ("x.json",), force=True)
    assert (tmp_path / "x.json").read_text() == "precious"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["../x.json", "../results-2/x.json", "/x.json", "a/../../x.json"])
def test_a_name_cannot_lead_out_of_the_folder(tmp_path, name, force):
    # results-2 begins like results: a comparison of prefixes would let it through.
    with pytest.raises(TargetError, match="leads out of"):
        claim(tmp_path / "results", (name,), force=force)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("force", [False, True])
def test_a_link_cannot_lead_out_of_the_folder(tmp_path, force):
    inside = tmp_path / "results"
    inside.mkdir()
    (tmp_path / "secret").write_text("precious")
    (inside / "x.json").symlink_to(tmp_path / "secret")
    with pytest.raises(TargetError, match=r"x\.json` leads out of .*secret"):
        claim(inside, ("x.json",), force=force)


def test_a_folder_that_is_itself_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert claim(tmp_path / "link", ("x",))["x"] == (tmp_path / "real" / "x").resolve()


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(TargetError, match="is a folder; expected a file"):
        claim(tmp_path, ("x.json",), force=True)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(TargetError, match="cannot make the folder"):
        claim(tmp_path / "results", ("x.json",))


def test_the_suffix_is_checked(tmp_path):
    assert claim_file(tmp_path / "a.PNG", (".png", ".svg")).name == "a.PNG"
    with pytest.raises(TargetError, match=r"ends in '\.exe'; expected \.png or \.svg"):
        claim_file(tmp_path / "a.exe", (".png", ".svg"))
    with pytest.raises(TargetError, match=r"ends in 'nothing'"):
        claim_file(tmp_path / "a", (".png", ".svg"))
