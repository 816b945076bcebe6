"""Tasks whose answers are code, and IFEval: the prompts and stops are those of lm-eval's task files.

The files are read as text: their Python would load what runs code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.run import TaskUse
from harness.tasks.kinds import prompt_of
from harness.tasks.load import load_tasks
from harness.tasks.shots import shots_for
from tests.support.public_rows import ROWS
from tests.tasks.test_public_tasks import write

lm_eval = pytest.importorskip("lm_eval", reason="the peer is in the test extra")


class _Names(yaml.SafeLoader):
    """Reads `!function x.y` as its name."""


_Names.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def peer(name: str) -> dict[str, Any]:
    path = Path(lm_eval.__file__).parent / "tasks" / name / f"{name}.yaml"
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Names)


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "ifeval"])
def test_prompts_and_stops_are_the_peers(name: str, tmp_path: Path):
    from lm_eval.utils import apply_template

    for split, rows in ROWS[name].items():
        write(tmp_path / f"{split}.jsonl", rows)
    (task,) = load_tasks(TaskUse(task=name, data=str(tmp_path)))
    theirs = peer(name)

    def asked(row: Any) -> str:
        return (
            row[theirs["doc_to_text"]] if theirs["doc_to_text"] in row else apply_template(theirs["doc_to_text"], row)
        )

    shots = [{**row, "is_fewshot": True} for row in ROWS[name].get("prompt", [])][1:4]  # 2, 3 and 4
    assert len(shots) == (theirs["num_fewshot"] or 0)
    before = "".join(asked(row) + apply_template(theirs["doc_to_target"], row) + "\n\n" for row in shots)
    assert theirs.get("target_delimiter", "") == "" or not shots
    for sample, row in zip(task.samples, ROWS[name][task.config.data.split], strict=True):
        assert prompt_of(task.config, sample, shots_for(task, sample, 0), chat=False).text == before + asked(row)
    assert list(task.config.stop) == theirs["generation_kwargs"]["until"]
    assert task.config.max_tokens == theirs["generation_kwargs"].get("max_gen_toks", task.config.max_tokens)
