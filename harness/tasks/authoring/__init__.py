"""A data file nobody has described -> a task file that runs as it is, and what a person should know about the data.

    found = look(Path("tickets.csv"))         guesses input, answer, id, cluster and the kind of task
    print(found.text())
    write(found, None)                        tickets.yaml, beside the data

Guesses are made from the names of the columns first, then from what stands in them. Whatever could be meant otherwise
is said, and can be told: `look(path, answer="team")`.

    roles      which column is what
    draft      the task that follows
    remarks    what stands out
    found      all of it, as a report
    writing    the task file
"""

from harness.tasks.authoring.report import Found, Wishes, look, questions
from harness.tasks.authoring.yaml_text import Written, write

__all__ = ["Found", "Wishes", "Written", "look", "questions", "write"]
