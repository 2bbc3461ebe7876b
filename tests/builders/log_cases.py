"""Writes the bundles in tests/cases/mimlog, good and bad, and `index.json`, which says of each what has to be found.

    PYTHONPATH=tests python -m builders.log_cases [FOLDER]

The same bytes every time: keys, salts and moments are given. A verifier in any language can be tested with them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from builders.bundles import CASES, lines, members, rewritten, rezipped
from builders.case_log import (
    FIRST,
    FOREIGN,
    LOG,
    OTHER_ROOT,
    ROOT,
    SECOND,
    WITNESS,
    Case,
    Cases,
    Content,
    edited,
    flipped_line,
)
from builders.written import PERSON, Written

from mimrun import canonical
from mimrun.log.kinds import LogHeads
from mimrun.log.merkle import leaf_hash


class Forgeries(Cases):
    """What forgers do."""

    def entries(self) -> None:
        """Entries are other ones. The incident's entries are 3, 4, 6 and 9 of the log."""
        other = b'"id":"u:8"'
        self.line("entry-edited", "another person is named", 1, lambda x: x.replace(b'"id":"u:7"', other), 4)
        self.line("entry-spaced", "a space was put in", 1, lambda x: x.replace(b":", b": ", 1), 4)
        self.line(
            "entry-escaped",
            "a letter is written as an escape",
            1,
            lambda x: x.replace(b"u:7", b"\\u0075:7"),
            4,
        )
        self.line(
            "entry-fraction",
            "a number has a fraction",
            1,
            lambda x: x.replace(b'"attempt":0', b'"attempt":0.0'),
            4,
        )
        self.line("entry-twice-a-key", "a key stands twice", 1, lambda x: x[:-1] + b',"v":1}', 4)
        self.line("entry-without-a-key", "a key is missing", 1, lambda x: x.replace(b'"epoch":0,', b""), 4)
        self.line(
            "entry-other-type", "a number is a text", 1, lambda x: x.replace(b'"epoch":0', b'"epoch":"0"'), 4
        )
        self.line(
            "entry-other-log", "it names another log", 1, lambda x: x.replace(b"org/cases", b"org/other"), 4
        )
        self.line(
            "entry-later",
            "it was recorded at another moment",
            1,
            lambda x: x.replace(b"03:00:04", b"03:00:05"),
            4,
        )
        self.line(
            "entry-other-place",
            "it says that it is another entry",
            1,
            lambda x: x.replace(b'"seq":4', b'"seq":5'),
            4,
        )
        self.line("entry-nonsense", "the line is no JSON", 1, lambda _: b"nonsense", 4)
        self.line("entry-empty", "the line is empty", 1, lambda _: b"", 4)
        self.line(
            "entry-too-long",
            "it has more than 16 KiB",
            1,
            lambda x: x.replace(b'"step":""', b'"step":"%s"' % (b"x" * 17000)),
            4,
        )

    def places(self) -> None:
        """Entries are left out, put in, swapped."""

        self.changed("first-left-out", "the incident's first entry is left out", self._without(0), 4)
        self.changed("middle-left-out", "an entry in the middle is left out", self._without(1), 6)
        self.changed("end-cut-off", "the incident's last entry is left out", self._without(3), 0)
        about = "the incident's last entries are left out, and all that is not signed is made to fit"
        self.changed("end-cut-and-fitted", about, self._fitted, 0)

        def swap(content: Content) -> None:
            for member in ("entries.jsonl", "proofs.jsonl"):
                found = content[member].splitlines(keepends=True)
                content[member] = b"".join([found[0], found[2], found[1], *found[3:]])

        def repeat(content: Content) -> None:
            for member in ("entries.jsonl", "proofs.jsonl"):
                found = content[member].splitlines(keepends=True)
                content[member] = b"".join([*found[:2], found[1], *found[2:]])
            content["manifest"] = edited(content["manifest"], entries=5)

        self.changed("swapped", "two entries have changed places", swap, 4, 6)
        self.changed("repeated", "an entry is there twice", repeat, 4)

        theirs = self.export(self.signed(), "INC-2")
        entry, proof = lines(theirs)[0], lines(theirs, "proofs.jsonl")[0]

        def splice(content: Content) -> None:
            found, proofs = (
                content["entries.jsonl"].splitlines(keepends=True),
                content["proofs.jsonl"].splitlines(keepends=True),
            )
            content["entries.jsonl"] = b"".join([*found[:2], entry, *found[2:]])
            content["proofs.jsonl"] = b"".join([*proofs[:2], proof, *proofs[2:]])
            content["manifest"] = edited(content["manifest"], entries=5)

        self.changed("of-another-incident", "an entry of another incident is put in", splice, 5)

    def _without(self, number: int) -> Callable[[Content], None]:
        def edit(content: Content) -> None:
            for member in ("entries.jsonl", "proofs.jsonl"):
                found = content[member].splitlines(keepends=True)
                taken = found.pop(number)
                content[member] = b"".join(found)
                if member == "entries.jsonl":
                    self._leave_out(content, taken)

        return edit

    def _fitted(self, content: Content) -> None:
        """Cut two entries from the incident's end, and say that it ended before them."""
        self._without(3)(content)
        self._without(2)(content)
        last = content["entries.jsonl"].splitlines()[-1]
        end = {"iseq": json.loads(last)["iseq"], "leaf": leaf_hash(last).hex()}
        content["heads.json"] = edited(content["heads.json"], **end)

    def _leave_out(self, content: Content, line: bytes) -> None:
        """Leave out what an entry commits to as well, and say in the manifest that it never was there."""
        manifest = json.loads(content["manifest"])
        gone = [f"blobs/{ref['commit']}" for ref in json.loads(line)["blobs"]]
        for member in gone:
            content.pop(member)
        if "runbooks" in line.decode():
            for member in [name for name in content if name.startswith("runbooks/")]:
                content.pop(member)
        changes = {"entries": manifest["entries"] - 1, "blobs": manifest["blobs"] - len(gone)}
        content["manifest"] = edited(content["manifest"], **changes)

    def proofs(self) -> None:
        """Proofs are other ones."""

        def proof(number: int, change: Callable[[dict[str, Any]], object]) -> Callable[[Content], None]:
            def edit(content: Content) -> None:
                found = content["proofs.jsonl"].splitlines()
                value = json.loads(found[number])
                change(value)
                found[number] = canonical.encode(value)
                content["proofs.jsonl"] = b"".join(line + b"\n" for line in found)

            return edit

        self.changed(
            "proof-other-hash",
            "a hash of a proof is another one",
            proof(1, lambda v: v["proof"].__setitem__(0, "ab" * 32)),
            4,
        )
        self.changed(
            "proof-shorter", "a proof has lost its last hash", proof(1, lambda v: v["proof"].pop()), 4
        )
        self.changed(
            "proof-longer", "a proof has a hash more", proof(1, lambda v: v["proof"].append("ab" * 32)), 4
        )
        self.changed(
            "proof-other-place", "a proof is for another place", proof(1, lambda v: v.update(seq=5)), 5
        )
        self.changed(
            "proofs-more",
            "there are more proofs than entries",
            lambda c: c.update({"proofs.jsonl": c["proofs.jsonl"] + b'{"proof":[],"seq":1}\n'}),
            0,
        )
        self.changed("proofs-gone", "there are no proofs", lambda c: c.update({"proofs.jsonl": b""}), 1)
        self.changed(
            "earlier-log",
            "an earlier log is another one",
            lambda c: c.update(
                {"consistency.jsonl": c["consistency.jsonl"].replace(b'"root":"', b'"root":"00')}
            ),
            0,
        )

    def checkpoints(self) -> None:
        """What is signed is another log, or signed by another key."""

        def note(change: Callable[[str], str]) -> Callable[[Content], None]:
            return lambda c: c.update({"checkpoint": change(c["checkpoint"].decode()).encode()})

        self.changed(
            "checkpoint-gone",
            "the checkpoint is left out",
            lambda c: (c.pop("checkpoint"), c.pop("heads.json")),
            0,
        )
        self.changed(
            "checkpoint-size",
            "the checkpoint says another size",
            note(lambda t: t.replace("\n11\n", "\n12\n")),
            0,
        )
        self.changed(
            "checkpoint-root", "the checkpoint says another root", note(lambda t: flipped_line(t, 2)), 0
        )
        self.changed(
            "checkpoint-signature", "the signature is another one", note(lambda t: flipped_line(t, 4, 40)), 0
        )
        self.changed(
            "checkpoint-origin",
            "the checkpoint names another log",
            note(lambda t: t.replace(LOG, LOG + "2")),
            0,
        )
        self.changed(
            "checkpoint-more-lines",
            "a line was put into the checkpoint",
            note(lambda t: t.replace("\n\n", "\nmore\n\n")),
            0,
        )
        self.changed(
            "checkpoint-other-base64",
            "the signature is spelt in another way",
            note(lambda t: t[:-2] + "\n"),
            0,
        )
        self.changed("checkpoint-older", "the checkpoint is an earlier one", note(lambda _: self.kept), 0)
        log = self.log.copy()
        log.sign(FOREIGN)
        self.add("foreign-key", "a key signed it that the log does not know", self.export(log), 0)
        log = self.log.copy()
        log.announce(SECOND)
        log.sign(FIRST, SECOND)
        log.retire(FIRST, log.head().size)
        log.sign(FIRST)
        self.add("key-retired", "a key signed it that was retired before", self.export(log), 0)
        log = self.log.copy()
        log.announce(SECOND, from_size=99)
        log.sign(SECOND)
        self.add("key-not-yet", "a key signed it that may not sign yet", self.export(log), 0)
        log = Written(LOG)
        log.announce(FIRST, OTHER_ROOT)
        log.note("something")
        log.sign(FIRST)
        self.add(
            "other-root",
            "another root key has certified the log's key",
            self.export(log),
            0,
            root=ROOT.verifying().vkey,
        )
        log = Written(LOG)
        log.announce(FIRST)
        log.note("something")
        log.sign(FIRST)
        self.add(
            "not-certified",
            "no root key has certified the log's key",
            self.export(log),
            0,
            root=ROOT.verifying().vkey,
        )
        path = self.export(self.signed())
        self.add(
            "other-key-trusted",
            "the log's key is not the one that is trusted",
            path,
            0,
            key=[SECOND.verifying().vkey],
        )
        self.add(
            "not-witnessed", "the witness has not signed it", path, 0, witness=[WITNESS.verifying().vkey]
        )
        log = self.log.copy()
        log.sign(FIRST, witnesses=[WITNESS])
        self.changed_log(
            "witness-forged",
            "the witness's signature is another one",
            log,
            note(lambda t: flipped_line(t, 5, 60)),
            0,
            witness=[WITNESS.verifying().vkey],
        )
        fork = Written(LOG)
        fork.announce(FIRST, ROOT)
        for number in range(4):
            fork.note(f"another history {number}")
        self.add(
            "forked",
            "a checkpoint that was kept elsewhere is of another history",
            path,
            0,
            checkpoint=fork.sign(FIRST),
        )

    def changed_log(
        self,
        name: str,
        about: str,
        log: Written,
        change: Callable[[Content], object],
        *flaws: int,
        **options: Any,
    ) -> None:
        path = self.export(log)
        after = members(path)
        manifest = json.loads(after.pop("manifest.json"))
        change(after)
        self.add(name, about, rewritten(path, self.place, after, manifest=manifest), *flaws, **options)

    def keys(self) -> None:
        """What is said about the log, its keys and its incidents' ends is another thing."""

        def other(member: str, old: bytes, new: bytes) -> Callable[[Content], None]:
            def edit(content: Content) -> None:
                assert old in content[member], (member, old)
                content[member] = content[member].replace(old, new, 1)

            return edit

        self.changed(
            "keys-other",
            "keys.json gives the key another range",
            other("keys.json", b'"from_size":2', b'"from_size":1'),
            0,
        )
        self.changed(
            "key-entry-edited",
            "the entry about the key names another size",
            other("log.jsonl", b'"from_size":2', b'"from_size":1'),
            2,
        )

        def without_key(content: Content) -> None:
            found, proofs = (
                content["log.jsonl"].splitlines(keepends=True),
                content["proofs.jsonl"].splitlines(keepends=True),
            )
            content["log.jsonl"] = found[0] + found[2]
            content["proofs.jsonl"] = b"".join([*proofs[:5], proofs[6]])

        self.changed("key-entry-gone", "the entry about the key is left out", without_key, 0)

        def without_heads(content: Content) -> None:
            content["log.jsonl"] = b"".join(content["log.jsonl"].splitlines(keepends=True)[:2])
            content["proofs.jsonl"] = b"".join(content["proofs.jsonl"].splitlines(keepends=True)[:6])
            content["manifest"] = edited(content["manifest"], made_at="2026-11-22T03:00:09.000000Z")

        self.changed(
            "heads-entry-gone", "the entry with the incidents' ends is left out", without_heads, 0, 11
        )
        self.changed(
            "heads-other-end",
            "heads.json says that the incident went on",
            other("heads.json", b'"iseq":4', b'"iseq":5'),
            0,
        )
        self.changed(
            "heads-other-proof",
            "the proof of the end is another one",
            lambda c: c.update({"heads.json": edited(c["heads.json"], proof=["ab" * 32])}),
            0,
        )
        theirs = members(self.export(self.signed(), "INC-2"))["heads.json"]
        self.changed(
            "heads-of-another",
            "the proof is for another incident's end",
            lambda c: c.update({"heads.json": theirs}),
            0,
        )
        lying = self.log.copy()
        lying.add(LogHeads(incidents=2, root="ab" * 32))
        lying.sign(FIRST, heads=False)
        self.add(
            "whole-heads-wrong",
            "the log lies about its incidents' ends",
            self.export(lying, None),
            lying.head().size,
        )

    def contents(self) -> None:
        """What entries commit to is another thing."""

        def blob(change: Callable[[Content, str], object]) -> Callable[[Content], None]:
            def edit(content: Content) -> None:
                commit = json.loads(content["entries.jsonl"].splitlines()[1])["blobs"][0]["commit"]
                change(content, f"blobs/{commit}")

            return edit

        def planted(content: Content) -> None:
            content["blobs/" + "ab" * 32] = bytes(40)
            content["manifest"] = edited(content["manifest"], blobs=6)

        self.changed(
            "blob-other",
            "the content of a blob is another one",
            blob(lambda c, n: c.update({n: c[n][:-1] + b"!"})),
            4,
        )
        self.changed(
            "blob-salt",
            "the salt of a blob is another one",
            blob(lambda c, n: c.update({n: b"!" + c[n][1:]})),
            4,
        )
        self.changed(
            "blob-longer", "a blob has a byte more", blob(lambda c, n: c.update({n: c[n] + b"!"})), 4
        )
        self.changed("blob-gone", "a blob is left out", blob(lambda c, n: c.pop(n)), 4)
        self.changed("blob-planted", "a blob is there of which no entry speaks", planted, 0)
        self.changed(
            "classes-other",
            "the manifest says that texts were left out, and they are there",
            lambda c: c.update({"manifest": edited(c["manifest"], classes=["plan"])}),
            4,
        )
        self.changed(
            "runbook-other",
            "a runbook is another one",
            lambda c: [c.update({n: b"x"}) for n in c if n.startswith("runbooks/")],
            0,
        )
        for name, about, erase in (
            ("erased-by-one", "one person alone erased a blob", lambda log: log.erase(4, "text", by=PERSON)),
            (
                "erased-unasked",
                "a blob was erased, and nobody had asked for it",
                lambda log: log.erase(4, "text", asked=False),
            ),
            (
                "erased-not-really",
                "a blob was erased, and is there",
                lambda log: log.erase(4, "text", really=False),
            ),
        ):
            log = self.log.copy()
            seq: int = erase(log)
            log.sign(FIRST)
            self.add(name, about, self.export(log), 4, *([] if "really" in name else [seq]))

    def files(self) -> None:
        """The file is another one."""
        path = self.export(self.signed())
        data, content = path.read_bytes(), members(path)
        said = json.loads(content["manifest.json"])

        def raw(name: str, about: str, image: bytes) -> None:
            other = self.place / "raw.mimlog"
            other.write_bytes(image)
            self.add(name, about, other, 0)

        raw("file-cut-off", "the file ends in the middle", data[: len(data) // 2])
        raw("file-longer", "there is more behind the end of the file", data + b"\n")
        raw("file-other-date", "a member has another date", data.replace(b"\x21\x00", b"\x22\x00", 1))
        raw(
            "file-other-checksum",
            "the checksum before a member is another one",
            data[:14] + b"\0" + data[15:],
        )
        self.add(
            "member-strange",
            "a member was put in",
            rezipped(self.place / "x", {**content, "runbooks/evil.yaml": b"x"}),
            0,
        )
        self.add(
            "member-gone",
            "README.txt is left out",
            rezipped(self.place / "x", {n: d for n, d in content.items() if n != "README.txt"}),
            0,
        )
        self.add(
            "readme-other",
            "README.txt is another one",
            rezipped(self.place / "x", {**content, "README.txt": b"trust me"}),
            0,
        )
        for name, about, changes in (
            ("manifest-size", "the manifest says another size", {"size": 12}),
            ("manifest-root", "the manifest says another root", {"root": "ab" * 32}),
            ("manifest-entries", "the manifest says more entries", {"entries": 5}),
            ("manifest-incident", "the manifest says another incident", {"inc": "INC-2"}),
            (
                "manifest-moment",
                "the manifest says another moment",
                {"made_at": "2026-11-22T03:00:12.000000Z"},
            ),
            ("manifest-format", "the manifest says another format", {"bundle": "mimlog-bundle/3"}),
            ("manifest-more", "the manifest has a key more", {"more": 1}),
        ):
            flaws = {"manifest-root": [1], "manifest-incident": [3], "manifest-size": [11]}.get(name, [0])
            self.add(name, about, rewritten(path, self.place, {}, manifest={**said, **changes}), *flaws)
        spaced = json.dumps(said).encode()
        self.add(
            "manifest-spaced",
            "the manifest is not in canonical form",
            rezipped(self.place / "x", {**content, "manifest.json": spaced}),
            0,
        )

    def whole(self) -> None:
        """What a forger does to the whole log."""
        log = self.signed()
        path = self.export(log, None)
        content = members(path)
        said = json.loads(content.pop("manifest.json"))
        found = content["entries.jsonl"].splitlines(keepends=True)

        def other(name: str, about: str, entries: list[bytes], *flaws: int, **changes: Any) -> None:
            new = rewritten(
                path, self.place, {"entries.jsonl": b"".join(entries)}, manifest={**said, **changes}
            )
            self.add(name, about, new, *flaws)

        other(
            "whole-edited",
            "an entry names another person",
            [*found[:4], found[4].replace(b"u:7", b"u:8"), *found[5:]],
            5,
        )
        other(
            "whole-last-edited",
            "the last entry was recorded later",
            [*found[:-1], found[-1].replace(b"03:00:11", b"03:00:12")],
            11,
        )
        other("whole-left-out", "an entry is left out", [*found[:4], *found[5:]], 5)
        other("whole-cut-off", "the last entry is left out", found[:-1], 11, 0)
        other(
            "whole-swapped",
            "two entries have changed places",
            [*found[:4], found[5], found[4], *found[6:]],
            5,
            6,
        )
        anew = Written(LOG)
        anew.announce(FIRST, ROOT)
        for number in range(8):
            anew.note(f"another history {number}")
        lines_anew = [row.data + b"\n" for row in anew.rows_]
        other(
            "whole-written-anew",
            "all entries are others, and fit to each other",
            [*lines_anew, found[-1]],
            1,
            3,
            10,
            11,
            0,
        )
        older = content["checkpoints.jsonl"]
        for name, about, note in (
            ("whole-older-forged", "an older checkpoint has another root", flipped_line(self.kept, 2)),
            (
                "whole-older-other-size",
                "an older checkpoint is of another size",
                self.kept.replace("\n7\n", "\n6\n"),
            ),
        ):
            line = canonical.encode({"note": note, "size": 7}) + b"\n"
            assert line != older
            self.add(name, about, rewritten(path, self.place, {"checkpoints.jsonl": line}, manifest=said), 0)
        longer = self.signed()
        longer.note("later")
        self.add(
            "whole-cut-below-a-note",
            "a checkpoint that was kept elsewhere is of a longer log",
            path,
            12,
            13,
            checkpoint=longer.sign(FIRST),
        )


def cases() -> Iterator[Case]:
    """Every case."""
    with tempfile.TemporaryDirectory() as place:
        made = Forgeries(Path(place))
        for step in (
            made.good,
            made.entries,
            made.places,
            made.proofs,
            made.checkpoints,
            made.keys,
            made.contents,
            made.files,
            made.whole,
        ):
            step()
    yield from made.found


def write(folder: Path) -> None:
    """Write all files."""
    listed = []
    for case in cases():
        path = folder / case.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.data)
        listed.append(case.as_json())
    text = json.dumps({"log": LOG, "cases": listed}, indent=1, ensure_ascii=False)
    (folder / "index.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else CASES)
