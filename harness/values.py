"""The values that pass from one step to the next: frozen, slotted, without behaviour beyond derived fields.

    Sample -> Request -> Response -> Score -> Record -> Estimate

A step returns a new value; `dataclasses.replace` is the only edit. Long because these are the words that all
rooms share, and one place to look each of them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal, TypeAlias, get_args

Mode = Literal["loglikelihood", "generate"]
Sensitivity = Literal["public", "internal", "restricted"]
Finish = Literal["stop", "length", "time", "error"]
SENSITIVITIES: tuple[Sensitivity, ...] = get_args(Sensitivity)  # from what may go anywhere to what never leaves
AnswerPlace = tuple[str, str, str, int]  # model, task, sample id, epoch: one answer, or one conversation
CellName = tuple[str, str]  # model, task


class Failure(StrEnum):
    """Why an answer has no value of its own. A task says which of these count as wrong."""

    NO_ANSWER = "no_answer"  # the text holds nothing the extractor accepts
    TRUNCATED = "truncated"  # cut off by the token limit before an answer was found
    THINKING_CUT = "thinking_cut"  # cut off while still thinking: no answer was begun
    UNSCORED = "unscored"  # a judge gave no readable verdict, or it takes a sandbox to judge
    SCORER_ERROR = "scorer_error"  # the scorer itself failed
    BACKEND_ERROR = "backend_error"  # the model was never asked, or never answered


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a task, ready to be asked and judged."""

    id: str
    task: str
    row: Mapping[str, object]  # the data as read: what `{column}` in a prompt refers to
    expected: Any  # generate: the reference answer; choice: the label of the right choice
    choices: tuple[str, ...] = ()  # choice tasks: the texts
    labels: tuple[str, ...] = ()  # choice tasks: what stands for each choice (its letter, or the text itself)
    gold: int | None = None  # choice tasks: index of the right choice (of several: the first)
    right: tuple[int, ...] = ()  # choice tasks where several choices are right: the indexes of all of them
    cluster: str | None = None  # samples of one cluster are not independent
    scored: tuple[int, ...] = ()  # conversations: the turns that are judged, from 1; `expected` holds one for each
    marks: tuple[str, ...] = ()  # choice tasks: what stands before each choice where a prompt lists them, as (A)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. The default is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Form:
    """What a generated answer must be, as a whole. Exactly one is set."""

    schema: str = ""  # a JSON Schema, as JSON text: the answer is JSON that it accepts
    regex: str = ""  # the answer matches it from its first character to its last
    choices: tuple[str, ...] = ()  # the answer is one of these


@dataclass(frozen=True, slots=True)
class Writing:
    """How an answer is written, beside how its tokens are drawn. The default asks for nothing."""

    form: Form | None = None  # the answer is held to it, token by token
    prefill: str = ""  # how the answer begins: it stands at the end of the prompt, and not in the response's text
    thinking: Literal["auto", "on", "off"] = "auto"  # the chat template's switch; auto: as the template has it
    thinking_budget: int | None = None  # tokens of thinking after which its end is written for the model
    markers: tuple[str, str] | None = None  # between which it thinks; None: those the tokenizer is known by
    logprobs: bool = False  # tell how sure the model was of its tokens
    wall_s: float | None = None  # seconds for all requests that are handed over together


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is given to read: a text as it is, or the messages of a conversation. Exactly one is set.

    Text is sent as it is. Messages are rendered by the backend with the model's own chat template; where the last one
    is the assistant's, the model goes on from it.
    """

    text: str | None = None
    messages: tuple[Message, ...] = ()
    data: tuple[str, ...] = ()  # of a text: what of it the data say, where they may spell a model's control tokens

    def __post_init__(self) -> None:
        if (self.text is None) == (not self.messages):
            raise ValueError("a prompt is a text or messages: give exactly one of them")

    @property
    def turns(self) -> tuple[Message, ...]:
        """Returns the messages; a text is one of the user's."""
        return self.messages if self.text is None else (Message("user", self.text),)

    @property
    def begun(self) -> str:
        """Returns how the answer begins, where the last message is the assistant's; else nothing."""
        return self.messages[-1].content if self.messages and self.messages[-1].role == "assistant" else ""

    @property
    def before(self) -> tuple[Message, ...]:
        """Returns the messages without the beginning of an answer."""
        return self.messages[:-1] if self.begun else self.messages

    @property
    def content(self) -> str:
        """Returns all that it says, as one text, without the roles."""
        return "\n".join(turn.content for turn in self.turns)

    @property
    def characters(self) -> int:
        """Returns the characters of its texts."""
        return sum(len(turn.content) for turn in self.turns)

    @property
    def size_bytes(self) -> int:
        """Returns the bytes of its texts in UTF-8."""
        return sum(len(turn.content.encode("utf-8", "surrogatepass")) for turn in self.turns)

    def answered(self, answer: str, more: Prompt) -> Prompt:
        """Returns this prompt, the answer to it (without the beginning that it holds), and what is added then."""
        if self.text is not None:
            return Prompt(self.text + answer + (more.text or ""), data=(*self.data, answer, *more.data))
        return Prompt(messages=(*self.before, Message("assistant", self.begun + answer), *more.messages))

    def as_json(self) -> str | list[dict[str, str]]:
        """Returns the text, or the messages as mappings."""
        if self.text is not None:
            return self.text
        return [{"role": turn.role, "content": turn.content} for turn in self.messages]


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A text asked of a model after `prompt`.

    A conversation is a request for each turn. After the first, `follows` names the one before, and `prompt` is what
    is added to its prompt and the model's answer to it.
    """

    mode: ClassVar[Mode] = "generate"

    key: str  # digest of everything that could change the answer
    sample_id: str
    prompt: Prompt
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    writing: Writing = Writing()
    epoch: int = 0
    turn: int = 1
    follows: str = ""  # key of the turn before; empty: `prompt` is whole
    sensitivity: Sensitivity = "restricted"  # of what it holds; what nobody has classified stays here


@dataclass(frozen=True, slots=True)
class LoglikelihoodRequest:
    """The log-probability of each of `continuations` after `prompt`, or after `prompt` and its own text in `given`.

    `rolling`: the one continuation is a text of any length that begins a document, read in as many windows as it takes.
    """

    mode: ClassVar[Mode] = "loglikelihood"
    epoch: ClassVar[int] = 0  # it is asked once, and is no conversation
    turn: ClassVar[int] = 1
    follows: ClassVar[str] = ""

    key: str  # digest of everything that could change the answer
    sample_id: str
    prompt: Prompt
    continuations: tuple[str, ...]
    given: tuple[str, ...] = ()  # one for each continuation, or none
    rolling: bool = False
    sensitivity: Sensitivity = "restricted"  # as above

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Returns (what stands between the prompt and it, continuation) for each continuation."""
        return tuple(zip(self.given or ("",) * len(self.continuations), self.continuations, strict=True))


Request: TypeAlias = GenerateRequest | LoglikelihoodRequest  # one thing asked of a model


@dataclass(frozen=True, slots=True)
class PaidAttempt:
    """One try at a request that a provider may charge for. `usd` None is unknown: then `most_usd` bounds it."""

    outcome: str  # answered, or a word for why not
    usd: float | None
    most_usd: float | None = None  # only where `usd` is unknown; None there: no price is known
    s: float | None = None  # seconds it took
    waited_s: float | None = None  # seconds before it, since the one before had failed
    tokens: Mapping[str, int] | None = None  # what the provider says it used, by kind
    detail: str = ""  # what else was said of a failure
    processing: Literal["standard", "batch"] = "standard"


@dataclass(frozen=True, slots=True)
class Billing:
    """What a response cost in US dollars, in all of its attempts. None is unknown, never free."""

    usd: float | None = None
    most_usd: float | None = None  # the most it can have cost; None: no price is known
    attempts: tuple[PaidAttempt, ...] = ()  # none: a file says what it cost once, and nothing was paid now

    @property
    def known_usd(self) -> float:
        """Returns what is known to have been paid: in all, else of the attempts whose price is known."""
        return self.usd if self.usd is not None else sum(attempt.usd or 0.0 for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class Counted:
    """How the tokens of a response were counted, where not by whoever answered."""

    how: str  # in words: counted here, not told, not recorded
    told: Mapping[str, int] | None = None  # what the provider tells, by kind, though it cannot be of this answer
    why: str | None = None  # why it cannot be


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a model thought before its answer."""

    text: str | None = None  # None: it was not told
    tokens: int | None = None  # part of the output; None: nobody counted them
    cut: bool = False  # the limit came while it was still thinking: no answer was begun
    forced: bool = False  # its end was written for it, by a thinking budget


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure a model was of the tokens of its answer, in nats."""

    mean: float
    minimum: float
    first: float


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Seconds from the moment a request was sent or begun, which may have run beside others: no latencies."""

    queued_s: float | None = None  # before it was begun, and not in the others
    first_token_s: float | None = None
    last_token_s: float | None = None
    e2e_s: float | None = None
    after_first: int | None = None  # output tokens that came after the first moment; 0: none, or nobody knows how many
    chunks: int | None = None  # with tokens, in which they came


@dataclass(frozen=True, slots=True)
class Provider:
    """What a server, a provider or a file of answers tells beside the answer."""

    model_version: str | None = None  # as it names the model that answered
    system_fingerprint: str | None = None
    finish: str | None = None  # its own word for how the answer ended
    refusal: str | None = None  # its own signal that the answer is a refusal
    refused: Mapping[str, str] = field(default_factory=dict)  # parameter -> why it is not as was asked
    cached_tokens: int | None = None  # of the prompt, read from its cache
    in_flight: int | None = None  # requests of ours that it had at once, this one included
    token_logprobs: tuple[float, ...] | None = None  # nats
    origin: str | None = None  # of a recorded answer: the tool that wrote the file
    missing: bool = False  # of a recorded answer: the file has none
    matched: str | None = None  # of a recorded answer found by what was asked: what the file calls its sample
    from_cache: bool = False  # of a recorded answer: the tool read it from a cache of its own
    digests: Mapping[str, str] = field(default_factory=dict)  # of a recorded answer: what its log names so


@dataclass(frozen=True, slots=True)
class Applied:
    """How our own engine took a request."""

    shared_tokens: int = 0  # of the prompt, computed once for several requests
    prompt_ids_sha256: str | None = None
    otherwise: Mapping[str, str] = field(default_factory=dict)  # setting -> what was done instead of as asked
    fallback: str | None = None  # why the slow reference method answered; None: it did not, or was asked to


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one request, and what was really sent.

    `prefill_s` and `decode_s` are this row's share of the machine seconds its batch took: shares of a batch add up
    to the batch. They are for cost, never latency. `ttft_s`, `last_token_s` and `e2e_s` are elapsed seconds from the
    moment the request was handed over, and are only set when the request ran alone (`batch_size` 1).
    """

    key: str
    prompt: str | None  # as sent, after any chat template; None if it was never rendered
    text: str | None = None  # generate: what the model wrote, without thinking and without a prefill
    logprobs: tuple[float, ...] | None = None  # loglikelihood: summed nats, one per continuation
    greedy: tuple[bool, ...] | None = None  # loglikelihood: each token of the continuation was the most likely one
    # real tokens of the prompt (and of the longest continuation, if any; of a rolling text all); no padding
    input_tokens: int | None = 0
    output_tokens: int | None = 0  # real tokens generated, thinking included; 0 of given text. None: nobody knows
    truncated_left: int = 0  # prompt tokens cut off on the left to fit the context
    finish_reason: Finish | None = None
    stop_string: str | None = None
    batch_size: int = 1
    prefill_s: float | None = None
    decode_s: float | None = None
    ttft_s: float | None = None
    last_token_s: float | None = None
    e2e_s: float | None = None
    error: str | None = None  # set: nothing else above is an answer
    provisional: bool = False  # the error may not come again: the request is still owed
    billing: Billing | None = None  # None: nobody charges for it
    counted: Counted | None = None  # None: the token counts are those of whoever answered
    thinking: Thinking | None = None  # None: there was none
    confidence: Confidence | None = None  # None: nobody asked, or it was not told
    elapsed: Elapsed | None = None  # None: nothing but the fields above is known
    provider: Provider | None = None  # None: the model ran in this process
    applied: Applied | None = None  # None: it did not, or nothing is to be said

    @property
    def usd(self) -> float | None:
        """Returns what it cost in all; None where that is unknown, or nobody charges for it."""
        return None if self.billing is None else self.billing.usd

    @property
    def attempts(self) -> tuple[PaidAttempt, ...]:
        """Returns the tries at a provider that it took; none where nobody charges for it."""
        return () if self.billing is None else self.billing.attempts

    @property
    def thinking_cut(self) -> bool:
        """Returns whether it ended while the model was still thinking."""
        return self.thinking is not None and self.thinking.cut


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseLine(Response):
    """A response with where it belongs: one line of `responses.jsonl`, or of `verdicts.jsonl` for a judge's.

    One that is `provisional` may be followed by another of its key, which then counts in its place.
    """

    model: str  # as the run names it; of a judge: `judge NAME`
    task: str
    sample_id: str
    epoch: int  # from 0
    turn: int  # of a conversation, from 1
    mode: Mode
    input_characters: int | None  # given to read; 0: it was never sent. None: nobody noted it
    sent_bytes: int | None  # of text that left this machine for it, in all attempts. None: nobody noted it

    @property
    def cell(self) -> CellName:
        """Returns the model and the task."""
        return self.model, self.task

    @property
    def place(self) -> AnswerPlace:
        """Returns which answer, or conversation, it belongs to."""
        return self.model, self.task, self.sample_id, self.epoch


def placed(
    response: Response,
    place: AnswerPlace,
    *,
    turn: int = 1,
    mode: Mode = "generate",
    input_characters: int | None = None,
    sent_bytes: int | None = None,
) -> ResponseLine:
    """Returns a response with where it belongs."""
    values = {name: getattr(response, name) for name in Response.__dataclass_fields__}
    model, task, sample_id, epoch = place
    return ResponseLine(
        **values,
        model=model,
        task=task,
        sample_id=sample_id,
        epoch=epoch,
        turn=turn,
        mode=mode,
        input_characters=input_characters,
        sent_bytes=sent_bytes,
    )


@dataclass(frozen=True, slots=True)
class Score:
    """One answer judged once. Exactly one of value and failure is set."""

    value: float | None  # in [0, 1]
    answer: str | None  # what the extractor found, as text
    failure: Failure | None
    metrics: Mapping[str, float] = field(default_factory=dict)  # further judgements of the same answer, in [0, 1]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation: what the model said, and the judgement of it if it is judged."""

    turn: int  # from 1
    text: str | None
    expected: Any
    answer: str | None
    value: float | None  # None: not judged, or left out
    failure: Failure | None
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: Finish | None


@dataclass(frozen=True, slots=True)
class Record:
    """Sample, response and score, flat: one line of `records.jsonl`, the unit of every table."""

    model: str
    task: str
    sample_id: str
    epoch: int
    mode: Mode
    expected: Any
    answer: str | None
    value: float | None  # what counts in the mean: 0 for a failure the task counts as wrong, None if left out
    failure: Failure | None
    input_tokens: int | None
    output_tokens: int | None
    choice_logprobs: tuple[float, ...] | None  # in choice order, nats
    text: str | None
    finish_reason: Finish | None
    truncated_left: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    cluster: str | None = None
    turns: tuple[Turn, ...] = ()  # of a conversation, whose tokens are the sums over them
    verdicts: tuple[str, ...] = ()  # what a judge model replied about the answer, of a pair in both orders
    thinking_tokens: int | None = None  # part of the output; None: there was none, or nobody counted it


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty. `value` None means unknown, and `reason` says why; it is never 0 instead."""

    value: float | None
    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    n: int = 0
    method: str = ""
    reason: str | None = None
