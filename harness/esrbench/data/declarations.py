"""The declared data sets: where they come from, what they hold and how they are read.

One row a data set; adding one is adding a row. No images ship with esrbench. Where a hash of
the distributed file is known it is checked; every image that is fetched alone is checked by
its pixels too.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import Field

from esrbench.errors import UsageError
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

    scale: int | None
    url: str
    filename: str
    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256
    folder: str

    def member(self, image: str) -> str:
        """Name inside the archive of one image."""
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
    """One photograph that an installed distribution ships.

    Attributes:
        image: name in the data set.
        package: import package that holds it.
        path: file inside the package.
        pixels: ``esrbench.data.codecs.pixel_digest`` of the decoded image.
    """

    image: str
    package: str
    path: str
    pixels: Sha256


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
        multiple: HR images are cropped likewise to multiples of this before anything is made
            of them.
        lr_border: border rule of the bicubic that makes LR images, or None where LR images are
            always the publisher's.
        archives: zip files it is fetched from; what they hold is used as it is.
        remote_images: single files it is fetched from.
        packaged_images: files that are already installed.
        digests: ``DataIdentity.digest`` at each scale; archives prove theirs by their own hash.
        origin: publisher, for messages.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    scales: tuple[int, ...]
    count: Annotated[int, Field(gt=0)]
    images: tuple[str, ...] = ()
    grey: tuple[str, ...] = ()
    modcrop: bool = False
    multiple: Annotated[int, Field(gt=0)] = 1
    lr_border: Literal["mirror", "replicate"] | None = None
    archives: tuple[Archive, ...] = ()
    remote_images: tuple[RemoteImage, ...] = ()
    packaged_images: tuple[PackagedImage, ...] = ()
    digests: dict[int, Sha256] = {}
    origin: str

    @property
    def fetchable(self) -> bool:
        """Whether it can be fetched; otherwise the user brings the images."""
        return bool(self.archives or self.remote_images or self.packaged_images)


_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
_IMDN = (
    "https://raw.githubusercontent.com/Zheng222/IMDN/"
    "8f158e6a5ac9db6e5857d9159fd4a6c4214da574/Test_Datasets/Set5/"
)
_SELFEXSR = (
    "https://raw.githubusercontent.com/jbhuang0604/SelfExSR/"
    "8f6dd8c1d20cb7e8792a7177b4f6fd677633f598/data/Set14/image_SRF_2/"
)

# scale, bytes and SHA-256 of DIV2K_valid_*.zip
_DIV2K_VALID = (
    (None, 448_993_893, "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc"),
    (2, 117_763_600, "60eed9875c697df51204aa579e2a699e1d5215095788a097ff54dd17e2664d57"),
    (3, 54_513_392, "04b9a2ed3b4a0715d3924d3ae8514830c3328fac8d30512ce716d6f419e052a3"),
    (4, 31_505_881, "a50a5d1c4b88de4e8d300d8fb2b904c52fe93b2b298a4899697760d7cbb6d553"),
)

# name and pixel digest; files are BMP, whose own hash is not published
_SET5 = (
    ("baby", "785c925a82c9642ed858b8e718caea40504f9eb1cdfe9e846ded2661d7991308"),
    ("bird", "aeadcae5ca04e97bede0985474f082cc187ac86d320700089e42137386ad004c"),
    ("butterfly", "5bcfbaa1c64ecf31f9a3d04f46b5ba0de8a41d0bba8d34ab208aeca809808bbd"),
    ("head", "39f310b25eb06de3b7ef763e7dacd2af3fa8789bcebbf6bf94a7e01173b4981b"),
    ("woman", "09b5bf1d3192853e0c08782b25ece31296b9215f7a63ff2774aba3c0ce408ded"),
)

# name, bytes, SHA-256 of the file and pixel digest, in the order of the origin's numbering
_SET14 = (
    (
        "baboon",
        531_037,
        "d60c263b88e82f70dccb0112c8e1e5f66ca8be6581d88ceabb353fe4c88feada",
        "d9b8035f5a23e10ca6c758518ac176df36f058caac1f557e06f1d2d9aea93caa",
    ),
    (
        "barbara",
        821_015,
        "282a29a2d82defbda925c01875b765c4c5c33f85f2f5655400a771eb7241d247",
        "9dc350e5b89da9c1f3ae755fb5cf1142641f66fadc56800362c417e081ed4b3f",
    ),
    (
        "bridge",
        162_038,
        "ecf4c67660202decfbabf5898ef56a2cd1a88393d48dfc9208d4467ac9a76713",
        "740c9cab78e8432c8418b6d7372ef689aa92798df8024e8e465b02ceb8e49287",
    ),
    (
        "coastguard",
        154_469,
        "04ae5ef38fc38ec1db20df2842c07226d7684da312fd3bd4cd0bd0401d9f62b0",
        "e411b7f07b8ab2f29e88c2f412906344bb358ebe06a7179f8b2ce9625d86ceeb",
    ),
    (
        "comic",
        192_368,
        "ca96cdc294c81b1810dab4ba73c3675049cfd127d090a4719ff21f6a9d96b4bd",
        "d09ceac84603a5d46f9878ac8dcae0cf778d9c5c6de35d68054dc693a59961db",
    ),
    (
        "face",
        110_826,
        "bd3710be9a2d9efdfa254ac2282dd7eaec0079d7bcd43fcb256517afebbfee58",
        "ad50362cffcb203118b666578e14cdd9a941606d8437e7b07c510ee0dbb3fff4",
    ),
    (
        "flowers",
        348_592,
        "d72e12d6eb8144ad2420fe91af19bcb51256ac17b8221fa1c8f89f2a3d6b50c0",
        "573c22e01025813a4845fa19fa2668dd37c065f920da85cce34fd242568ad76f",
    ),
    (
        "foreman",
        130_720,
        "c49e96409094b390704ec1eeab85a0f1c7660249ca8826ffe468c046758e3ab9",
        "9a6056bfae312f27cb5cc36ee1bebfde9261d0a35c27d04cfdec2b862109ee4a",
    ),
    (
        "lenna",
        374_782,
        "469af940770cb99f92abc82a597388fe07b5eaf7a557c9e20c0094efc2870e01",
        "24158dd435f827924710d18dd28a42b73962c566bab643f12b3033fb2734f69f",
    ),
    (
        "man",
        318_631,
        "e62db478accc42370e463ac95f93e691debe751196f5927494cce1bae22df754",
        "b3ce223c73aa3196f333e8de7342a5f64d9f6d39fe751f04d2639d2183b35e1a",
    ),
    (
        "monarch",
        618_686,
        "44509e5c39eb0a0af5b0cf887ee53194a1f6830d125cff763275e13544ed4614",
        "a49fcedc9076ac3b63e863a05f6c4ee2543bae2f04b41a5aff8f973889e8efa2",
    ),
    (
        "pepper",
        507_582,
        "f727b04ddea2c2ae07784ee9e9dd9db5c6035121d93de933eac3a9a8ad33a0a7",
        "9e03ee763207d8b60bdf5f4101a98aecf063c33821b57b2ba043894d09071432",
    ),
    (
        "ppt3",
        269_141,
        "2743edf18619b152bcff0da9383110b4257531a096369a8dcf7e879e43c1e03e",
        "b55133aa966a6a2e4cd458dc851f46181f34e6629caec2f5fa3f7adbdacbf6dc",
    ),
    (
        "zebra",
        441_802,
        "6795235d3a79bbb80f951b199752d2e64882f649c86efe3d94695020f425c11d",
        "931d5cdfbcca9326c2fafba3c56ff099e8320e4fe5abcd077bb48c2ac10e3c63",
    ),
)

# name and pixel digest of PNG files in scikit-image's data folder
_DEMO = (
    ("astronaut", "c01d6152e34c0b9d5f495497fcde61637eb978d68a4160935d69c095ffe33372"),
    ("chelsea", "def2d3d8e755b4d0e8037cf47cdbe95a0ca46e2f26a3f47e489c91db023a499d"),
    ("coffee", "08f2b7c24b6f726872ae9e50e553135a01c03032bed542b4aa765d8ee565794d"),
    ("motorcycle_left", "f65705c9db23f31dc9a04769ed7cc5aabf1d2263df9d6500361baecd75814a63"),
)


def _div2k_archive(scale: int | None, size: int, sha256: str) -> Archive:
    filename = "DIV2K_valid_HR.zip" if scale is None else f"DIV2K_valid_LR_bicubic_X{scale}.zip"
    folder = "DIV2K_valid_HR" if scale is None else f"DIV2K_valid_LR_bicubic/X{scale}"
    return Archive(
        scale=scale,
        url=_DIV2K + filename,
        filename=filename,
        bytes=size,
        sha256=sha256,
        folder=folder,
    )


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="div2k-valid",
            title="DIV2K validation",
            scales=(2, 3, 4),
            count=100,
            images=tuple(f"{number:04d}" for number in range(801, 901)),
            archives=tuple(_div2k_archive(*row) for row in _DIV2K_VALID),
            origin="https://data.vision.ee.ethz.ch/cvl/DIV2K/ (academic use only)",
        ),
        Dataset(
            name="set5",
            title="Set5",
            scales=(2, 3, 4),
            count=5,
            modcrop=True,
            lr_border="replicate",
            remote_images=tuple(
                RemoteImage(
                    image=image,
                    url=f"{_IMDN}{image}.bmp",
                    filename=f"set5/{image}.bmp",
                    pixels=pixels,
                )
                for image, pixels in _SET5
            ),
            digests={
                2: "314d9e9f3a0ba6be91bf049042700e8415d0226602c82ed3f302324ecfed52eb",
                3: "ae1d818b8b01cd6b6d08e5a4815eb813877e0d495cc86ae9dfd0f18b4d6ca9ed",
                4: "2e5188091eb1d04ad02504bec301e94942da07a5034e75b28623d5205149debc",
            },
            origin="Bevilacqua et al., 2012, through github.com/Zheng222/IMDN",
        ),
        Dataset(
            name="set14",
            title="Set14",
            scales=(2, 3, 4),
            count=14,
            grey=("bridge", "img_003_SRF_2_HR", "img_003_SRF_3_HR", "img_003_SRF_4_HR"),
            modcrop=True,
            lr_border="replicate",
            remote_images=tuple(
                RemoteImage(
                    image=image,
                    url=f"{_SELFEXSR}img_{number:03d}_SRF_2_HR.png",
                    filename=f"set14/{image}.png",
                    bytes=size,
                    sha256=sha256,
                    pixels=pixels,
                )
                for number, (image, size, sha256, pixels) in enumerate(_SET14, start=1)
            ),
            digests={
                2: "5e5e0968c6188784128f99e8ac3735e006421e483291fbb7330bf69a531309d4",
                3: "44cc06d7e8c05202cb5321c22cf575e32d3ed88397ca234f5d49a26ae746da25",
                4: "7b22f165f6a873005f70ea4889b97e29048e384a96586ce0f164e239a4488787",
            },
            origin="Zeyde et al., 2010, through github.com/jbhuang0604/SelfExSR",
        ),
        Dataset(
            name="bsd100",
            title="BSD100",
            scales=(2, 3, 4),
            count=100,
            modcrop=True,
            lr_border="replicate",
            origin="Martin et al., ICCV 2001",
        ),
        Dataset(
            name="urban100",
            title="Urban100",
            scales=(2, 3, 4),
            count=100,
            modcrop=True,
            lr_border="replicate",
            origin="Huang et al., CVPR 2015",
        ),
        Dataset(
            name="manga109",
            title="Manga109",
            scales=(2, 3, 4),
            count=109,
            modcrop=True,
            lr_border="mirror",
            origin="Matsui et al., MTAP 2017",
        ),
        Dataset(
            name="demo",
            title="demo (4 scikit-image photographs)",
            scales=(2, 3, 4),
            count=4,
            multiple=12,
            lr_border="mirror",
            packaged_images=tuple(
                PackagedImage(
                    image=image, package="skimage", path=f"data/{image}.png", pixels=pixels
                )
                for image, pixels in _DEMO
            ),
            digests={
                2: "e9b724af8409e86ff194dd9f86d6d048392c9aad1c16d13d111f7d46aa0b34da",
                3: "f379bb615d95a66da6945d7acfbdacaf031d07653028af171cd118569d16ca01",
                4: "1e9ea6340662ef111b15da580275bf3c799edfb417c3bc0f46aa76b3f15d0b5f",
            },
            origin="the installed scikit-image distribution",
        ),
    )
}
"""Every declared data set by name."""


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
        near = difflib.get_close_matches(name.lower(), DATASETS, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        message = f"no data set is declared as {name!r} and no such folder exists"
        advice = f"{hint}Known: {', '.join(DATASETS)}; or give a folder, or NAME=FOLDER."
        raise UsageError(message, advice=advice) from None
