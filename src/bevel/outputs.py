"""Where results may be written: exactly where asked, over nothing that is there already.

`claim` settles every path before any work is done, so that an hour of training does not end in a
refusal.
"""

from __future__ import annotations

import os
from pathlib import Path

from bevel.errors import TargetError, printable


def claim(folder: str | Path, names: tuple[str, ...], *, force: bool = False) -> dict[str, Path]:
    """Create `folder` and return the real path of each file to be written in it.

    Args:
        folder: Where the files go; created with its parents when missing.
        names: The files' names.
        force: Overwrite files that exist.

    Returns:
        Absolute paths with every link resolved, by name.

    Raises:
        TargetError: If a file exists and `force` is False, if a name or a link leads out of the
            folder (`force` or not), or if the folder cannot be made.
    """
    root = os.path.realpath(folder)
    paths = {}
    for name in names:
        path = os.path.realpath(os.path.join(root, name))
        if os.path.commonpath([root, path]) != root or path == root:
            raise TargetError(
                f"`{_shown(folder, name)}` leads out of the folder, to `{printable(path)}`",
                help="remove the link, or choose another folder",
            )
        if os.path.exists(path) and not force:
            raise TargetError(
                f"`{_shown(folder, name)}` exists", help="pass --force to overwrite it"
            )
        if os.path.isdir(path):
            raise TargetError(f"`{_shown(folder, name)}` is a folder; expected a file to write")
        paths[name] = Path(path)
    try:
        os.makedirs(root, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"cannot make the folder `{printable(str(folder))}`: {error.strerror}"
        ) from None
    return paths


def claim_file(path: str | Path, suffixes: tuple[str, ...], *, force: bool = False) -> Path:
    """`claim` for one file, whose name must end in one of `suffixes`.

    Raises:
        TargetError: As `claim`, or if the suffix is another.
    """
    wanted = Path(path)
    if wanted.suffix.lower() not in suffixes:
        raise TargetError(
            f"`{printable(str(path))}` ends in {wanted.suffix or 'nothing'!r}; "
            f"expected {' or '.join(suffixes)}"
        )
    return claim(wanted.parent, (wanted.name,), force=force)[wanted.name]


def _shown(folder: str | Path, name: str) -> str:
    return printable(os.path.join(folder, name))
