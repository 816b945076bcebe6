"""Messages through a model's chat template, and nothing lost on the way. Loads no torch: a preview uses it too.

Every message's text stands in the prompt, or there is no prompt: a template that passes a system message over, or
refuses it, gets it at the head of the first user message; one that wants the parts of a text in a list gets them so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from jinja2.exceptions import TemplateError

from harness.engine.control_tokens import ControlTokens
from harness.engine.text.thinking import Markers, markers_of, opened_by, split_text
from harness.values import GenerateRequest, LoglikelihoodRequest, Message, Prompt, Request, Writing

SWITCHES = ("enable_thinking", "thinking")  # what chat templates call their switch
TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
FROZEN = date(2025, 1, 1)  # what a template that asks for today's date is told: the same prompt on every day
# Stands before such a template, and takes the place of the function that tells the time.
DATED = (
    "{%- macro strftime_now(format) %}{% set parts = format.split('%') %}{{ parts[0] }}{% for part in parts[1:] %}"
    "{{ DIRECTIVES.get(part[:2], DIRECTIVES.get(part[:1], '') ~ part[1:2]) ~ part[2:] }}{% endfor %}"
    "{% endmacro %}{{ '' }}"
)
DIRECTIVES = "aAbBdejmuwyYHIMSpfGVUWDFTRcxX"

Turns = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as the model gets it, or the reason there is none."""

    text: str = ""
    marked: str | None = None  # the same for `ControlTokens.reader`, where the data spell a control token
    otherwise: Mapping[str, str] = field(default_factory=dict)  # setting -> what is done instead of as asked
    error: str | None = None


class _Unfit(Exception):
    """Why a template does not give the messages back."""


class ChatTemplate:
    """What turns requests into prompts for one tokenizer."""

    def __init__(self, tokenizer: Any, today: date = FROZEN) -> None:
        """today: the date that a template is told which asks for one."""
        self.tokenizer, self.today = tokenizer, today
        self.control, self.markers = ControlTokens(tokenizer), markers_of(tokenizer)
        self._lost: dict[
            tuple[object, ...], frozenset[int]
        ] = {}  # the turns whose text a prompt lacks, by their roles and the rest

    @property
    def source(self) -> str:
        """Returns the template itself; empty where there is none."""
        found = self.tokenizer.chat_template  # several, by name, are a mapping
        return str((found.get("default") if isinstance(found, Mapping) else found) or "")

    @property
    def dated(self) -> bool:
        """Returns whether it asks for today's date."""
        return "strftime_now" in self.source

    def render(self, request: Request) -> Rendered:
        """Returns the prompt of a request: its text as given, or its messages through the template.

        Where the last message is the assistant's, its text follows the template's opening of an answer.
        """
        spelt = self.control.first_in(_data(request))
        if request.prompt.text is not None:
            wrong = "thinking is switched on by a chat template, and this prompt has none"
            error = wrong if _writing(request).thinking == "on" else None
            made = Rendered(self._hidden(request.prompt) if spelt else request.prompt.text, error=error)
        else:
            made = self._of_messages(request)
        if spelt is None or made.error is not None:
            return replace(made, text=self.control.show(made.text))
        if self.control.reader is None:
            how = f"'{spelt}' in the data is read as the control token: this tokenizer reads it in no other way"
            return replace(made, text=self.control.show(made.text), otherwise={**made.otherwise, "control_tokens": how})
        return replace(made, text=self.control.show(made.text), marked=self.control.mark(made.text))

    def _hidden(self, prompt: Prompt) -> str:
        """Returns a text with the control tokens put out of sight that its data spell, and not the task itself."""
        text = prompt.text or ""
        for value in sorted(prompt.data, key=len, reverse=True):
            if self.control.first_in((value,)) is not None:
                text = text.replace(value, self.control.hide(value))
        return text

    def _of_messages(self, request: Request) -> Rendered:
        if not self.source:
            return Rendered(error="the model has no chat template (set chat_template: off)")
        thinking = _writing(request).thinking
        switchable = any(name in self.source for name in SWITCHES)
        if thinking == "on" and not switchable:
            return Rendered(error="the model's chat template has no switch for thinking (set switch: auto)")
        options = {} if thinking == "auto" else dict.fromkeys(SWITCHES, thinking == "on")
        otherwise = {"thinking_switch": "the chat template has none"} if thinking == "off" and not switchable else {}
        made = self._written(request.prompt.before, options, otherwise)
        opened = self._opened(request, made.text)
        if opened and switchable and isinstance(request, LoglikelihoodRequest):
            how = f"the chat template opens {opened.start}; it is switched off, for choices are no thought"
            made = self._written(request.prompt.before, dict.fromkeys(SWITCHES, False), {"thinking": how})
            opened = self._opened(request, made.text)
        begun = request.prompt.begun
        if opened and isinstance(request, LoglikelihoodRequest):
            why = f"the chat template opens {opened.start}, where choices would be scored as a thought"
            return replace(made, error=f"{why} (ask for a written answer instead, as: generate)")
        if opened and begun and opened.end not in begun:
            return replace(made, error=f"the chat template opens {opened.start}, where a prefill would be thought")
        return replace(made, text=made.text + begun)

    def _opened(self, request: Request, text: str) -> Markers | None:
        named = _writing(request).markers
        return opened_by(self.control.show(text), Markers(*named) if named else self.markers)

    def _written(
        self, messages: Sequence[Message], options: Mapping[str, bool], otherwise: Mapping[str, str]
    ) -> Rendered:
        """Returns the text of messages, in the first of four ways that shows all of them."""
        reasons = []
        for folded, turns in ((False, messages), (True, _folded(messages))):
            for listed in (False, True) if turns else ():
                try:
                    text, more = self._shown(turns, listed, options)
                except _Unfit as unfit:
                    reasons.append(str(unfit))
                    continue
                moved = {"system_message": "put before the first user message"} if folded else {}
                return Rendered(text, otherwise={**otherwise, **more, **moved})
        return Rendered(otherwise=otherwise, error=f"the model's chat template {reasons[0]}")

    def _shown(
        self, messages: Sequence[Message], listed: bool, options: Mapping[str, bool]
    ) -> tuple[str, dict[str, str]]:
        """Returns the text of messages, and what else was done. Raises _Unfit if it lacks one of them."""
        text = self._templated(messages, listed, options)
        otherwise = {}
        for place in sorted(self._lost_of(tuple(turn.role for turn in messages), listed, options)):
            if messages[place].content.strip():
                raise _Unfit(f"leaves out the text of {_named(messages, place)}")
        plain, spaced = self.control.show(text), None
        for place, turn in enumerate(messages):
            said = turn.content.strip()
            if said in plain:
                continue
            spaced = " ".join(plain.split()) if spaced is None else spaced
            if " ".join(said.split()) in spaced:
                continue
            answer, thought, _ = split_text(said, self.markers)
            if turn.role != "assistant" or thought is None or answer.strip() not in plain:
                raise _Unfit(f"leaves out, or changes, the text of {_named(messages, place)}")
            otherwise["earlier_thoughts"] = "left out by the chat template"
        return self._one_bos(text, otherwise), otherwise

    def _lost_of(self, roles: tuple[str, ...], listed: bool, options: Mapping[str, bool]) -> frozenset[int]:
        """Returns which messages of such roles do not come through the template, seen on words that stand nowhere else.

        Of a template that refuses these words, the messages themselves tell.
        """
        key = (self.source, roles, listed, *sorted(options.items()))
        if key not in self._lost:
            words = [f"zq{place}probe{place}qz" for place in range(len(roles))]
            turns = [Message(role, word) for role, word in zip(roles, words, strict=True)]  # type: ignore[arg-type]
            try:
                text = self._templated(turns, listed, options)
            except _Unfit:
                text = "".join(words)
            if listed and re.search(r"['\"]type['\"]: ?['\"]text['\"]", text):
                text = ""  # the list itself was printed
            self._lost[key] = frozenset(place for place, word in enumerate(words) if word not in text)
        return self._lost[key]

    def _templated(self, messages: Sequence[Message], listed: bool, options: Mapping[str, bool]) -> str:
        turns: Turns = []
        for turn in messages:
            content = self.control.hide(turn.content)
            turns.append({"role": turn.role, "content": [{"type": "text", "text": content}] if listed else content})
        told: dict[str, str] = {"chat_template": self._frozen()} if self.dated else {}
        try:
            text: str = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, **told, **options
            )
        except TEMPLATE_ERRORS as error:
            raise _Unfit(f"refuses the messages: {error}") from None
        return text

    def _frozen(self) -> str:
        """Returns the template with the day that it is told."""
        told = {letter: self.today.strftime(f"%{letter}") for letter in DIRECTIVES}
        plain = {f"-{letter}": told[letter].lstrip("0 ") or "0" for letter in "demjHIMSyUWw"}  # without a leading 0
        return DATED.replace("DIRECTIVES", repr(told | plain)) + self.source

    def _one_bos(self, text: str, otherwise: dict[str, str]) -> str:
        """Returns the text with one BOS at its beginning where the template writes several."""
        bos = getattr(self.tokenizer, "bos_token", None)
        if not bos:
            return text
        several = re.match(rf"\s*(?:{re.escape(bos)}\s*)+(?={re.escape(bos)})", text)
        if several is not None:
            otherwise["bos"] = f"the chat template opens the text with {bos} more than once: one is left"
            return text[several.end() :]
        if text[:1].isspace() and text.lstrip().startswith(bos):
            otherwise["bos"] = f"the chat template writes {bos} after white space: the tokenizer's own is left out"
        return text


def _writing(request: Request) -> Writing:
    return request.writing if isinstance(request, GenerateRequest) else Writing()


def _data(request: Request) -> tuple[str, ...]:
    """Returns the texts in a request that are data: of a prompt as text those it names, and all that is scored."""
    asked = request.prompt
    given = (*request.continuations, *request.given) if isinstance(request, LoglikelihoodRequest) else ()
    return (*(asked.data if asked.text is not None else (turn.content for turn in asked.before)), *given)


def _named(messages: Sequence[Message], place: int) -> str:
    return f"message {place + 1} of {len(messages)} ({messages[place].role})"


def _folded(messages: Sequence[Message]) -> list[Message]:
    """Returns the messages with the system's text at the head of the first user message; none where that cannot be."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return []
    return [Message("user", f"{messages[0].content}\n\n{messages[1].content}"), *messages[2:]]
