"""The notes of a cost report as sentences: what was paid, and what a judge took."""

from harness.analysis import judge_summary
from harness.analysis.summary import money_notes
from harness.store.schema import Note, NoteCode


def sentence(note: Note) -> str:
    if note.code is NoteCode.PAID:
        return money_notes(dict(note.figures))[0]
    return judge_summary.bill(dict(note.figures))
