"""The command line as a person meets it: output, exit codes, and three lines for each mistake."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cli import app
from tests.support.commands import harness

CSV = "ticket,team\nMy card was charged twice,billing\nWhere is my parcel,shipping\nI was billed wrongly,billing\n"
TASK = """task: tickets
data: {file: tickets.csv}
kind: choice
prompt: "Ticket: {ticket}\\nTeam:"
choices: [billing, shipping]
answer: team
"""
RUN = """run: mine
tasks: [tickets.yaml]
models:
  - {name: a, backend: fake}
  - {name: b, backend: fake, script: script.yaml}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a user's own task, run and data."""
    monkeypatch.chdir(tmp_path)
    files = {"tickets.csv": CSV, "tickets.yaml": TASK, "run.yaml": RUN, "script.yaml": "answers: [{text: billing}]"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_run_prints_its_table_and_where_everything_is(capsys):
    code, out, err = harness(capsys, "run", "run.yaml", "--out", "out", "--machine", "cloud-cpu")
    assert code == 0
    assert "tickets · version 1 · choices scored" in out and "(chance)" in out
    assert "run folder: out" in err and "harness verify out" in err
    assert {p.name for p in Path("out").iterdir()} >= {
        "plan.json",
        "samples.jsonl",
        "responses.jsonl",
        "records.jsonl",
        "measurements.jsonl",
        "summary.json",
        "table.md",
        "table.csv",
    }


def test_the_summary_has_the_promised_keys(capsys):
    _, out, _ = harness(capsys, "run", "run.yaml", "--json", "--out", "out")
    summary = json.loads(out)
    assert {"rows", "baseline", "machine", "notes"} <= set(summary)
    row = summary["rows"][0]
    assert {
        "model",
        "task",
        "task_version",
        "mode",
        "asked",
        "accuracy",
        "latency",
        "throughput",
        "cost",
    } <= set(row)
    assert {"value", "low", "high", "method"} <= set(row["accuracy"])
    assert {"n", "expected", "failures"} <= set(row["asked"])
    assert {"ttft_p50", "tpot_p50", "e2e_p50"} <= set(row["latency"])
    assert {"wall_s", "input_tokens_per_s", "output_tokens_per_s"} <= set(row["throughput"])
    assert {"usd_per_1m_input", "usd_per_1m_output", "usd_per_1k_samples", "usd_per_correct"} <= set(row["cost"])
    record = json.loads(Path("out/records.jsonl").read_text().split("\n")[0])
    assert {
        "model",
        "task",
        "sample_id",
        "epoch",
        "mode",
        "expected",
        "answer",
        "value",
        "failure",
        "input_tokens",
        "output_tokens",
        "choice_logprobs",
        "text",
        "finish_reason",
        "truncated_left",
    } <= set(record)


@pytest.mark.parametrize("form", ["text", "markdown", "csv", "latex", "json"])
def test_a_table_has_every_form(capsys, form: str):
    harness(capsys, "run", "run.yaml", "--out", "out")
    code, out, _ = harness(capsys, "table", "out", "--format", form)
    assert code == 0 and "tickets" in out and not out.endswith("\n\n")
    assert all(len(line) <= 100 for line in out.splitlines()) or form != "text"


def test_score_table_and_verify_read_results_only(capsys):
    harness(capsys, "run", "run.yaml", "--out", "out")
    for name in ("tickets.csv", "tickets.yaml", "run.yaml"):
        Path(name).unlink()
    assert harness(capsys, "score", "out")[0] == 0
    assert harness(capsys, "table", "out", "out")[0] == 0
    code, out, _ = harness(capsys, "verify", "out")
    assert code == 0 and out.startswith("ok: out: 6 of 6 responses unbroken")


def test_verify_fails_where_the_chain_breaks(capsys):
    harness(capsys, "run", "run.yaml", "--out", "out")
    log = Path("out/responses.jsonl")
    log.write_text(log.read_text().replace("card was", "card got", 1))
    code, out, _ = harness(capsys, "verify", "out")
    assert code == 1 and "BROKEN at line 1 of out/responses.jsonl" in out


def test_verify_fails_where_a_score_was_changed(capsys):
    harness(capsys, "run", "run.yaml", "--out", "out")
    assert "their records and scores follow" in harness(capsys, "verify", "out")[1]
    file = Path("out/summary.json")
    summary = json.loads(file.read_text())
    summary["rows"][1]["accuracy"]["low"] += 0.001
    file.write_text(json.dumps(summary))
    code, out, _ = harness(capsys, "verify", "out")
    assert code == 1 and out.startswith("CHANGED at line ")
    assert "of out/summary.json: accuracy.low of b on tickets does not follow" in out
    file.unlink()
    assert harness(capsys, "verify", "out")[:2] == (1, "CHANGED in out/summary.json: it is missing\n")
    for name in ("manifest.json", "records.jsonl", "table.md", "table.csv"):
        Path("out", name).unlink()
    code, out, _ = harness(capsys, "verify", "out")
    assert code == 0 and "6 of 6 responses unbroken, not judged yet" in out


def test_check_shows_the_prompt_and_sends_nothing(capsys):
    code, out, _ = harness(capsys, "check", "run.yaml")
    assert code == 0
    assert "| Ticket: My card was charged twice" in out and "| Team:" in out
    assert "gold answer scores 1: ok" in out and "nothing was sent" in out
    assert not Path("results").exists()


def test_check_takes_a_task_alone(capsys):
    code, out, _ = harness(capsys, "check", "tickets.yaml")
    assert code == 0 and "right answer: billing" in out


def test_check_without_a_model_says_so_and_guesses_nothing_of_it(capsys):
    _, out, _ = harness(capsys, "check", "tickets.yaml")
    assert "model: none named" in out and "for none" not in out and "model none" not in out
    _, out, _ = harness(capsys, "check", "run.yaml", "--task", "support-routing")
    assert "time for a, b on tickets, support-routing: unknown (no earlier run of it here)" in out


def test_check_tells_a_key_that_is_not_set_and_answers_that_are_only_read(capsys, monkeypatch):
    models = "models:\n  - {name: far, backend: openai}\n  - {name: old, backend: recorded, script: old.csv}\n"
    Path("far.yaml").write_text("run: far\ntasks: [{task: support-routing, as: generate}]\n" + models)
    Path("old.csv").write_text("id,text\n1,billing\n")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    _, out, _ = harness(capsys, "check", "far.yaml")
    assert "sent to api.openai.com; MISSING: environment variable OPENAI_API_KEY is not set" in out
    assert "model old: nothing is asked; its answers are read from a file" in out
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key")
    assert "MISSING" not in harness(capsys, "check", "far.yaml")[1]


def test_check_shows_beginning_and_end_of_a_long_prompt(capsys):
    Path("tickets.csv").write_text(CSV.replace("My card", "My " + "very " * 10_000 + "card"))
    _, out, _ = harness(capsys, "check", "tickets.yaml")
    assert "characters ..." in out and len(out) < 10_000


def test_progress_tells_no_rate_before_there_is_one():
    from harness.cli.bar import _pace

    assert _pace(1, 300, 0.00001) == "" and _pace(300, 300, 0.15) == " (2,000/s)"
    assert _pace(100, 300, 10.0) == " (10/s, 20 s left)"


@pytest.mark.slow
def test_run_takes_a_task_and_models(capsys):
    code, out, _ = harness(capsys, "run", "tickets.yaml", "--model", "demo-0.1m", "--latency", "0", "--out", "out")
    assert code == 0 and "tickets · version 1 · choices scored" in out
    assert harness(capsys, "run", "tickets.yaml")[2].startswith("error: no models to run")


def test_check_fails_a_task_whose_gold_answer_does_not_score(capsys):
    Path("sums.jsonl").write_text('{"q": "1+1", "a": "two"}\n{"q": "2+2", "a": "four"}\n')
    text = "task: sums\ndata: {file: sums.jsonl}\nkind: generate\nprompt: '{q}'\nanswer: a\nextract: number\n"
    Path("sums.yaml").write_text(text)
    code, out, _ = harness(capsys, "check", "sums.yaml")
    assert code == 2 and "gold answer scores 1: FAILS for 2: sample 0, 1" in out


def test_a_misspelt_answer_column_never_scores_100(capsys):
    Path("tickets.yaml").write_text(TASK.replace("answer: team", "answer: taem"))
    for command in ("check", "run"):
        code, out, err = harness(capsys, command, "run.yaml")
        assert (code, out) == (2, "")
        assert "answer names column 'taem', which the data do not have" in err and "did you mean 'team'?" in err


def test_models_and_tasks_may_be_named_without_a_file(capsys):
    code, _, err = harness(capsys, "run", "--model", "nowhere/at-all", "--task", "tickets.yaml")
    assert code == 2 and "nowhere/at-all" in err
    code, _, err = harness(capsys, "run", "--task", "tickets.yaml")
    assert code == 2 and "no models to run" in err


def test_tasks_and_models_are_listed(capsys):
    code, out, _ = harness(capsys, "tasks")
    assert code == 0 and "mmlu" in out and max(map(len, out.splitlines())) <= 100
    code, out, _ = harness(capsys, "tasks", "BIAS")
    assert code == 0 and out.startswith("bbq ") and "gsm8k" not in out
    assert {task["task"] for task in json.loads(harness(capsys, "tasks", "--json")[1])} >= {"mmlu", "gsm8k"}
    code, out, _ = harness(capsys, "tasks", "product-facts")
    assert code == 0 and "Answer:" in out and "# right answer:" in out


@pytest.mark.parametrize(
    ("edit", "arguments", "messages"),
    [
        (None, ["run", "rum.yaml"], ["no file rum.yaml", "did you mean 'run.yaml'?"]),
        (None, ["run", "quickstrat"], ["no configuration named 'quickstrat'", "did you mean 'quickstart'?"]),
        (None, ["run", "run.yaml", "--task", "mmul"], ["no task named 'mmul'", "did you mean 'mmlu'?"]),
        (None, ["run", "run.yaml", "--machine", "h20"], ["no machine named 'h20'", "did you mean 'h200'?"]),
        (None, ["run", "run.yaml", "--baseline", "c"], ["baseline 'c' is none of the models"]),
        (None, ["run", "run.yaml", "--limit", "2", "--first", "2"], ["`limit` and `first` exclude each other"]),
        (None, ["run", "run.yaml", "--data", "tickets"], ["write --data TASK=PATH"]),
        (None, ["run", "run.yaml", "--data", "other=x.csv"], ["'other', which is not in the run"]),
        (None, ["run", "run.yaml", "--data", "tickets.yaml=no.csv"], ["no.csv"]),
        (None, ["table", "resluts"], ["no run in resluts", "known: out"]),
        (None, ["table", "."], ["no run in .", "known: out"]),
        (None, ["score", "resluts"], ["no run in resluts", "known: out"]),
        (None, ["verify", "."], ["no run in .", "known: out"]),
        (None, ["run", "./tickets.csv"], ["'./tickets.csv' is data, and no run file", "harness init ./tickets.csv"]),
        (None, ["run", "run.yaml", "--task", "tickets.csv"], ["'tickets.csv' is data", "harness init tickets.csv"]),
        (None, ["run", "run.yaml", "--task", "tickets"], ["no task named 'tickets'", "did you mean 'tickets.yaml'?"]),
        (None, ["table", "out", "--format", "makdown"], ["no format 'makdown'", "did you mean 'markdown'?"]),
        (None, ["tasks", "mmul"], ["did you mean 'mmlu'?"]),
        (None, ["models", "no-such"], ["no-such"]),
        (("run.yaml", "models:", "modles:"), ["run", "run.yaml"], ["unknown key 'modles'", "run.yaml:3", "'models'?"]),
        (("run.yaml", "run: mine", "run: mine\nrun: x"), ["run", "run.yaml"], ["key 'run' stands twice", "run.yaml:2"]),
        (("run.yaml", "name: b", "name: a"), ["run", "run.yaml"], ["two models are named 'a'"]),
        (
            ("run.yaml", "name: a, backend: fake", "name: a, path: demo-0.1m, dtype: bf61"),
            ["run", "run.yaml"],
            ["models.0.dtype", "'bf16'?"],
        ),
        (
            ("tickets.yaml", "task: tickets", "task: my tickets"),
            ["check", "tickets.yaml"],
            ["a name has letters, digits"],
        ),
        (("tickets.yaml", "{ticket}", "{tiket}"), ["run", "run.yaml"], ["column 'tiket'", "did you mean 'ticket'?"]),
        (("tickets.yaml", "tickets.csv", "tikets.csv"), ["run", "run.yaml"], ["did you mean 'tickets.csv'?"]),
        (("tickets.csv", CSV, ""), ["run", "run.yaml"], ["tickets.csv"]),
        (("tickets.csv", CSV, "ticket,team\n"), ["run", "run.yaml"], ["tickets.csv"]),
        (("tickets.csv", "wrongly,billing", "wrongly,"), ["run", "run.yaml"], ["no answer in column 'team'", "row 3"]),
        (("tickets.csv", "wrongly,billing", "wrongly,biling"), ["run", "run.yaml"], ["'biling' is none", "'billing'?"]),
    ],
)
def test_a_mistake_gets_short_lines_and_exit_code_2(
    capsys, place: Path, edit, arguments: list[str], messages: list[str]
):
    (place / "out").mkdir()
    (place / "out" / "plan.json").write_text("{}")
    if edit is not None:
        name, old, new = edit
        assert old in (place / name).read_text()
        (place / name).write_text((place / name).read_text().replace(old, new))
    code, out, err = harness(capsys, *arguments)
    assert code == 2, err
    assert all(message in err for message in messages), err
    assert "Traceback" not in err and len(err.strip().splitlines()) <= 3, err
    assert out == "" and not Path("results").exists()


def _start(*arguments: str) -> subprocess.Popen:
    root = Path(app.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "harness", *arguments]
    # a shell that runs the suite in the background has its children ignore Ctrl-C
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **pipes, text=True, env=environment, preexec_fn=heed)


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_goes_on(capsys):
    rows = "".join(f"row {i},billing\n" for i in range(400))
    Path("tickets.csv").write_text("ticket,team\n" + rows)
    Path("script.yaml").write_text("sleep_s: 0.01\nanswers: [{text: billing}]")
    process = _start("run", "run.yaml", "--out", "out", "--latency", "0")
    log = Path("out/responses.jsonl")
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count('"model":"b"') > 3):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "the same command goes on where it stopped" in err and "Traceback" not in err
    done = len(log.read_text().splitlines())
    assert 400 < done < 800
    Path("script.yaml").write_text(Path("script.yaml").read_text())
    code, _, _ = harness(capsys, "run", "run.yaml", "--out", "out", "--latency", "0")
    assert code == 0 and len(log.read_text().splitlines()) == 800
    assert harness(capsys, "verify", "out")[0] == 0


@pytest.mark.parametrize(
    "command", ["", "run", "bench", "cost", "prices", "check", "score", "table", "verify", "tasks", "models"]
)
def test_help_says_what_a_command_does(capsys, command: str):
    code, out, _ = harness(capsys, *([command] if command else []), "--help")
    assert code == 0 and "Usage" in out and len(out) > 200


def test_python_runs_it_as_a_module_and_it_tells_its_version(capsys):
    root = Path(app.__file__).parents[2]
    command = [sys.executable, "-m", "harness", "--version"]
    found = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)})
    assert found.returncode == 0 and found.stdout.startswith("harness")
    assert harness(capsys, "--version")[1] == found.stdout


@pytest.mark.slow
def test_a_terminal_shows_that_a_file_is_being_read_and_a_pipe_does_not():
    Path("mine.csv").write_text("ticket,team\n" + "".join(f"row {i},billing\nline {i},returns\n" for i in range(40)))
    command = [sys.executable, "-m", "harness", "init", "mine.csv", "--out"]
    environment = {**os.environ, "PYTHONPATH": str(Path(app.__file__).parents[2]), "TERM": "xterm"}
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "wb") as terminal:
        subprocess.run([*command, "a.yaml"], stdout=subprocess.PIPE, stderr=terminal, env=environment, check=True)
    assert b"reading mine.csv" in os.read(ours, 100_000)
    os.close(ours)
    piped = subprocess.run([*command, "b.yaml"], capture_output=True, text=True, env=environment, check=True)
    assert "reading" not in piped.stderr and "wrote b.yaml" in piped.stderr


def test_help_is_quick_because_nothing_heavy_is_imported():
    heavy = ("torch", "transformers", "datasets", "pandas", "numpy", "scipy")
    code = f"import sys, harness.cli.app; print([m for m in {heavy} if m in sys.modules])"
    root = Path(app.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_deterministic_pins_the_batches_of_every_model(capsys):
    pinned = RUN + "  - {name: c, path: demo-0.1m}\n"  # models that are asked elsewhere have no batches to pin
    Path("run.yaml").write_text(pinned)
    for more, expected in ((("--deterministic",), True), ((), False)):
        harness(capsys, "run", "run.yaml", "--out", f"out{len(more)}", *more)
        models = json.loads(Path(f"out{len(more)}/plan.json").read_text())["config"]["models"]
        assert [each.get("deterministic") for each in models] == [None, None, expected]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (
            "harness ",
            {"init", "check", "run", "bench", "score", "table", "verify", "cost", "prices"},
        ),
        ("harness run --base", {"--baseline"}),
        ("harness run quick", {"quickstart"}),
        ("harness run ti", {"tickets.yaml"}),
        ("harness run --task gsm", {"gsm8k"}),
        ("harness run -m demo-2", {"demo-2m"}),
        ("harness check --policy sov", {"sovereign"}),
        ("harness models --machine h1", {"h100"}),
        ("harness table out --format mark", {"markdown"}),
    ],
)
def test_the_shell_completes_commands_options_and_names(place: Path, words: str, offered: set[str]):
    root = Path(app.__file__).parents[2]
    asked = {"_HARNESS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    code = "import sys; sys.argv = ['harness']; from harness.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(root), **asked}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=place)
    assert offered <= set(done.stdout.split()), done.stderr


def test_every_help_says_when_to_use_it():
    for name, command in app.COMMANDS.items():
        assert "Use it " in (command.__doc__ or ""), name
