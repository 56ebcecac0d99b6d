"""Write the parts of the documentation that are generated from tables in the code.

`docs/codes.md` comes from `bevel.codes.PAGES`, and the README's list of what Bevel does not relax
from `bevel.vocabulary.NOT_RELAXED`. With `--check` nothing is written, and the exit code says
whether the files are up to date.
"""

import argparse
import sys
from pathlib import Path

from bevel.codes import PAGES, Page
from bevel.vocabulary import NOT_RELAXED

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- begin: made by scripts/make_docs.py from bevel.vocabulary.NOT_RELAXED -->"
END = "<!-- end -->"
CODES_HEAD = """\
# Codes

Every finding of an audit has one of these codes. `bevel explain CODE` prints the same page. A test
audits each example and looks for its code in the report. This file is made by
`scripts/make_docs.py`.
"""


def codes_page() -> str:
    """The text of `docs/codes.md`."""
    contents = "\n".join(
        f"- [{page.code}](#{page.code.lower()}): {page.title}" for page in PAGES.values()
    )
    return "\n".join([CODES_HEAD, contents, *map(_page, PAGES.values())])


def readme(text: str) -> str:
    """The README's text with a fresh list between the markers."""
    before, rest = text.split(BEGIN)
    after = rest.split(END, 1)[1]
    rows = "\n".join(f"- `{name}`: {reason}" for name, reason in sorted(NOT_RELAXED.items()))
    return f"{before}{BEGIN}\n{rows}\n{END}{after}"


def _page(page: Page) -> str:
    meaning, why, instead = (" ".join(s.split()) for s in (page.meaning, page.why, page.instead))
    return (
        f'\n<a id="{page.code.lower()}"></a>\n\n## {page.code}: {page.title}\n\n{meaning}\n\n'
        f"{why}\n\n```python\n{page.example.strip()}\n```\n\n**What to do.** {instead}\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare only")
    check = parser.parse_args().check
    files = {
        ROOT / "docs" / "codes.md": codes_page(),
        ROOT / "README.md": readme((ROOT / "README.md").read_text(encoding="utf-8")),
    }
    stale = [
        file
        for file, text in files.items()
        if not file.exists() or file.read_text(encoding="utf-8") != text
    ]
    for file in stale:
        print(f"{file.relative_to(ROOT)} {'is out of date' if check else 'written'}")
        if not check:
            file.write_text(files[file], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
