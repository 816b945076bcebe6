"""A task file and its data to samples and prompts, and a response to its score.

`kinds` has a module for each kind of task; `data` reads and looks at files; `authoring` writes the task file that
`harness init` gives. Nothing outside a kind's module asks which kind a task is.

A new task: a YAML file in `tasks/`, with its data or a pinned revision of them, and no Python. A new kind: a module
that gives what `kinds.base.Kind` lists, and one line in `KINDS`.
"""
