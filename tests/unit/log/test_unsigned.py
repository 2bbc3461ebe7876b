"""A log without a single checkpoint: they were removed, or there never were any. What can be told apart is."""

from __future__ import annotations

from builders.forgers import FIRST, LOG, ROOT, honest, say
from builders.written import Written

from mimrun.log.ends import Ends
from mimrun.log.kinds_proof import LogAnchored, LogHeads
from mimrun.log.proof.lines import Lines
from mimrun.log.proof.report import Report, Trust
from mimrun.log.proof.verify import verify


def without_notes(log: Written) -> Written:
    return Written(LOG, log.rows_, log.blobs, [], log.ends, log.head_)


def anchored(*, done: bool) -> Written:
    log = honest()
    log.add(LogAnchored(anchor="vault", size=20, root="ab" * 32, done=done, reason="" if done else "no way"))
    return log


def never_signed() -> Written:
    """What is left where the signer is down from the beginning."""
    log = Written(LOG)
    log.announce(FIRST, ROOT)
    say(log, "something")
    log.add(LogHeads(incidents=len(log.ends), root=Ends(log.ends).root))
    return log


def named(report: Report) -> list[str]:
    return [line for line in report.findings.not_proven if "the signer never answered" in line]


def test_checkpoints_that_are_all_gone_are_a_flaw_where_one_was_given_away() -> None:
    assert verify(anchored(done=True).store).ok
    report = verify(without_notes(anchored(done=True)).store)
    assert [(flaw.seq, flaw.check) for flaw in report.flaws] == [(0, "checkpoint")]
    assert "vault was given the checkpoint of size 20 (entry 21), and no checkpoint is stored here" in str(
        report
    )


def test_reader_for_whom_unsigned_will_do_is_told_and_not_refused() -> None:
    report = verify(without_notes(anchored(done=True)).store, trust=Trust(unsigned=True))
    assert report.ok
    assert len(named(report)) == 1


def test_log_whose_signer_never_answered_is_not_called_changed() -> None:
    for log in (never_signed(), without_notes(anchored(done=False))):
        report = verify(log.store)
        assert report.ok, str(report)
        assert len(named(report)) == 1
    (line,) = named(verify(never_signed().store))
    assert "a key was announced at entry 2 and one end was recorded for checkpoints" in line


def test_nothing_is_said_of_signers_where_there_is_a_checkpoint_or_none_could_be_shown() -> None:
    assert not named(verify(honest().store))
    log = without_notes(anchored(done=True))
    lines = verify(Lines(row.data for row in log.rows_))
    assert lines.ok, str(lines)
    assert not named(lines)
