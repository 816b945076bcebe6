"""What README and the pages of docs/ show is so: their commands and options exist and run, their files and Python too.

Each page's commands run one after the other in a folder that holds what a reader would have: the files that the page
shows, some data, a model (one of the demo's), and a finished run.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from docs import generate
from harness.cli import app
from harness.config.base import validate
from harness.config.files import bundled
from harness.config.machine import MachineConfig
from harness.config.run import RunConfig
from harness.config.yaml_file import parse_yaml
from harness.models.find import DEMO
from harness.security.policy import PolicyConfig
from harness.tasks.kinds import task_from
from tests.support.commands import harness as run_command

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(set(generate.DOCS.glob("*.md")) - {generate.ROOMS})]
ELSEWHERE = {  # commands that are not run here: every word of them is still checked
    "harness run quickstart": "make quickstart runs it, and .ci/run that",
    "harness bench --model ./my-model --task invoice-fields": "as load.yaml, for longer",
    "harness run beside-apis.yaml --max-cost 5": "asks providers",
    "harness run --model ./my-model --task mmlu --data mmlu=./mmlu --limit 500": "needs a data set of the hub",
}
DATA = {
    "tickets.csv": "ticket,team\n" + "".join(f"Paid twice for {i},billing\nWhere is {i}?,shipping\n" for i in range(9)),
    "replies.csv": "message,reply\nWhere is it?,It is on its way.\nIt is broken.,We send another.\n",
    "refunds.csv": "message,amount\nIt cost 12.50 and never came.,12.5\nHalf of 20 please.,10\n",
    "manual.txt": "First line of the manual.\nSecond line of the manual.\n",
    "answers.csv": "id,text\nroute-0001,billing\n",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands(page: Path) -> list[str]:
    """Returns the commands of a page that start harness, each as it stands without its comment."""
    lines = [line.split(" #")[0].strip() for block in blocks(page, "bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("harness ")]


def files(page: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yields the files that a page shows: what sort of file, its text, and its content."""
    for text in blocks(page, "yaml"):
        if text.startswith("#"):
            continue  # a line for the editor
        content = parse_yaml(text, page).data
        sorts = ("task", "run", "policy") if set(content) & {"task", "run", "policy"} else ("name",)
        yield next(sort for sort in sorts if sort in content), text, content


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader would have in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, text in DATA.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "my-model").symlink_to(DEMO / "demo-2m", target_is_directory=True)
    for name in ("RUN", "A", "B"):
        shutil.copytree(ROOT / "results" / "quickstart", tmp_path / "results" / name)
    return tmp_path


SHOWN = [pytest.param(page, line, id=f"{page.name}: {line}") for page in PAGES for line in commands(page)]
WRITTEN = [
    pytest.param(sort, content, id=f"{page.name}: {sort} {content[sort]}")
    for page in PAGES
    for sort, _, content in files(page)
]


@pytest.mark.parametrize("page, line", SHOWN)
def test_every_command_and_option_exists(page: Path, line: str):
    words = shlex.split(line)[1:]
    known = get_command(app.app).commands[words[0]]
    options = {name for parameter in known.params for name in parameter.opts + parameter.secondary_opts}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("sort, content", WRITTEN)
def test_every_file_is_one_that_the_harness_reads(sort: str, content: Mapping[str, Any]):
    if sort == "task":
        task_from(content, "page")
    else:
        kind = {"run": RunConfig, "policy": PolicyConfig, "name": MachineConfig}[sort]
        validate(kind, content, "page")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_the_commands_run_as_they_stand(page: Path, desk: Path, capsys: pytest.CaptureFixture[str]):
    for sort, text, content in files(page):
        if f"harness init {content[sort]}.csv" not in commands(page):
            (desk / f"{content[sort]}.yaml").write_text(text)
    for line in commands(page):
        if line in ELSEWHERE:
            continue
        code, out, err = run_command(capsys, *shlex.split(line)[1:])
        assert code == 0, f"{line}\n{out}\n{err}"
        assert out.strip(), line


def test_what_is_not_run_stands_on_some_page():
    assert set(ELSEWHERE) <= {line for page in PAGES for line in commands(page)}


def test_every_file_and_page_it_names_is_there():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`((?:tasks|configs|harness|tests|docs)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{page.name}: {name}"
        for link, _, part in re.findall(r"\]\(([^)#:]*)(#([\w-]+))?\)", text):
            there = page if not link else (page.parent / link).resolve()
            assert there.is_file(), f"{page.name}: {link}"
            if part and there.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), flags=re.MULTILINE)
                assert part in {generate.anchor(heading) for heading in headings}, f"{page.name}: {link}#{part}"


def test_every_bundled_task_and_machine_it_names_is_there():
    for page in PAGES:
        for line in commands(page):
            words = shlex.split(line)
            for option, folder in (("--machine", "configs/machines"), ("--policy", "configs/policies")):
                named = [words[i + 1] for i, word in enumerate(words) if word == option]
                for name in named:
                    here = bundled("configs") / folder.removeprefix("configs/") / f"{name}.yaml"
                    assert name.endswith(".yaml") or here.is_file(), line


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_its_python_runs_as_it_stands(page: Path, desk: Path):
    for code in blocks(page, "python"):
        names: dict[str, Any] = {}
        exec(compile(code, page.name, "exec"), names)
        if "done" in names:
            assert names["run"].complete and len(names["done"]) >= 4 and len(names["frame"]) == 4
            assert "one-word" in names["run"].table()


def test_json_that_it_shows_is_json():
    for page in PAGES:
        for text in blocks(page, "json"):
            json.loads(text)
