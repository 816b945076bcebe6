"""What task files are made of: the keys of every task, and the blocks of keys that several kinds of task share.

    TaskConfig: every task      Asking: what stands around a question    Question: a prompt, its variants and shots
    Writing: how text is drawn  Judging: how a text is judged            (the kinds: harness.tasks.kinds)

A kind is a class made of these blocks, so that a key which means nothing for it is no key of its file. What the rest
of the house asks a task (does the model write? is it one whole text?) is answered by the class, never by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from harness.config.base import SHA256, TASK_NAME, Name, Strict, Switch, _by_shape, _checked
from harness.config.yaml_file import YamlFile, read_yaml
from harness.errors import TaskError
from harness.values import Sensitivity

STOP_LIMIT = 200  # characters; a longer stop string is a mistake in the task, and makes every step slower
Stop = Annotated[str, Field(min_length=1, max_length=STOP_LIMIT)]


class DataConfig(Strict):
    """Where the rows of a task are: a file beside the task file, or a hub id with a pinned revision."""

    file: str | None = None  # beside the task file: CSV, TSV, Excel, JSON, JSONL, Parquet, plain text; .gz too
    hub: str | None = None  # a data set of the hub, as org/name
    config: str | tuple[str, ...] | None = None  # several: each row says in `_file` which it is from
    split: str | None = None  # of a data set of the hub
    revision: str | None = None  # of a data set of the hub: the commit
    sha256: Annotated[str, Field(pattern=SHA256)] | None = None  # of the file; another content is refused
    header: tuple[str, ...] | None = None  # column names of a CSV without a header row
    id: str | None = None  # column that names each row; default: its position, from 0
    sheet: str | None = None  # Excel
    delimiter: str | None = None  # CSV
    encoding: str | None = None  # text files; default UTF-8
    without: Mapping[str, tuple[str, ...]] = {}  # column: texts; rows with one of them there are left out

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if (self.file is None) == (self.hub is None):
            raise PydanticCustomError("one_source", "give either `file` or `hub`")
        return self


class Columns(Strict):
    """Choices that stand in several columns of the row."""

    columns: Annotated[tuple[str, ...], Field(min_length=2)]  # their names, in order


class ShotsConfig(Strict):
    """Examples shown before the question, drawn without regard to order, subset or number of processes."""

    n: Annotated[int, Field(ge=0, le=1000)]  # how many
    file: str | None = None  # examples of their own, beside the task file, with the columns the prompt names
    split: str | None = Field(default=None, alias="from")  # default: the task's own split, never the sample itself
    pick: Literal["first", "random", "fixed"] = "first"  # random: seeded by sample; fixed: the rows named by `ids`
    match: str | None = None  # column whose value a shot shares with the sample
    ids: tuple[str, ...] = ()  # of the rows to show, with `pick: fixed`


class GenerationConfig(Strict):
    """How text is drawn. The default is greedy."""

    temperature: Annotated[float, Field(ge=0, le=10)] = 0.0  # 0: the likeliest token
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0  # only the likeliest tokens that together have this probability
    top_k: Annotated[int, Field(ge=0)] = 0  # only so many of the likeliest tokens; 0: all
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0  # only tokens with this share of the likeliest one's probability
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0  # by which tokens that stood before lose; 1: nothing


class ThinkingConfig(Strict):
    """How the thinking of a reasoning model is treated. It is kept and counted, and never judged."""

    switch: Switch = "auto"  # the chat template's own; auto: as the template has it
    budget: Annotated[int, Field(ge=1)] | None = None  # tokens, after which the end of thinking is written for it
    markers: Annotated[tuple[str, str], Field(min_length=2, max_length=2)] | None = None  # default: the tokenizer's own

    @field_validator("markers")
    @classmethod
    def _not_empty(cls, markers: tuple[str, str] | None) -> tuple[str, str] | None:
        if markers is not None and not all(markers):
            raise PydanticCustomError("empty", "a marker is empty: give the text before and the text after thinking")
        return markers


class ConstrainConfig(Strict):
    """What an answer must be as a whole. How many are is told in either case, as the metric `valid_output`."""

    json_schema: Mapping[str, object] | None = Field(default=None, alias="schema")  # JSON Schema, for a JSON answer
    regex: Annotated[str, Field(min_length=1)] | None = None  # regular expression of the whole answer
    choices: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = (
        None  # the answers
    )
    labels: Literal[True] | None = None  # the sample's own choices, in a choice task that is asked as text
    enforce: bool = True  # false: the model is free, and its answers are only checked

    @model_validator(mode="after")
    def _one(self) -> ConstrainConfig:
        if sum(given is not None for given in (self.json_schema, self.regex, self.choices, self.labels)) != 1:
            raise PydanticCustomError("one", "give one of `schema`, `regex`, `choices` and `labels: true`")
        return self


class BestBy(Strict):
    """Of several answers the one counts whose further metric is highest."""

    best_by: str  # `confidence`, or a metric of the scorer


Labels = Annotated[str, Field(pattern=r"^(\([Aa1]\)|[Aa1][.)])$")]


class PromptConfig(Strict):
    """One of several ways to ask a task's question, and what goes with it; what is left out is the task's own."""

    prompt: str  # as in the task
    system: str | None = None  # as in the task
    target: str | None = None  # as in the task
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None  # as in the task
    stop: tuple[Stop, ...] | None = None  # as in the task
    extract: Any = None  # as in the task
    separator: str | None = None  # as in the task
    labels: Labels | None = None  # as in the task
    rotate: Annotated[int, Field(ge=0, le=1000)] | None = None  # as in the task


class TurnConfig(Strict):
    """How the answer of one turn of a conversation is judged; what is left out is the task's own."""

    answer: str | None = None  # column
    extract: Any = None  # as in the task
    score: Any = None  # as in the task


Worth = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
End = Annotated[int, Field(ge=-1_000_000, le=1_000_000)] | Annotated[float, Field(ge=-1e6, le=1e6)]


class RubricConfig(Strict):
    """What another model judges answers by. Which model that is, the run says (`judge`)."""

    criteria: Annotated[str, Field(min_length=1)]  # what makes an answer good
    scale: (
        Annotated[
            Annotated[tuple[End, End], Tag("(list)"), Field(min_length=2, max_length=2)]
            | Annotated[Mapping[Annotated[str, Field(min_length=1)], Worth], Tag("(keys)"), Field(min_length=2)],
            Discriminator(_by_shape),
        ]
        | None
    ) = None  # [worst, best], or {verdict: its worth in [0, 1]}; default: [1, 5]; [0.0, 1.0]: fractions count too
    against: Literal["baseline"] | None = None  # instead of a scale: which answer is better, that or the baseline's
    prompt: Annotated[str, Field(min_length=1)] | None = None  # what the judge is asked; default: as `check` shows
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 512  # of the judge's reply
    human: str | None = None  # column with people's verdicts (of a pair: A, B or tie), empty where nobody judged
    of: (
        Annotated[
            Annotated[tuple[str, str], Tag("(list)"), Field(min_length=2, max_length=2)]
            | Annotated[str, Tag("(text)")],
            Discriminator(_by_shape),
        ]
        | None
    ) = None  # column with the texts that they judged; of a pair two columns: [A, B]

    @model_validator(mode="after")
    def _consistent(self) -> RubricConfig:
        if self.against is not None and self.scale is not None:
            raise PydanticCustomError("against", "`against` goes without `scale`: a pair has none")
        if self.of is not None and isinstance(self.of, tuple) != (self.against is not None):
            raise PydanticCustomError("of", "`of` names one column of texts, and with `against` two: [A, B]")
        if (self.human is None) != (self.of is None):
            raise PydanticCustomError("human", "`human` and `of` go together: people's verdicts, and the texts judged")
        if isinstance(self.scale, tuple) and self.scale[0] == self.scale[1]:
            raise PydanticCustomError("scale", "the worst and the best of the scale are the same")
        return self


Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Costs = Mapping[str, Mapping[str, Cost]]
Reduction = Annotated[
    Annotated[Literal["mean", "majority", "any", "all"], Tag("(text)")] | Annotated[BestBy, Tag("(keys)")],
    Discriminator(_by_shape),
]
Wrong = Literal["no_answer", "truncated", "thinking_cut", "scorer_error", "backend_error"]
COUNTED_AS_WRONG: tuple[Wrong, ...] = ("no_answer", "truncated", "thinking_cut")


class TaskConfig(Strict):
    """One evaluation, complete in itself: the keys that every kind has, and what may be asked of a task of any kind."""

    writes: ClassVar[bool] = False  # the model is asked for text, not for the log-probability of given text
    rolling: ClassVar[bool] = False  # it is asked about one whole text, which begins a document
    several_turns: ClassVar[bool] = False  # the model is asked more than once about a sample, each after the other
    reads: ClassVar[str] = "choices"  # what the log-probability of is told, where it does not write
    templated: ClassVar[bool] = True  # the model's chat template may be put around what is asked
    unwritten: ClassVar[frozenset[str]] = frozenset()  # keys of no file: they are set for lm-eval's tasks

    task: Annotated[str, Field(pattern=TASK_NAME, max_length=100)]  # its name
    version: Annotated[int, Field(ge=1)] = 1  # raised whenever a change of the task changes scores
    asks: str = ""  # one line for people: what a right answer is
    source: str = ""  # where the data are from
    licence: str = ""  # of the data
    citation: str = ""  # how the authors wish to be named
    sensitivity: Sensitivity = "public"  # restricted: never leaves this machine; internal: to hosts a run allows
    data: DataConfig  # where its rows are
    prepare: str | None = None  # a named function of harness.tasks.data.prepare that brings rows to one shape
    kind: str  # what sort of task: one of harness.tasks.kinds
    answer: str | None = None  # column with what is right
    cluster: str | None = None  # column: samples that share it are not independent
    slices: tuple[str, ...] = ()  # columns: each of their values gets a row of its own beside the whole
    wrong: tuple[Wrong, ...] = COUNTED_AS_WRONG  # failures that are; the others are left out and counted apart
    keep_columns: tuple[str, ...] = ()  # columns that a run folder holds beside those that the task uses

    @property
    def scores(self) -> tuple[Any, ...]:
        """Returns each `score:` of the task: its own, and those of the turns of a conversation."""
        return ()

    @property
    def judged_by(self) -> RubricConfig | None:
        """Returns what a judge model scores the answers by; None where none does."""
        return None

    @property
    def knows_answers(self) -> bool:
        """Returns whether some column holds what is right."""
        return self.answer is not None

    @property
    def answer_costs(self) -> Costs | None:
        """Returns what answers cost, by right label and answer; None where they are only right or wrong."""
        return None

    @property
    def headline(self) -> str | None:
        """Returns the metric that an answer's value is; None: what its kind or its scorer gives first."""
        return None

    @property
    def reduction(self) -> str | BestBy:
        """Returns what several answers to one sample are worth together."""
        return "mean"

    @property
    def choice_names(self) -> frozenset[str]:
        """Returns the names under which a prompt can show the sample's choices; none where there are no choices."""
        return frozenset()

    @property
    def answer_template(self) -> str:
        """Returns the template of the right answer as one would write it; empty: the answer as it is."""
        return ""

    @property
    def turn_texts(self) -> tuple[str, ...]:
        """Returns what the user says in a conversation, turn by turn, where the task file has it."""
        return ()


class Asking(TaskConfig):
    """What stands around what is asked."""

    system: str | None = None  # the system message
    description: str = ""  # printed once, before shots and question
    delimiter: str = " "  # between a prompt and its answer, in shots and before each scored choice
    separator: str = "\n\n"  # between shots, and between the turns of a transcript
    chat: Switch = "auto"  # auto: generated tasks use the model's chat template if it has one; scored tasks never


class Question(Asking):
    """One question about each sample."""

    prompt: str = ""  # what is asked, with `{column}` for what stands in the row
    prompts: Annotated[Mapping[Name, PromptConfig], Field(min_length=1)] | None = None  # instead: a row for each
    target: str = ""  # the right answer as one would write it, in shots for instance; default: the answer
    shots: ShotsConfig | None = None  # examples shown before the question
    instruction: str = ""  # what the answer must be: ends a question of a chat, stands before the shots of a text
    cue: str = ""  # ends the question in a text, as "\nTeam:", and `separator` its answer; a chat model gets neither

    @property
    def answer_template(self) -> str:
        """Returns the template of the right answer as one would write it; empty: the answer as it is."""
        return self.target

    @field_validator("prompts", mode="before")
    @classmethod
    def _texts_to_prompts(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: {"prompt": one} if isinstance(one, str) else one for name, one in value.items()}
        return value

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if bool(self.prompt) == (self.prompts is not None):
            raise PydanticCustomError("one_prompt", "give either `prompt` or `prompts`")
        for name, prompt in (self.prompts or {}).items():
            for key, value in prompt:
                if value is not None and key not in type(self).model_fields:
                    what = "a {kind} task has no `{key}`: leave it out of prompt {name}"
                    raise PydanticCustomError("prompts", what, {"kind": self.kind, "key": key, "name": name})
        return self


class Writing(TaskConfig):
    """How a text is written, where a model is asked for one."""

    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 256  # of an answer, thinking included
    stop: tuple[Stop, ...] = ()  # texts that end an answer; they are no part of it
    generation: GenerationConfig = GenerationConfig()  # how text is drawn; default: the likeliest token
    model_defaults: bool = False  # draw as the model's generation_config.json says; keys of `generation` go first
    prefill: str = ""  # how the answer begins: of the prompt when it is asked and counted, of the answer when judged
    constrain: ConstrainConfig | None = None  # what the answer must be
    thinking: ThinkingConfig = ThinkingConfig()  # of a reasoning model
    logprobs: bool = False  # metrics `confidence` (of the mean token), `confidence_min`, `confidence_first`
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1  # answers drawn to each sample
    reduce: Reduction = "mean"  # what several answers to one sample are worth
    also: Mapping[str, object] = Field(
        default_factory=dict
    )  # further extractions of the same text: name -> extract spec

    @property
    def reduction(self) -> str | BestBy:
        """Returns what several answers to one sample are worth together."""
        return self.reduce

    @property
    def wall_limit_s(self) -> float | None:
        """Returns the seconds for all answers that are asked for together; None: no limit."""
        return None


class OneAnswer(Question, Writing):
    """One answer to each sample, out of which a person may make a decision."""

    costs: Costs | None = None  # right label -> answer -> cost of it; unnamed answers cost 1
    wall_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # seconds for the task, in each sitting
    score: Any = None  # a name or {name: options}; default: exact_match
    metric: str | None = None  # which metric of an answer is its value; default: the first that its scorer gives

    @property
    def scores(self) -> tuple[Any, ...]:
        """Returns the `score:` of the task, if it has one."""
        return (self.score,) if self.score else ()

    @property
    def headline(self) -> str | None:
        """Returns the metric that an answer's value is; None: what its kind or its scorer gives first."""
        return self.metric

    @property
    def answer_costs(self) -> Costs | None:
        """Returns what answers cost, by right label and answer; None where they are only right or wrong."""
        return self.costs

    @property
    def wall_limit_s(self) -> float | None:
        """Returns the seconds for all answers that are asked for together; None: no limit."""
        return self.wall_s


class Judging(Asking, Writing):
    """How a text that a model wrote is judged."""

    writes: ClassVar[bool] = True

    extract: Any = "text"  # a name or {name: options}; or {extractions: ...} through `also`
    score: Any = None  # a name or {name: options}; default: exact_match
    rubric: RubricConfig | None = None  # instead: another model judges; what `score` then names is a metric beside it

    @property
    def judged_by(self) -> RubricConfig | None:
        """Returns what a judge model scores the answers by; None where none does."""
        return self.rubric


def read_data(path: Path) -> DataConfig:
    """Returns where the rows of a task file are, whatever its kind is. Raises TaskError."""
    file = read_yaml(path)
    found = file.data.get("data")
    if not isinstance(found, Mapping):
        raise TaskError("key 'data' is missing", where=file.where(("data",)), fix="add `data: {file: ...}`")
    lines = {key[1:]: line for key, line in file.lines.items() if key[:1] == ("data",)}
    return _checked(DataConfig, YamlFile(file.path, found, lines), TaskError)


def need_answer(task: TaskConfig) -> None:
    """Raises an error of validation for a task that does not say which column holds what is right."""
    if task.answer is None:
        raise PydanticCustomError("answer", "key `answer` is missing: add `answer: COLUMN`")
