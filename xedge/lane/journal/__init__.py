"""A lane's journal: every bag, decision and event in SQLite, and the raw strips in segment files.

    journal.sqlite               boots, bags, notes, events, segments, deletions: see `schema`
    strips-00000001.xstrip       raw strips, in the format of docs/strip-file.md; the one that is
                                 being written, or that a crash left behind, ends in ``.part``
    lock                         held by the lane that writes

What reaches the disk, and when, is said in docs/journal.md.
"""

from xedge.lane.journal.journal import Journal
from xedge.lane.journal.reading import JournalReader, read_journal
from xedge.lane.journal.records import decision_record
from xedge.lane.journal.store import JournalSettings

__all__ = ["Journal", "JournalReader", "JournalSettings", "decision_record", "read_journal"]
