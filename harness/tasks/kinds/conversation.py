"""Conversation: the user says several things, the model answers each, and some of the answers are judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from harness.config.base import _by_shape
from harness.config.task import Judging, TurnConfig
from harness.errors import TaskError
from harness.scoring import cells
from harness.tasks.kinds import generate
from harness.tasks.kinds.base import Example, Manner, renamed
from harness.tasks.kinds.generate import GenerateTask, written_requests
from harness.tasks.kinds.written import judge_text, written
from harness.tasks.prompts import answer_text, fill, opened, spelling
from harness.tasks.rubric import Told
from harness.tasks.samples import Row, Samples, Table, listed, need_answer, need_column, plain_sample
from harness.tasks.task import Task
from harness.values import Message, Prompt, Request, Response, Sample, Score


class ConversationTask(Judging):
    """What the user says, turn by turn, and which answers to it are judged."""

    several_turns: ClassVar[bool] = True

    kind: Literal["conversation"]
    turns: Annotated[
        Annotated[tuple[str, ...], Tag("(list)"), Field(min_length=1)] | Annotated[str, Tag("(text)")],
        Discriminator(_by_shape),
    ]  # what the user says, turn by turn; or a column that holds a list of it
    scored: Annotated[Mapping[Annotated[int, Field(ge=1)], TurnConfig], Field(min_length=1)] | None = (
        None  # turns whose answers are judged, by number from 1; default: those with a value in the list in `answer`
    )
    over_turns: Literal["mean", "all"] = "mean"  # what a conversation is worth; all: 1 if each scored turn is right
    transcript: str = "User: {turn}\nAssistant:"  # a turn as text, for a model without chat template

    @property
    def scores(self) -> tuple[Any, ...]:
        """Returns each `score:` of the task: its own, and those of its turns."""
        return tuple(one for one in (self.score, *(turn.score for turn in (self.scored or {}).values())) if one)

    @property
    def knows_answers(self) -> bool:
        """Returns whether some column holds what is right."""
        return self.answer is not None or any(turn.answer is not None for turn in (self.scored or {}).values())

    @property
    def turn_texts(self) -> tuple[str, ...]:
        """Returns what the user says, turn by turn, where the task file has it."""
        return self.turns if isinstance(self.turns, tuple) else ()

    @model_validator(mode="before")
    @classmethod
    def _need_turns(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("turns") is None:
            raise PydanticCustomError("turns", "a conversation needs `turns`: a list of texts, or a column with one")
        return values

    @model_validator(mode="after")
    def _consistent(self) -> ConversationTask:
        if self.rubric is not None and (self.rubric.against is not None or self.rubric.human is not None):
            what = "a conversation has no `against` or `human`: each answer follows what its own model said before"
            raise PydanticCustomError("rubric", f"rubric: {what}")
        open_turns = any(turn.answer is None for turn in (self.scored or {0: TurnConfig()}).values())
        if self.answer is None and open_turns and not (self.rubric is not None and self.scored):
            raise PydanticCustomError(
                "answer", "what is right is missing: add `answer: COLUMN`, or `scored: {2: {answer: COLUMN}}`"
            )
        if isinstance(self.turns, tuple) and (past := max(self.scored or (0,))) > len(self.turns):
            raise PydanticCustomError(
                "past", "turn {past} is scored, and there are {n}", {"past": past, "n": len(self.turns)}
            )
        if self.transcript.count("{turn}") != 1 or not self.transcript.partition("{turn}")[2].strip():
            raise PydanticCustomError(
                "transcript", "`transcript` needs {turn} once, and after it what an answer follows"
            )
        return self


CONFIG = ConversationTask
relaid = renamed


# --- samples ---------------------------------------------------------------------------------------------------------


def samples(config: ConversationTask, table: Table) -> Sequence[Sample]:
    """Returns a sample for each row: the turns that are judged, and what is expected of each."""
    for i, row in enumerate(table.rows):
        _judged(config, row, table.at(i))  # each is checked now, also where its sample is made later
    return Samples(table.rows, lambda i, row: _sample(config, table.ids[i], row, table.at(i)))


def _sample(config: ConversationTask, id: str, row: Row, where: str) -> Sample:
    row, expected = _judged(config, row, where)
    return replace(plain_sample(config, id, row), expected=tuple(expected.values()), scored=tuple(expected))


def _judged(config: ConversationTask, row: Row, where: str) -> tuple[Row, dict[int, Any]]:
    """Returns a row with its turns as a list, and what is expected of each turn that is judged."""
    turns: Sequence[Any] = config.turns
    if isinstance(config.turns, str):
        need_column(row, config.turns, "turns", where)
        turns = listed(row[config.turns], config.turns, "turns", where)
        row = {**row, config.turns: turns}
        if not turns or not all(isinstance(turn, str) and turn for turn in turns):
            what = f"column '{config.turns}' holds a turn that is empty or no text"
            raise TaskError(what, where=where, fix="write each turn as a text")
    n = len(turns)
    named = {turn: judged.answer for turn, judged in (config.scored or {}).items()}
    answers: Sequence[Any] = ()
    if config.answer is not None and (not named or None in named.values()):
        answers = listed(row[config.answer], config.answer, "answers", where)
        if len(answers) != n:
            what = f"column '{config.answer}' holds {len(answers)} answers to {n} turns"
            raise TaskError(what, where=where, fix="give one for each turn, null where it is not judged")
    chosen = sorted(named or (i for i, value in enumerate(answers, 1) if value is not None))
    if not chosen or chosen[-1] > n:
        what = f"turn {chosen[-1]} is scored, and there are {n}" if chosen else "no turn is scored"
        raise TaskError(what, where=where, fix="mend `scored`, or give an answer to one of the turns")
    return row, {turn: _expected(row, named.get(turn), answers, turn, where) for turn in chosen}


def _expected(row: Row, column: str | None, answers: Sequence[Any], turn: int, where: str) -> Any:
    if column is not None:
        need_column(row, column, f"scored: {turn}: answer", where)
        need_answer(row, column, where)
        return row[column]
    if not answers:  # a judge needs none
        return None
    if answers[turn - 1] is None or answers[turn - 1] == "":
        raise TaskError(f"no answer to turn {turn}", where=where, fix="fill it in, or leave the row out")
    return answers[turn - 1]


# --- asking ----------------------------------------------------------------------------------------------------------


def asked(config: ConversationTask, sample: Sample) -> tuple[str, ...]:
    """Returns what the user says, turn by turn. The texts of a column are no templates."""
    if isinstance(config.turns, str):
        return tuple(cells.texts(sample.row, config.turns))
    return tuple(fill(turn, sample.row) for turn in config.turns)


def prompt(config: ConversationTask, sample: Sample, shots: Sequence[Sample], chat: bool) -> Prompt:
    """Returns what the first answer follows."""
    return opened(config, sample, _said(config, asked(config, sample)[0], chat), chat, config.prefill)


def later(config: ConversationTask, sample: Sample, chat: bool) -> tuple[Prompt, ...]:
    """Returns what is added after each answer but the last: the user's next turn."""
    begun = config.prefill
    if chat:
        ends = [Message("assistant", begun)] if begun else []
        return tuple(Prompt(messages=(Message("user", turn), *ends)) for turn in asked(config, sample)[1:])
    end = config.delimiter + begun if begun else ""
    turns = asked(config, sample)[1:]
    data = spelling(sample.row)
    return tuple(Prompt(config.separator + _said(config, turn, chat) + end, data=data) for turn in turns)


def replied(config: ConversationTask, answer: str, chat: bool) -> str:
    """Returns an answer as it stands in a conversation: as it is in messages, in a transcript as a shot's answer does.

    Tokenizers differ in whether they tell the blank before the first word; so it is the task's.
    """
    if chat:
        return answer
    return answer.rstrip() if config.prefill else (config.delimiter + answer.strip()).rstrip()


def requests(config: ConversationTask, sample: Sample, shots: Sequence[Sample], manner: Manner) -> Iterator[Request]:
    """Yields a request for each epoch and turn."""
    turns = (prompt(config, sample, shots, manner.chat), *later(config, sample, manner.chat))
    stop = (*config.stop, *ends_turn(config, manner.chat))
    yield from written_requests(config, sample, turns, stop, manner)


def ends_turn(config: ConversationTask, chat: bool) -> tuple[str, ...]:
    """Returns what ends an answer in a transcript, beside the task's stop strings: the opening of the user's turn."""
    opening = config.transcript.partition("{turn}")[0].strip()
    return (f"\n{opening}",) if not chat and opening else ()


def _said(config: ConversationTask, text: str, chat: bool) -> str:
    """Returns a turn of the user as it is put before the model."""
    return text if chat else config.transcript.replace("{turn}", text)


# --- judging ---------------------------------------------------------------------------------------------------------


def score(config: ConversationTask, sample: Sample, response: Response, told: Told) -> Score:
    """Returns the score of an answer, by the task's scorer or by what a judge model said; see `turn_of`."""
    return judge_text(config, sample, response, told)


def turn_of(
    config: ConversationTask, sample: Sample, turn: int, responses: Sequence[Response] = ()
) -> tuple[GenerateTask, Sample]:
    """Returns the task and sample of one question as which a scored turn of a conversation is judged.

    The sample's row tells what was said so far, as columns: `_question_1`, `_answer_1`, `_question_2`, ... up to the
    question of this turn; `responses` are those of the turns before it (or of more).
    """
    own = (config.scored or {}).get(turn, TurnConfig())
    changes = {"extract": own.extract, "score": own.score}
    shared = {key: value for key, value in config if key in GenerateTask.model_fields}
    judged = {"kind": "generate", **{key: value for key, value in changes.items() if value is not None}}
    said = {f"_question_{i}": text for i, text in enumerate(asked(config, sample)[:turn], 1)}
    said |= {f"_answer_{i}": written(config, response) for i, response in enumerate(responses[: turn - 1], 1)}
    expected = sample.expected[sample.scored.index(turn)]
    as_question = GenerateTask.model_construct(config.model_fields_set, **shared | judged)
    return as_question, replace(sample, row={**sample.row, **said}, expected=expected, scored=())


def examples(config: ConversationTask, samples: Sequence[Sample]) -> Iterator[Example]:
    """Yields each scored turn as a question of its own, with all right answers before it; turn by turn."""
    parts: dict[int, tuple[GenerateTask, list[Sample]]] = {}
    for sample in samples:
        said = {turn: Response(key="", prompt=None, text="") for turn in range(1, sample.scored[-1])}
        for turn in sample.scored:
            one, question = turn_of(config, sample, turn, tuple(said.values()))
            said[turn] = Response(
                key="", prompt=None, text=answer_text(one, question).removeprefix(config.prefill), finish_reason="stop"
            )
            parts.setdefault(turn, (one, []))[1].append(replace(question, id=f"{sample.id} turn {turn}"))
    for turn in sorted(parts):
        yield from generate.examples(*parts[turn])


def as_text(config: ConversationTask, task: Task) -> Task:
    """Returns the task: it is asked as text already."""
    return task
