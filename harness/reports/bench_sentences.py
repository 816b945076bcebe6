"""The notes of a benchmark of load as sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.reports.busy_sentences import busy_machine
from harness.reports.layout import number
from harness.store.schema import Note, NoteCode


def sentence(note: Note) -> str:
    """Returns a note of a benchmark as one line."""
    subject = note.subject
    where = " · ".join((subject.model, *subject.tasks)) if subject.model else ""
    if scenario := note.text("scenario"):
        where = f"{where}, {scenario}"
    told = _SENTENCES[note.code](note)
    return f"{where}: {told}" if where else told


def _cold_start(note: Note) -> str:
    load_s = note.known("load_s")
    libraries = " with its libraries" if note.flag("with_libraries") else ""
    loaded = "" if load_s is None else f"loaded in {number(load_s)} s{libraries}, "
    return f"{loaded}its first request took {number(note.known('first_request_s'), 1000)} ms (in no figure above)."


def _owed(note: Note) -> str:
    reason = note.text("reason")
    again = reason or "the same command goes on with them"
    return f"INCOMPLETE: loads that are owed: {', '.join(note.names('loads'))}; {again}."


def _left_out(note: Note) -> str:
    loads = ", ".join(note.names("loads"))
    return f"{loads} left out: the load before brought no more throughput, or was too much already."


def _keeps_slo(note: Note) -> str:
    upto = "at all rates measured, so at least" if note.flag("at_all_rates") else "up to"
    return f"keeps the SLO {upto} {number(note.number('requests_per_s'))} good requests/s."


def _memory(note: Note) -> str:
    what = "GPU memory" if note.flag("on_device") else "main memory in this process, libraries and all"
    return f"at most {number(note.number('bytes'), 1e-6)} MB of {what}."


def _energy(note: Note) -> str:
    idle = note.known("idle_watts")
    rest = "" if idle is None else f"; at rest it draws {number(idle)} W"
    return f"energy by {note.text('method')}, of the whole device, warm-up included{rest}."


def _ended(note: Note) -> str:
    left = "; its times are of the answers that came until then" if note.flag("unfinished") else ""
    return f"ended early, {note.text('reason')}{left}."


def _token_seconds(note: Note) -> str:
    a, b, c = (note.number(name) for name in "abc")
    mean, most = (100 * note.number(name) for name in ("error_mean", "error_max"))
    terms = f"{a:.3g}·I + {b:.3g}·O + {c:.3g}·(I·O + O²/2)"
    missed = f"{mean:.0f} % on average, {most:.0f} % at most"
    return f"busy seconds of a request = {terms}; a shape left out is missed by {missed}."


_SENTENCES: Mapping[NoteCode, Callable[[Note], str]] = {
    NoteCode.LOAD_SENT_FROM: lambda note: f"Sent from {note.text('processor')}, {note.known('cores')} cores.",
    NoteCode.BUSY_MACHINE: busy_machine,
    NoteCode.COLD_START: _cold_start,
    NoteCode.LOADS_OWED: _owed,
    NoteCode.LOADS_LEFT_OUT: _left_out,
    NoteCode.KEEPS_SLO: _keeps_slo,
    NoteCode.SCRIPTED_TIMES: lambda note: (
        "a script; its times to a token are told, not waited for; responses are real."
    ),
    NoteCode.PEAK_MEMORY: _memory,
    NoteCode.LOAD_ENERGY: _energy,
    NoteCode.LOAD_ENERGY_UNKNOWN: lambda note: f"energy unknown: {note.text('reason')}.",
    NoteCode.PREFIX_CACHE_DEFEATED: lambda note: (
        "Every prompt began with a number of its own: no prefix cache could help, and no answer was judged."
    ),
    NoteCode.ONE_AT_A_TIME: lambda note: (
        "in this process, one request at a time: others wait, which is in TTFT; no prefix is kept."
    ),
    NoteCode.CACHED_TOKENS_UNTOLD: lambda note: (
        "prompts repeat, and the server tells no cached tokens; see `prefix_cache: defeat`."
    ),
    NoteCode.TOKENS_DISAGREE: lambda note: (
        f"the server's count of tokens and ours differ in {note.known('n')} answers."
    ),
    NoteCode.LOAD_ENDED_EARLY: _ended,
    NoteCode.LOAD_SATURATED: lambda note: (
        "saturated: requests came faster than answers, and waited the longer the longer it lasted."
    ),
    NoteCode.ANSWERS_IN_ONE_PIECE: lambda note: (
        f"{note.known('n')} answers came in one piece: how long a token took (TPOT) is unknown."
    ),
    NoteCode.NO_TPOT: lambda note: f"{note.known('n')} answers have no TPOT, and so cannot miss its bound in the SLO.",
    NoteCode.SENT_LATE: lambda note: (
        f"this computer was too busy and sent requests up to {number(note.known('late_s'), 1000)} ms late."
    ),
    NoteCode.SHORT_ANSWERS: lambda note: (
        f"answers had {note.number('tokens'):.0f} tokens, {note.known('asked')} were asked for."
    ),
    NoteCode.TOKEN_SECONDS: _token_seconds,
    NoteCode.TOKEN_SECONDS_UNKNOWN: lambda note: f"no seconds of a token: {note.text('reason')}.",
}
