"""The README and the generated documentation say what the code does."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import bevel

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "command",
    [
        'pip install ".[tensorflow]" && bevel train examples/profit.py:profit',
        'pip install ".[test]" && pytest',
    ],
)
def test_each_command_stands_alone_once(command):
    assert blocks("sh").count(command + "\n") == 1
    assert README.splitlines().count(command) == 1


CODES = dict(zip(("tensorflow", "jax", "torch"), blocks("python"), strict=True))


def test_the_example_prints_what_the_readme_says(tmp_path, monkeypatch, capsys):
    (printed,) = blocks("text")
    monkeypatch.chdir(tmp_path)
    Path("missed.py").write_text(CODES["tensorflow"], encoding="utf-8")
    runpy.run_path(str(tmp_path / "missed.py"))
    assert capsys.readouterr().out == printed


# One line more than the README has, to use what its last line makes.
USES = {
    "jax": "slope = slope(jnp.array([0.0, 1.0, 1.0]), jnp.array([0.3, 0.4, 0.8]))\n",
    "torch": "p = torch.tensor([0.3, 0.4, 0.8], requires_grad=True)\n"
    "criterion(torch.tensor([0.0, 1.0, 1.0]), p).backward()\nslope = p.grad\n",
}


@pytest.mark.parametrize("framework", USES)
def test_the_example_in_another_framework(framework, tmp_path):
    pytest.importorskip(framework)
    code = CODES[framework] + USES[framework] + "print(*(float(g) for g in slope))\n"
    (tmp_path / "missed.py").write_text(code, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    run = subprocess.run(
        [sys.executable, "missed.py"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    *report, slopes = run.stdout.splitlines()
    assert report[0].startswith("missed: blocked")
    assert "B101" in run.stdout
    assert "(y_pred > 0.5)" in run.stdout
    low, high, sure = (float(g) for g in slopes.split())
    assert low > 0 > high  # the loss falls with the scores of what is true
    assert sure < 0


def test_each_example_has_at_most_ten_lines():
    assert all(len([line for line in c.splitlines() if line]) <= 10 for c in CODES.values())


def test_the_model_of_the_example_learns(tmp_path, monkeypatch):
    import keras
    import numpy as np

    monkeypatch.chdir(tmp_path)
    Path("missed.py").write_text(CODES["tensorflow"], encoding="utf-8")
    keras.utils.set_random_seed(0)
    names = runpy.run_path("missed.py")
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(19200, 2)).astype("float32")
    labels = (inputs[:, :1] + 0.3 * draw.normal(size=(19200, 1)) > 0.7).astype("float32")
    model = names["model"]
    before = float(names["missed"](labels, model(inputs)))
    model.fit(inputs, labels, batch_size=64, epochs=2, verbose=0)
    assert float(names["missed"](labels, model(inputs))) < 0.5 * before


def test_links_in_the_documents_lead_somewhere():
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = document.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            if not link.startswith("http"):
                assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_generated_documents_are_up_to_date(monkeypatch, capsys):
    script = ROOT / "scripts" / "make_docs.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0, capsys.readouterr().out


def test_the_limits_are_the_table_s():
    from bevel.vocabulary import NOT_RELAXED

    listed = re.findall(r"^- `(\w+)`: ", README, re.MULTILINE)
    assert listed == sorted(NOT_RELAXED)


def test_the_readme_names_the_supported_pythons():
    from importlib import metadata

    assert metadata.metadata("bevel")["Requires-Python"] == "<3.14,>=3.11"
    assert "Python 3.11 to 3.13" in README


def test_the_changelog_has_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{bevel.__version__}]" in changelog
