"""Takes pictures of the console, which the browser tests made, into the documentation: small, and on purpose.

    deploy/docs/pictures.py            after `pytest tests/browser/test_story.py`

A picture is cut to a window's height and written as WebP by Chromium itself, so that nothing else is needed.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
MADE, TAKEN = ROOT / "screenshots" / "story" / "window", ROOT / "docs" / "images"
PICTURES = {
    "now": "01-proposed-light",
    "gate": "04-gate-phone",
    "run": "05-run-by-hand-light",
    "manual": "06-manual-dark",
    "incident": "08-incident-light",
    "replay": "09-replay-light",
    "review": "10-review-light",
}
"""The name in the documentation → that of the picture that the story made."""
QUALITY = 0.6
SHRINK = """async ([source, quality]) => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", quality);
}"""


def main() -> int:
    """Take them; gives an exit status."""
    missing = [name for name in PICTURES.values() if not (MADE / f"{name}.png").exists()]
    chromium = shutil.which("chromium")
    if missing or chromium is None:
        why = f"not made yet: {', '.join(missing)}; run `make pictures`" if missing else "no chromium here"
        sys.stderr.write(f"{why}\n")
        return 1
    TAKEN.mkdir(exist_ok=True)
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=args)
        page = browser.new_page()
        for name, made in PICTURES.items():
            data = base64.b64encode((MADE / f"{made}.png").read_bytes()).decode()
            shrunk: str = page.evaluate(SHRINK, [f"data:image/png;base64,{data}", QUALITY])
            taken = TAKEN / f"{name}.webp"
            taken.write_bytes(base64.b64decode(shrunk.partition(",")[2]))
            sys.stdout.write(f"{taken.relative_to(ROOT)}: {taken.stat().st_size // 1000} kB\n")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
