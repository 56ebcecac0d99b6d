"""The commands: what they print where, the files they write, their exit codes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bevel
from bevel import __version__
from bevel.cli import app
from bevel.codes import PAGES
from bevel.curves import OPERATIONS

# A subprocess tests the same tree as this process.
SUBPROCESS = {**os.environ, "PYTHONPATH": str(Path(bevel.__file__).parents[1])}
EXAMPLES = Path(__file__).parents[1] / "examples"
PROFIT = f"{EXAMPLES / 'profit.py'}:profit"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder; returns the result with its two outputs apart."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def invoke(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    return invoke


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / "metrics.py"
    path.write_text(
        "import tensorflow as tf\n"
        "print('hello from the file')\n"
        "def mse(y_true, y_pred):\n"
        "    print('hello from the function')\n"
        "    return tf.reduce_mean((y_true - y_pred) ** 2)\n"
        "def unused(y_true, y_pred):\n"
        "    return tf.reduce_mean(y_true)\n"
        "def rounded(y_true, y_pred):\n"
        "    return tf.reduce_mean(tf.abs(y_true - tf.round(y_pred)))\n"
        "def sign(x):\n"
        "    return tf.sign(x)\n"
        "def asks(y_true, y_pred):\n"
        "    return float(y_pred.numpy().mean()) + tf.reduce_mean(y_pred)\n"
        "def still(y_true, y_pred):\n"
        "    return tf.reduce_sum(tf.clip_by_value(y_pred, 1e6, 1e7))\n"
        "def fails(y_true, y_pred):\n"
        "    return tf.reduce_mean(tf.linalg.inv(y_true['labels']))\n"
    )
    return path


@pytest.mark.parametrize(
    ("function", "code"),
    [("mse", 0), ("rounded", 1), ("unused", 1), ("asks", 1), ("fails", 2), ("still", 2)],
)
def test_the_exit_code_of_audit_serves_in_ci(run, metrics, function, code):
    result = run("audit", f"{metrics}:{function}")
    assert result.exit_code == code, result.output


def test_audit_shows_the_line_and_says_which_inputs_it_used(run, metrics):
    result = run("audit", "metrics.py:rounded")
    assert "error[B101]" in result.stdout
    assert "metrics.py:9" in result.stdout
    assert "tf.round(y_pred)" in result.stdout
    assert "inputs: 0/1 labels and probabilities, found by trying: y_true=float32[24]" in (
        result.stderr
    )


def test_audit_uses_the_sample_it_is_given(run, metrics):
    result = run("audit", "metrics.py:mse", "--sample", "y_true=normal(5,2),y_pred=normal(5,2)")
    assert result.exit_code == 0
    assert "inputs: as --sample asks: y_true=float32[5, 2], y_pred=float32[5, 2]" in result.stderr


def test_audit_as_json_is_json_alone(run, metrics):
    from bevel import Report

    result = run("audit", "metrics.py:mse", "--json")
    assert json.loads(result.stdout)
    assert Report.from_json(result.stdout).verdict == "trains"
    assert "hello from the file" in result.stderr
    assert "hello from the function" in result.stderr


def test_a_flat_loss_on_inputs_of_ones_own_does_not_train(run, metrics):
    result = run("audit", "metrics.py:still", "--sample", "binary")
    assert result.exit_code == 1
    assert "flat" in result.stdout


def test_audit_can_look_at_another_argument(run, metrics):
    assert run("audit", "metrics.py:unused", "--wrt", "y_true").exit_code == 0


def test_relax_lists_what_is_replaced(run, metrics):
    result = run("relax", "metrics.py:rounded")
    assert result.exit_code == 0, result.output
    assert "metrics.py" in result.stdout
    assert "round" in result.stdout


def test_plot_draws_qpwc_unless_told_otherwise(run, tmp_path):
    result = run("plot")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "qpwc.png").read_bytes().startswith(b"\x89PNG")
    assert "written: qpwc.png" in result.stdout


def test_plot_draws_a_function_to_the_file_asked_for(run, metrics, tmp_path):
    result = run("plot", "metrics.py:sign", "--out", "a/sign.svg", "--range", "-1,1.5e0")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a" / "sign.svg").read_text().startswith("<?xml")
    assert "element by element" in result.stdout


def test_plot_draws_a_metric(run, tmp_path):
    result = run("plot", PROFIT)
    assert result.exit_code == 0, result.output
    assert "shift of their logits" in result.stdout
    assert (tmp_path / "profit.png").exists()


def test_plot_help_names_every_operation(run):
    text = " ".join(run("plot", "--help").stdout.split())
    assert ", ".join(OPERATIONS) in text


def test_explain_prints_the_page(run):
    result = run("explain", "B101")
    assert result.exit_code == 0
    assert PAGES["B101"].title in result.stdout


def test_train_shows_the_table_and_writes_the_figures(run, tmp_path):
    result = run("train", PROFIT, "--seeds", 2, "--epochs", 10, "--out", "results")
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "profit.py:12" in words  # The line that stops the gradient.
    assert "cross-entropy, decision tuned on validation" in words
    assert "relaxed metric, decision at 0.5" in words
    assert "higher is better (inferred)" in words
    assert "cross-entropy with a tuned decision" in words
    assert "written: results/figures.json, results/curves.png" in words
    figures = json.loads((tmp_path / "results" / "figures.json").read_text())
    assert figures["outcome"] in {"wins", "loses", "tie"}
    assert figures["verdict"] in {"blocked", "partial"}
    assert figures["words"].split()[0] in words
    assert (tmp_path / "results" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results"]


def test_train_reads_a_csv_and_takes_a_direction(run, tmp_path):
    rows = "".join(f"{i % 7},{i % 3},{'yes' if i % 7 > 4 else 'no'}\n" for i in range(80))
    (tmp_path / "rows.csv").write_text("a,b,won\n" + rows)
    result = run(
        "train", "accuracy", "--data", "rows.csv", "--label", "won", "--maximize",
        "--seeds", 2, "--epochs", 3,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "rows.csv: 80 rows, 2 features; no 72%, yes 28%" in result.stderr
    assert "higher is better (as asked)" in " ".join(result.stdout.split())
    assert (tmp_path / "bevel-out" / "accuracy" / "figures.json").exists()


def test_train_stops_when_the_prediction_is_not_used(run, metrics):
    result = run("train", "metrics.py:unused", "--maximize", "--seeds", 2, "--epochs", 2)
    assert result.exit_code == 1
    assert "there is nothing to train" in result.stderr
    assert "independent" in result.stdout


@pytest.mark.parametrize("command", ["audit", "relax", "plot", "train"])
def test_help_says_that_the_file_is_executed(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "executed" in result.stdout or "executes" in result.stdout


def test_the_general_help_and_the_version(run):
    assert "executes that file" in " ".join(run("--help").stdout.split())
    assert run("--version").stdout == f"bevel {__version__}\n"


def test_explain_loads_no_framework():
    code = (
        "import sys; from bevel.cli import app\n"
        "try: app(['explain', 'B101'])\n"
        "except SystemExit: pass\n"
        "assert not {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=SUBPROCESS)


@pytest.mark.slow
def test_train_with_defaults_takes_less_than_90_seconds(tmp_path):
    began = time.perf_counter()
    command = [sys.executable, "-c", "from bevel.cli import main; main()", "train", PROFIT]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, env=SUBPROCESS
    )
    assert time.perf_counter() - began < 90
    assert "trained with" in done.stdout
    assert "WARNING" not in done.stderr
    assert (tmp_path / "bevel-out" / "profit" / "figures.json").exists()
