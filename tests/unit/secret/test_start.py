"""What only some secrets need is not imported for all of mimrun."""

from __future__ import annotations

import subprocess
import sys


def test_no_library_of_a_store_is_imported_before_a_reference_names_it() -> None:
    code = (
        "import sys, mimrun.secret as s\n"
        "assert s.Masker().mask_text('x') == 'x'\n"
        "print([n for n in ('hvac', 'requests', 'keyring', 're2') if n in sys.modules])\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
