"""Evaluation of open-weights language models on your own workflow.

import harness
result = harness.run("quickstart")
print(result.table())
result.records()  # a pandas DataFrame
"""

from harness.errors import HarnessError
from harness.runs import Result, open_run, run

__all__ = ["HarnessError", "Result", "open_run", "run"]
