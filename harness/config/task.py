"""Run, model, machine and task files as frozen values, checked once at the edge.

    YAML -> RunConfig(ModelConfig..., TaskConfig..., MachineConfig)

Unknown keys are refused with the nearest known one. After this nothing reads the command line or a YAML file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from harness.config.base import SHA256, TASK_NAME, Name, Strict, _by_shape, _checked
from harness.config.yaml_file import YamlFile, read_yaml
from harness.errors import TaskError
from harness.values import Sensitivity

Switch = Literal["auto", "on", "off"]
STOP_LIMIT = 200  # characters; a longer stop string is a mistake in the task, and makes every step slower
Stop = Annotated[str, Field(min_length=1, max_length=STOP_LIMIT)]


class DataConfig(Strict):
    """Where the rows of a task are: a file beside the task file, or a hub id with a pinned revision."""

    file: str | None = None
    hub: str | None = None
    config: str | tuple[str, ...] | None = None  # several: each row says in `_file` which it is from
    split: str | None = None
    revision: str | None = None
    sha256: Annotated[str, Field(pattern=SHA256)] | None = None
    header: tuple[str, ...] | None = None  # column names of a CSV without a header row
    id: str | None = None  # column that names each row; default: its position, from 0
    sheet: str | None = None  # Excel
    delimiter: str | None = None  # CSV
    encoding: str | None = None  # text files; default UTF-8

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if (self.file is None) == (self.hub is None):
            raise PydanticCustomError("one_source", "give either `file` or `hub`")
        return self


class Columns(Strict):
    """Choices that stand in several columns of the row."""

    columns: Annotated[tuple[str, ...], Field(min_length=2)]


class ShotsConfig(Strict):
    """Examples shown before the question, drawn without regard to order, subset or number of processes."""

    n: Annotated[int, Field(ge=0, le=1000)]
    file: str | None = None  # examples of their own, beside the task file, with the columns the prompt names
    split: str | None = Field(default=None, alias="from")  # default: the task's own split, never the sample itself
    pick: Literal["first", "random", "fixed"] = "first"  # random: seeded by sample; fixed: the rows named by `ids`
    match: str | None = None  # column whose value a shot shares with the sample
    ids: tuple[str, ...] = ()


class GenerationConfig(Strict):
    """How text is drawn. The default is greedy."""

    temperature: Annotated[float, Field(ge=0, le=10)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0


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

    json_schema: Mapping[str, Any] | None = Field(default=None, alias="schema")  # JSON Schema, for a JSON answer
    regex: Annotated[str, Field(min_length=1)] | None = None
    choices: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = None
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

    prompt: str
    system: str | None = None
    target: str | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    stop: tuple[Stop, ...] | None = None
    extract: Any = None
    separator: str | None = None
    labels: Labels | None = None
    rotate: Annotated[int, Field(ge=0, le=1000)] | None = None


class TurnConfig(Strict):
    """How the answer of one turn of a conversation is judged; what is left out is the task's own."""

    answer: str | None = None  # column
    extract: Any = None
    score: Any = None


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


class TaskConfig(Strict):
    """One evaluation, complete in itself."""

    task: Annotated[str, Field(pattern=TASK_NAME, max_length=100)]
    version: Annotated[int, Field(ge=1)] = 1
    asks: str = ""  # one line for people: what a right answer is
    source: str = ""
    licence: str = ""
    citation: str = ""
    sensitivity: Sensitivity = "public"
    data: DataConfig
    prepare: str | None = None  # a named function of harness.tasks.load.PREPARE that brings rows to one shape
    # cloze: would the model itself write the answer, token by token? perplexity: how surprising is the text `answer`?
    # pairs: how likely is each of several texts after a context of its own? (lm-eval's tasks only)
    kind: Literal["choice", "cloze", "generate", "perplexity", "conversation", "pairs"]
    system: str | None = None
    description: str = ""  # printed once, before shots and question
    prompt: str = ""
    prompts: Annotated[Mapping[Name, PromptConfig], Field(min_length=1)] | None = None  # instead: a row for each
    turns: (
        Annotated[
            Annotated[tuple[str, ...], Tag("(list)"), Field(min_length=1)] | Annotated[str, Tag("(text)")],
            Discriminator(_by_shape),
        ]
        | None
    ) = None  # a conversation: what the user says, turn by turn; or a column that holds a list of it
    scored: Annotated[Mapping[Annotated[int, Field(ge=1)], TurnConfig], Field(min_length=1)] | None = (
        None  # turns whose answers are judged, by number from 1; default: those with a value in the list in `answer`
    )
    over_turns: Literal["mean", "all"] = "mean"  # what a conversation is worth; all: 1 if each scored turn is right
    transcript: str = "User: {turn}\nAssistant:"  # a turn as text, for a model without chat template
    delimiter: str = " "  # between a prompt and its answer, in shots and before each scored choice
    separator: str = "\n\n"  # between shots, and between the turns of a transcript
    choices: (
        Annotated[
            Annotated[tuple[str, ...], Tag("(list)")]
            | Annotated[str, Tag("(text)")]
            | Annotated[Columns, Tag("(keys)")],
            Discriminator(_by_shape),
        ]
        | None
    ) = None  # a fixed list, a column that holds a list, or {columns: [...]}
    labels: Labels = "A."  # how {choices} are labelled: A. A) (A) a. a) (a) 1. 1) (1)
    rotate: Annotated[int, Field(ge=0, le=1000)] = 0  # places by which the choices of each row are turned round
    continuation: Literal["text", "letter"] = "text"  # what is scored for each choice; letter: its label
    ending: str = ""  # scored instead: this text, the same after each choice, which is then part of the prompt
    answer: str | None = None  # column (a list of one for each turn of a conversation); optional only with a `rubric`
    answer_is: Literal["auto", "text", "letter", "index", "flags"] = "auto"  # choice tasks; flags: 1 for each right one
    target: str = ""  # the right answer as one would write it, in shots for instance; default: the answer
    costs: Mapping[str, Mapping[str, Cost]] | None = None  # right label -> answer -> cost of it; unnamed answers cost 1
    shots: ShotsConfig | None = None
    cluster: str | None = None  # column: samples that share it are not independent
    slices: tuple[str, ...] = ()  # columns: each of their values gets a row of its own beside the whole
    chat: Switch = "auto"  # auto: generated tasks use the model's chat template if it has one; scored tasks never
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    stop: tuple[Stop, ...] = ()
    generation: GenerationConfig = GenerationConfig()
    model_defaults: bool = False  # draw as the model's generation_config.json says; keys of `generation` go first
    prefill: str = (
        ""  # how the answer begins: part of the prompt when it is asked and counted, of the answer when judged
    )
    constrain: ConstrainConfig | None = None  # what the answer must be
    thinking: ThinkingConfig = ThinkingConfig()
    logprobs: bool = False  # metrics `confidence` (of the mean token), `confidence_min`, `confidence_first`
    wall_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # seconds for the task, in each sitting
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1  # answers drawn to each sample
    reduce: Annotated[
        Annotated[Literal["mean", "majority", "any", "all"], Tag("(text)")] | Annotated[BestBy, Tag("(keys)")],
        Discriminator(_by_shape),
    ] = "mean"  # what several answers to one sample are worth
    extract: Any = "text"  # a name or {name: options}; or {extractions: ...} through `also`
    score: Any = None  # a name or {name: options}; default: exact_match
    rubric: RubricConfig | None = None  # instead: another model judges; what `score` then names is a metric beside it
    also: Mapping[str, Any] = Field(default_factory=dict)  # further extractions of the same text: name -> extract spec
    wrong: tuple[Literal["no_answer", "truncated", "thinking_cut", "scorer_error", "backend_error"], ...] = (
        "no_answer",
        "truncated",
        "thinking_cut",
    )  # failures that count as wrong; the others are left out and counted apart

    @field_validator("choices", mode="before")
    @classmethod
    def _choices_are_text(cls, value: Any) -> Any:
        if isinstance(value, list):
            for item in value:
                if not isinstance(item, str):
                    raise PydanticCustomError(
                        "text", "choice {item} is not text: put it in quotes", {"item": repr(item)}
                    )
            if len(value) < 2:
                raise PydanticCustomError("few", "a choice task needs two or more choices")
            if len(set(value)) < len(value):
                raise PydanticCustomError("twice", "the same choice stands twice")
        return value

    @field_validator("prompts", mode="before")
    @classmethod
    def _texts_to_prompts(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: {"prompt": one} if isinstance(one, str) else one for name, one in value.items()}
        return value

    @model_validator(mode="after")
    def _kinds(self) -> TaskConfig:
        if self.kind == "choice" and self.choices is None:
            raise PydanticCustomError("choices", "a choice task needs `choices`: a list, a column, or {columns: [...]}")
        if self.kind != "choice" and self.choices is not None:
            raise PydanticCustomError(
                "choices", "a {kind} task has no `choices`; use `kind: choice`", {"kind": self.kind}
            )
        if self.kind != "choice" and (self.ending or self.answer_is == "flags"):
            raise PydanticCustomError("choices", "`ending` and `answer_is: flags` are for `kind: choice`")
        if self.kind == "pairs" and not (isinstance(self.score, Mapping) and "lm_eval" in self.score):
            raise PydanticCustomError("pairs", "`kind: pairs` is for tasks of lm-eval; use `kind: choice` or `cloze`")
        if self.rubric is not None and self.kind not in {"generate", "conversation"}:
            raise PydanticCustomError("rubric", "`rubric` judges text: it is for `generate` and `conversation`")
        if self.kind == "conversation":
            return self._conversation()
        if self.answer is None and (self.rubric is None or self.score is not None or self.shots is not None):
            raise PydanticCustomError("answer", "key `answer` is missing: add `answer: COLUMN`")
        if self.turns is not None or self.scored is not None:
            raise PydanticCustomError("turns", "`turns` and `scored` are for `kind: conversation`")
        if self.kind == "perplexity":
            asked = next(
                (key for key in ("prompt", "prompts", "system", "description", "shots") if getattr(self, key)), ""
            )
            if asked:
                raise PydanticCustomError("asks", "a perplexity task asks nothing: it has no `{key}`", {"key": asked})
        elif bool(self.prompt) == (self.prompts is not None):
            raise PydanticCustomError("one_prompt", "give either `prompt` or `prompts`")
        return self

    def _conversation(self) -> TaskConfig:
        if self.turns is None:
            raise PydanticCustomError("turns", "a conversation needs `turns`: a list of texts, or a column with one")
        unused = ("prompt", "prompts", "shots", "target", "costs", "wall_s")
        if wrong := next((key for key in unused if getattr(self, key)), None):
            raise PydanticCustomError("unused", "a conversation has no `{key}`: leave it out", {"key": wrong})
        if self.rubric is not None and (self.rubric.against is not None or self.rubric.human is not None):
            what = "a conversation has no `against` or `human`: each answer follows what its own model said before"
            raise PydanticCustomError("rubric", f"rubric: {what}")
        open_turns = any(turn.answer is None for turn in (self.scored or {0: TurnConfig()}).values())
        if self.answer is None and open_turns and not (self.rubric is not None and self.scored):
            raise PydanticCustomError(
                "answer", "what is right is missing: add `answer: COLUMN`, or `scored: {2: {answer: COLUMN}}`"
            )
        if isinstance(self.turns, tuple) and (past := max(self.scored or {0: None})) > len(self.turns):
            raise PydanticCustomError(
                "past", "turn {past} is scored, and there are {n}", {"past": past, "n": len(self.turns)}
            )
        if self.transcript.count("{turn}") != 1 or not self.transcript.partition("{turn}")[2].strip():
            raise PydanticCustomError(
                "transcript", "`transcript` needs {turn} once, and after it what an answer follows"
            )
        return self

    @property
    def scores(self) -> tuple[Any, ...]:
        """Returns each `score:` of the task: its own, and those of the turns of a conversation."""
        return tuple(one for one in (self.score, *(turn.score for turn in (self.scored or {}).values())) if one)

    @property
    def writes(self) -> bool:
        """Returns whether the model is asked for text."""
        return self.kind in {"generate", "conversation"}


def read_task(path: Path) -> tuple[TaskConfig, YamlFile]:
    """Returns the task of a file, and the file (for the lines that messages name)."""
    file = read_yaml(path)
    return _checked(TaskConfig, file, TaskError), file
