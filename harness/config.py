"""Run, model, machine and task files as frozen values, checked once at the edge.

    YAML -> RunConfig(ModelConfig..., TaskConfig..., MachineConfig)

Unknown keys are refused with the nearest known one. After this nothing reads the command line or a YAML file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from harness.chips import CHIPS, Chip
from harness.errors import ConfigError, HarnessError, TaskError, nearest
from harness.yamlfile import YamlFile, read_yaml

Sensitivity = Literal["public", "internal", "restricted"]
Switch = Literal["auto", "on", "off"]
STOP_LIMIT = 200  # characters; a longer stop string is a mistake in the task, and makes every step slower
Stop = Annotated[str, Field(min_length=1, max_length=STOP_LIMIT)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
Name = Annotated[str, Field(pattern=NAME, max_length=100)]
TASK_NAME = (
    r"^(lm_eval:)?[A-Za-z0-9][A-Za-z0-9._+-]*(\[[A-Za-z0-9._+-]+\])?$"  # in brackets: which of the task's prompts
)


SHA256 = "^[0-9a-f]{64}$"
_FORMS = {  # in words, for people
    NAME: "a name has letters, digits and . _ + - only, and no blanks",
    TASK_NAME: "a name has letters, digits and . _ + - only, and no blanks",
    SHA256: "a sha256 has 64 digits from 0 to f",
}


class Strict(BaseModel):
    """A frozen mapping that names its unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in data:
                if key not in known and key not in cls.model_fields:
                    raise PydanticCustomError("unknown_key", "{key}|{hint}", {"key": key, "hint": nearest(key, known)})
        return data


def _by_shape(value: Any) -> str:
    """Returns which member of a union a value is meant to be, so that messages speak of that one only."""
    if isinstance(value, str):
        return "(text)"
    return "(list)" if isinstance(value, list | tuple) else "(keys)"


# --- tasks -----------------------------------------------------------------------------------------------------------


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
    prepare: str | None = None  # a named function of harness.tasks.PREPARE that brings rows to one shape
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


# --- models ----------------------------------------------------------------------------------------------------------


class LimitsConfig(Strict):
    """How hard a server is asked, and when to give up. None of it changes an answer."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8  # requests in flight at most; fewer while it says 429
    attempts: Annotated[int, Field(ge=1, le=100)] = 8  # of one request
    sample_s: Annotated[float, Field(gt=0)] = 600.0  # seconds for one request, all its attempts and waits together
    silence_s: Annotated[float, Field(gt=0)] = 120.0  # seconds without a byte that end an attempt
    max_cost: Annotated[float, Field(gt=0)] | None = None  # USD in this run; nothing is sent that could exceed it


class ModelConfig(Strict):
    """What runs the requests, and how."""

    name: Name
    backend: str = "transformers"
    path: str | None = None  # a model folder, a demo model, or a hub id; at a server: a folder with its tokenizer
    revision: str | None = None  # hub id: the commit to use
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: as the weights are stored
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?|device_map)$")] = "auto"
    adapter: str | None = None  # a PEFT adapter folder or id
    quantization: Literal["8bit", "4bit"] | None = None  # needs bitsandbytes
    chat_template: Switch = "auto"  # overrides the task's `chat` unless auto
    trust_remote_code: bool = False  # run Python that comes with the weights: only if you have read it
    engine: Literal["auto", "plain"] = "auto"  # plain: the slow reference method
    batch_tokens: Annotated[int, Field(ge=1)] | None = None  # tokens in one batch; default: from free memory
    deterministic: bool = False  # compose batches alike whatever memory is free: the same bits in every run
    replicas: Annotated[int, Field(ge=1)] = 1  # copies of the model, each on a device of its own, that share scoring
    max_length: Annotated[int, Field(ge=2)] | None = None  # tokens; default: what the model allows
    threads: Annotated[int, Field(ge=1)] | None = None  # CPU; default: the cores this process may use
    script: Any = None  # backend fake: rules, or the path of a YAML file with them; recorded: the file of answers
    # servers and APIs
    model: str | None = None  # its name at the server; default: `name`
    base_url: str | None = None  # with its version, as http://127.0.0.1:8000/v1; default: the provider's own
    api: Literal["chat", "completions"] = "chat"  # completions: the prompt as it is, without a chat template
    api_key_env: str | None = (
        None  # environment variable with the key; default: the provider's, at its own address only
    )
    api_key_command: Annotated[tuple[str, ...], Field(min_length=1)] | None = (
        None  # prints the key, as [secret-tool, lookup, service, openai]; run when a key is needed, without a shell
    )
    allow_http: bool = False  # send without encryption to a host that is not this machine
    proxy: str | None = None  # http://HOST:PORT that requests go through; those of the environment are not used
    ca_file: str | None = None  # certificates (PEM) to trust in place of the system's
    stream: bool = True  # off: the answer comes in one piece, and the first token has no time
    batch: bool = False  # openai, anthropic: hand all requests over at once, answered within a day at the batch price
    logprobs: bool = False  # keep the log-probability of each generated token
    extra: Mapping[str, Any] = Field(default_factory=dict)  # added to each request's body, as {reasoning_effort: low}
    price: str | Mapping[str, float] | None = None  # PROVIDER/MODEL of the price file, or {input, output} USD per 1M
    limits: LimitsConfig = LimitsConfig()


# --- machines --------------------------------------------------------------------------------------------------------


class Rented(Strict):
    """A machine paid by the hour."""

    per_hour: Annotated[float, Field(gt=0)]  # one accelerator, or the whole machine if it has none
    gpus: Annotated[int, Field(ge=1)] = 1  # accelerators in the machine


class Owned(Strict):
    """A machine that was bought."""

    price: Annotated[float, Field(gt=0)]  # of the whole machine
    gpus: Annotated[int, Field(ge=1)] = 1  # accelerators in the machine
    years: Annotated[float, Field(gt=0)]
    salvage: Annotated[float, Field(ge=0)] = 0.0  # what it is worth at the end
    financing_rate: Annotated[float, Field(ge=0)] = 0.0  # per year, on the price
    watts: Annotated[float, Field(gt=0)] | Literal["measured"]
    power_price: Annotated[float, Field(ge=0)]  # per kWh
    pue: Annotated[float, Field(ge=1)] = 1.0
    hours_available: Annotated[float, Field(gt=0, le=8784)] = 8760.0  # hours a year it could work
    staff_per_hour: Annotated[float, Field(ge=0)] = 0.0
    colocation_per_hour: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _loses_value(self) -> Owned:
        if self.salvage > self.price:
            worth = {"salvage": f"{self.salvage:g}", "price": f"{self.price:g}"}
            raise PydanticCustomError("salvage", "`salvage` {salvage} is more than the price {price}", worth)
        return self


Peak = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ChipConfig(Strict):
    """The sheet of an accelerator that `chips.CHIPS` does not list: peak figures, dense."""

    tflops: Peak  # 10¹² operations a second in 16 bit
    gb_per_s: Peak  # of its memory
    gb: Peak  # of memory
    tflops_8bit: Peak | None = None  # in 8-bit floats, if it has them
    tflops_32bit: Peak | None = None  # without TF32
    link_gb_per_s: Peak | None = None  # between chips, in one direction


class MachineConfig(Strict):
    """Hardware and what an hour of it costs."""

    name: Name
    describes: str = ""  # what the hardware is
    chip: (
        Annotated[Annotated[str, Tag("(text)")] | Annotated[ChipConfig, Tag("(keys)")], Discriminator(_by_shape)] | None
    ) = None  # its accelerator, for projections: a100, h100, h200, l4, or the figures of its sheet
    currency: Literal["USD"] = "USD"
    source: str  # where the price is from
    date: str  # when it was read, YYYY-MM-DD
    assumed: bool = False  # True: nobody quoted this price
    utilisation: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of paid time that does useful work
    grid_g_per_kwh: Annotated[float, Field(ge=0)] | None = None  # CO2 of the power used; without it none is told
    peak_to_mean: Annotated[float, Field(ge=1)] = 1.0  # busiest hour / mean hour of the traffic to be served
    headroom: Annotated[float, Field(ge=0)] = 0.0  # spare share above that peak
    redundancy: Annotated[int, Field(ge=1)] = 1  # the fewest machines that are ever run
    rented: Rented | None = None
    owned: Owned | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> MachineConfig:
        if (self.rented is None) == (self.owned is None):
            raise PydanticCustomError("one_kind", "give either `rented` or `owned`")
        return self

    @field_validator("chip")
    @classmethod
    def _known_chip(cls, chip: str | ChipConfig | None) -> str | ChipConfig | None:
        if isinstance(chip, str) and chip not in CHIPS:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(f"'{name}'" for name in sorted(CHIPS))})
        return chip

    @property
    def gpus(self) -> int:
        """Returns the accelerators in the machine."""
        return (self.rented or self.owned).gpus

    @property
    def sheet(self) -> Chip | None:
        """Returns the peak figures of its accelerator; None if it names none."""
        if self.chip is None or isinstance(self.chip, str):
            return CHIPS.get(self.chip or "")
        told = self.chip
        return Chip(
            flops=told.tflops * 1e12,
            bytes_per_s=told.gb_per_s * 1e9,
            memory_bytes=told.gb * 1e9,
            flops_8bit=None if told.tflops_8bit is None else told.tflops_8bit * 1e12,
            flops_32bit=None if told.tflops_32bit is None else told.tflops_32bit * 1e12,
            link_bytes_per_s=None if told.link_gb_per_s is None else told.link_gb_per_s * 1e9,
        )


# --- runs ------------------------------------------------------------------------------------------------------------


class TaskUse(Strict):
    """A task in a run, with what the run changes about it."""

    task: str  # a bundled name, the path of a task file, or lm_eval:NAME_OR_FILE
    data: str | None = None  # a local copy of the data: a file or a folder
    sensitivity: Sensitivity | None = None  # can only be raised
    asked_as: Literal["generate"] | None = Field(default=None, alias="as")  # choices as text, for every model
    num_fewshot: Annotated[int, Field(ge=0, le=1000)] | None = (
        None  # lm_eval tasks only: examples shown; default: its own
    )


class LatencyConfig(Strict):
    """The single-stream phase after the accuracy pass."""

    requests: Annotated[int, Field(ge=0, le=10_000)] = 20  # prompts of the task's own; 0: no latency phase
    warmup: Annotated[int, Field(ge=0)] = 3  # sent first and not counted


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SloConfig(Strict):
    """What a request must meet, and the share of requests that must meet all of it."""

    ttft_s: Seconds | None = None
    tpot_s: Seconds | None = None
    response_s: Seconds | None = None  # from when it was due
    attainment: Annotated[float, Field(gt=0, le=1)] = 0.9

    @model_validator(mode="after")
    def _a_bound(self) -> SloConfig:
        if self.ttft_s is None and self.tpot_s is None and self.response_s is None:
            raise PydanticCustomError("bound", "give at least one of `ttft_s`, `tpot_s` and `response_s`")
        return self


class LengthsConfig(Strict):
    """Made-up prompts of so many tokens, with answers of at most so many."""

    input: Annotated[int, Field(ge=1, le=1_000_000)]
    output: Annotated[int, Field(ge=1, le=1_000_000)]


class BenchConfig(Strict):
    """What `harness bench` measures of each model: loads on the tasks' own prompts, or on made-up ones."""

    single: bool = True  # one request at a time
    concurrency: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = ()  # so many requests out at a time
    rate: tuple[Annotated[float, Field(gt=0, le=100_000)], ...] = ()  # requests a second, as they come (Poisson)
    sweep: bool = False  # single, all at once, then rates between the two
    offline: bool = False  # all at once
    requests: Annotated[int, Field(ge=1, le=1_000_000)] = 100  # of each scenario, warm-up apart
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # a scenario lasts at least
    max_seconds: Seconds = 600.0  # and at most
    warmup: Annotated[int, Field(ge=0, le=100_000)] = 5  # sent first and not counted
    slo: SloConfig | None = None
    lengths: tuple[LengthsConfig, ...] = ()  # one or several shapes, instead of the tasks' prompts; six: a fit
    prefix_cache: Literal["allow", "defeat"] = "allow"  # defeat: every prompt opens with a number of its own

    @field_validator("lengths", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _a_scenario(self) -> BenchConfig:
        if not (self.single or self.concurrency or self.rate or self.sweep or self.offline):
            raise PydanticCustomError("scenario", "no scenario: give one of `single`, `concurrency`, `rate`, `sweep`")
        return self


class RunConfig(Strict):
    """Which models do which tasks, on what."""

    run: Name
    tasks: tuple[TaskUse, ...] = ()  # none only where `bench` has lengths of its own
    models: Annotated[tuple[ModelConfig, ...], Field(min_length=1)]
    baseline: str | None = None  # model the others are compared with; default: the first
    judge: ModelConfig | None = None  # scores the tasks that have a `rubric`; by name alone: as a model, or one of them
    machine: (
        Annotated[Annotated[str, Tag("(text)")] | Annotated[MachineConfig, Tag("(keys)")], Discriminator(_by_shape)]
        | None
    ) = None  # a bundled name, a path, or the values themselves
    limit: Annotated[int, Field(ge=1)] | None = None  # seeded random subset of each task
    first: Annotated[int, Field(ge=1)] | None = None  # the first N samples in order
    formats: Annotated[int, Field(ge=0, le=100)] = 0  # seeded variants of each prompt's format; their range is shown
    seed: int = 0
    latency: LatencyConfig = LatencyConfig()
    bench: BenchConfig = BenchConfig()  # read by `harness bench` alone
    responses_only: bool = False  # write down unjudged what only a sandbox, or a judge not named, could judge
    allow_egress: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]+$")], ...] = ()  # hosts internal data may go to
    max_cost: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # USD to providers, all models together
    max_errors: Annotated[float, Field(ge=0, le=1)] = 0.05  # share of samples without an answer; more: row incomplete

    @field_validator("tasks", mode="before")
    @classmethod
    def _names_to_uses(cls, value: Any) -> Any:
        return (
            [{"task": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value
        )

    @model_validator(mode="before")
    @classmethod
    def _name_to_judge(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(name := data.get("judge"), str):
            return data
        models = [m for m in data.get("models") or () if isinstance(m, Mapping) and m.get("name") == name]
        return {**data, "judge": models[0] if models else model_from_path(name)}

    @field_validator("models", mode="before")
    @classmethod
    def _paths_to_models(cls, value: Any) -> Any:
        return (
            [model_from_path(item) if isinstance(item, str) else item for item in value]
            if isinstance(value, list)
            else value
        )

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if not (self.tasks or self.bench.lengths):
            raise PydanticCustomError("tasks", "no tasks: add `tasks: [NAME, ...]`")
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise PydanticCustomError(
                    "twice", "two models are named '{name}': give each its own name", {"name": name}
                )
        if self.baseline is not None and self.baseline not in names:
            hint = {"name": self.baseline, "hint": nearest(self.baseline, names)}
            raise PydanticCustomError("baseline", "baseline '{name}' is none of the models; {hint}", hint)
        if self.limit is not None and self.first is not None:
            raise PydanticCustomError("subset", "`limit` and `first` exclude each other")
        return self


def model_from_path(path: str) -> dict[str, Any]:
    """Returns the settings of a model given by folder, demo name or hub id alone; its last part is its name."""
    return {"name": Path(path).name or path, "path": path}


# --- reading ---------------------------------------------------------------------------------------------------------

Config = TypeVar("Config", bound=Strict)


@cache
def bundled(kind: Literal["tasks", "configs"]) -> Path:
    """Returns the folder of task or run files that ship with the package (or stand beside it in a checkout)."""
    package = Path(__file__).resolve().parent
    inside = package / "bundled" / kind
    return inside if inside.is_dir() else package.parent / kind


def find_file(name: str, kind: Literal["tasks", "configs"], under: str = "") -> Path:
    """Returns the file for a path, or for the name of a bundled one. Raises ConfigError with the nearest name."""
    path = Path(name)
    if path.is_file() and path.suffix not in {".yaml", ".yml"} and not under:
        what = f"'{name}' is data, and no {'task' if kind == 'tasks' else 'run'} file"
        raise ConfigError(what, fix=f"harness init {name} writes a task file for it")
    if path.suffix in {".yaml", ".yml"} or "/" in name:
        if path.is_file():
            return path
        siblings = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise ConfigError(f"no file {name}", fix=nearest(path.name, siblings) or "check the path")
    folder = bundled(kind) / under
    found = folder / f"{name}.yaml"
    if found.is_file():
        return found
    noun = under.rstrip("s") or ("task" if kind == "tasks" else "configuration")
    here = [p.name for suffix in (".yaml", ".yml") if (p := Path(name + suffix)).is_file()]
    known = [p.stem for p in folder.glob("*.yaml")]
    raise ConfigError(f"no {noun} named '{name}'", fix=nearest(name, here or known))


def read_run(name: str) -> RunConfig:
    """Returns the run of a file or bundled name."""
    return _checked(RunConfig, read_yaml(find_file(name, "configs")), ConfigError)


def read_machine(machine: str | MachineConfig | None) -> MachineConfig | None:
    """Returns the machine of a file, bundled name or values already read."""
    if machine is None or isinstance(machine, MachineConfig):
        return machine
    return _checked(MachineConfig, read_yaml(find_file(machine, "configs", "machines")), ConfigError)


def read_task(path: Path) -> tuple[TaskConfig, YamlFile]:
    """Returns the task of a file, and the file (for the lines that messages name)."""
    file = read_yaml(path)
    return _checked(TaskConfig, file, TaskError), file


def validate(kind: type[Config], data: Mapping[str, Any], where: str) -> Config:
    """Returns `data` as a checked value; `where` is what messages name. Raises ConfigError."""
    return _checked(kind, YamlFile(Path(where), data, {}), ConfigError)


def _checked(kind: type[Config], file: YamlFile, error_kind: type[HarnessError]) -> Config:
    try:
        return kind.model_validate(file.data)
    except ValidationError as error:
        first = error.errors()[0]
    # pydantic puts the tags of union members among the keys; those are no keys of the file
    key = tuple(part for part in first["loc"] if not (isinstance(part, str) and part.startswith("(")))
    named = ".".join(map(str, key))
    if first["type"] == "unknown_key":
        unknown, _, hint = first["msg"].partition("|")
        raise error_kind(f"unknown key '{unknown}'", where=file.where((*key, unknown)), fix=hint)
    if first["type"] == "missing":
        raise error_kind(f"key '{named}' is missing", where=file.where(key), fix=f"add `{named}: ...`")
    message = _FORMS.get((first.get("ctx") or {}).get("pattern", "")) or first["msg"][0].lower() + first["msg"][1:]
    given = f" (given: {_short(first['input'])})" if key and not isinstance(first["input"], dict | list) else ""
    raise error_kind(f"{named}: {message}{given}" if named else message, where=file.where(key), fix=_fix(first))


def _fix(error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error":
        return nearest(error["input"], re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    if error["type"] == "string_type":
        return "put the value in quotes"
    return "mend this value"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
