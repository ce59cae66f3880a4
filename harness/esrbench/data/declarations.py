"""The declared data sets: where they come from, what they hold and how they are read.

They stand in ``datasets.toml``, one table for each data set; to add one, add a table. A downloaded
file is checked against its hash if that is known. An image that is fetched alone is also checked
by its pixels.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field

from esrbench.errors import UsageError, did_you_mean
from esrbench.protocol import Frozen
from esrbench.records import Sha256  # noqa: TC001 - pydantic reads it at runtime


class Archive(Frozen):
    """A published zip file with the HR images or the LR images of one scale.

    Attributes:
        scale: scale of its LR images, or None for HR.
        url: official address.
        filename: name in the cache and in mirrors.
        bytes: exact size.
        sha256: hash of the file.
        folder: folder inside the archive that holds ``<image>.png`` or ``<image>x<scale>.png``.
    """

    scale: int | None = None
    url: str
    filename: str
    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256
    folder: str

    def member(self, image: str) -> str:
        """Name of an image's file inside the archive."""
        suffix = "" if self.scale is None else f"x{self.scale}"
        return f"{self.folder}/{image}{suffix}.png"


class RemoteImage(Frozen):
    """One HR image with an address of its own.

    Attributes:
        image: name in the data set.
        url: official address.
        filename: name in the cache and in mirrors.
        bytes: exact size, or None if unknown.
        sha256: hash of the file, or None if only its pixels are known.
        pixels: ``esrbench.data.codecs.pixel_digest`` of the decoded image.
    """

    image: str
    url: str
    filename: str
    bytes: Annotated[int, Field(gt=0)] | None = None
    sha256: Sha256 | None = None
    pixels: Sha256


class PackagedImage(Frozen):
    """Part of a photograph that an installed distribution ships.

    Attributes:
        image: name in the data set.
        package: import package that holds it.
        path: file inside the package.
        pixels: ``esrbench.data.codecs.pixel_digest`` of the whole decoded photograph.
        rows: first row of the part that is the HR image, and the row after its last.
        columns: likewise its columns.
    """

    image: str
    package: str
    path: str
    pixels: Sha256
    rows: tuple[Annotated[int, Field(ge=0)], int]
    columns: tuple[Annotated[int, Field(ge=0)], int]


class Dataset(Frozen):
    """A data set known by name.

    Attributes:
        name: identifier on the command line.
        title: name in tables.
        scales: scales it is defined for.
        count: number of images.
        images: names of the images, where the publisher's names are the only ones in use.
        grey: images that may be one-channel; they are repeated in three channels.
        modcrop: HR images are cropped at the bottom and right to multiples of the scale.
        lr_border: border rule of the bicubic that makes LR images, or None if LR images always
            come from the publisher.
        archives: zip files it is fetched from; what they hold is used as it is.
        remote_images: single files it is fetched from.
        packaged_images: files that are already installed.
        digests: ``DataIdentity.digest`` at each scale; archives prove theirs by their own hash.
        folder: name of the publisher's folders: HR images lie in ``<folder>_HR``, LR images in
            ``<folder>_LR``; None for other layouts.
        hidden: names and scores of its images are never published.
        origin: publisher, for messages.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    scales: tuple[int, ...]
    count: Annotated[int, Field(gt=0)]
    images: tuple[str, ...] = ()
    grey: tuple[str, ...] = ()
    modcrop: bool = False
    lr_border: Literal["mirror", "replicate"] | None = None
    archives: tuple[Archive, ...] = ()
    remote_images: tuple[RemoteImage, ...] = ()
    packaged_images: tuple[PackagedImage, ...] = ()
    digests: dict[int, Sha256] = {}
    folder: str | None = None
    hidden: bool = False
    origin: str

    @property
    def fetchable(self) -> bool:
        """Whether it can be fetched; otherwise the user brings the images."""
        return bool(self.archives or self.remote_images or self.packaged_images)


def read_datasets(toml: str) -> dict[str, Dataset]:
    """Read data sets, by name, from a text with one table for each.

    Raises:
        ValueError: the text is not TOML, or has an unknown key or a value out of range.
    """
    tables = tomllib.loads(toml)
    return {name: Dataset(name=name, **fields) for name, fields in tables.items()}


DATASETS = read_datasets((resources.files(__package__) / "datasets.toml").read_text("utf-8"))
"""Every declared data set by name, in the order of listings."""


def dataset_names() -> tuple[str, ...]:
    """Names of the declared data sets, in order of declaration."""
    return tuple(DATASETS)


def get_dataset(name: str) -> Dataset:
    """Declaration of a data set.

    Raises:
        UsageError: unknown name; the advice suggests near ones and lists what is known.
    """
    try:
        return DATASETS[name]
    except KeyError:
        hint = did_you_mean(name, DATASETS)
        message = f"no data set is declared as {name!r} and no such folder exists"
        advice = f"{hint}Known: {', '.join(DATASETS)}; or give a folder, or NAME=FOLDER."
        raise UsageError(message, advice=advice) from None
