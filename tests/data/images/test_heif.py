"""AVIF and HEIC: their pictures, and what is read of a file before its decoder."""

import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.faults import pictures
from tests.faults.pictures import HVCC, av1_of, avif, boxed, heif, hevc_of
from tests.prepared import environment

from alexnet.data.images.decode import UPRIGHT, decode, upright_rgb
from alexnet.data.images.heif import claims
from alexnet.data.images.limits import UnreadablePicture
from alexnet.inference.pictures import read_picture

KINDS = ["AVIF", "HEIC"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "HEIC":
        pytest.importorskip("pillow_heif")
    return str(request.param)


def colour(image: Image.Image, x: int, y: int) -> list[int]:
    return [int(value) for value in np.asarray(image)[y, x]]


def drawn(mode: str = "RGB", size: tuple[int, int] = (80, 61)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)


def packed(kind: str, image: Image.Image, **options: Any) -> bytes:
    return avif(image, quality=95, **options) if kind == "AVIF" else pictures.heic(image, **options)


def refused(data: bytes) -> str:
    with pytest.raises(UnreadablePicture) as caught:
        decode(data)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(("mode", "reasons"), [("RGB", []), ("L", ["grayscale"])])
def test_a_picture_is_the_one_that_was_packed(kind: str, mode: str, reasons: list[str]) -> None:
    image, told = decode(packed(kind, drawn(mode)))
    assert (image.mode, image.size, told) == ("RGB", (80, 61), reasons)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(drawn(mode).convert("RGB"))).mean() < 6


def test_transparent_pixels_become_white(kind: str) -> None:
    see_through = Image.new("RGBA", (64, 64), (200, 0, 0, 255))
    see_through.paste((0, 0, 0, 0), (0, 0, 32, 64))
    image, reasons = decode(packed(kind, see_through))
    assert reasons == ["alpha"]
    assert min(colour(image, 4, 30)) > 245
    assert np.abs(np.asarray(image)[30, 60].astype(int) - (200, 0, 0)).max() < 12


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_is_turned_upright_once_and_so_is_one_that_the_user_opened(kind: str, orientation: int) -> None:
    """HEIC is turned by its decoder and AVIF is not: libheif obeys the file's own boxes, libavif leaves them."""
    exif, stored = Image.Exif(), drawn()
    exif[0x0112] = orientation
    if kind == "HEIC":
        pillow_heif = pytest.importorskip("pillow_heif")
        out = io.BytesIO()
        pillow_heif.from_pillow(stored).save(out, quality=90, exif=exif.tobytes())
        data, opened = out.getvalue(), pillow_heif.HeifImageFile(io.BytesIO(out.getvalue()))
    else:
        data = avif(stored, quality=95, exif=exif)
        opened = Image.open(io.BytesIO(data))
    image, reasons = decode(data)
    assert reasons == ["rotated"]
    upright = stored.transpose(UPRIGHT[orientation])
    assert image.size == upright.size
    assert np.abs(np.asarray(image).astype(int) - np.asarray(upright)).mean() < 6
    np.testing.assert_array_equal(np.asarray(upright_rgb(opened)), np.asarray(image))


def test_an_animation_gives_its_first_picture() -> None:
    first, second = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (64, 48), "blue")
    image, reasons = decode(avif(first, save_all=True, append_images=[second]))
    assert (image.size, reasons) == ((64, 48), ["animated"])
    red, _, blue = colour(image, 9, 9)
    assert red > 240 > 20 > blue


@pytest.mark.parametrize("depth", [10, 12])
def test_deep_samples_are_scaled_and_the_depth_is_said(depth: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    samples, out = np.full((64, 64, 3), (65535, 32768, 257), np.uint16), io.BytesIO()
    made = pillow_heif.from_bytes("RGB;16", (64, 64), samples.tobytes())
    before = pillow_heif.options.SAVE_HDR_TO_12_BIT
    try:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = depth == 12
        made.save(out, quality=-1, chroma=444)
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = before
    image, reasons = decode(out.getvalue())
    assert reasons == [f"{depth}-bit"]
    assert np.abs(np.asarray(image)[9, 9].astype(int) - (255, 128, 1)).max() <= 3


def test_a_file_cut_anywhere_is_refused(kind: str) -> None:
    whole = packed(kind, drawn())
    for length in range(40, len(whole) - 1, max(1, len(whole) // 40)):
        assert refused(whole[:length]).startswith("damaged: ")


@pytest.mark.parametrize("name", KINDS)
def test_the_largest_size_counts_wherever_it_is_claimed(name: str) -> None:
    how: dict[str, Any] = {} if name == "AVIF" else {"brand": b"heic", "more": HVCC}
    item = b"av01" if name == "AVIF" else b"hvc1"
    grid = (b"grid", b"\0\0\0\0" + struct.pack(">HH", 900, 50))
    cell = struct.pack(">L4sHHH", 14, b"dimg", 1, 1, 2)

    def coded(width: int, height: int) -> bytes:
        return av1_of(width, height) if name == "AVIF" else hevc_of(width, height)

    def found(items: list[tuple[bytes, bytes]], **options: Any) -> Any:
        return claims(heif(items, **how, **options), name)

    assert (found([(item, coded(8, 8))]).pixels, found([(item, coded(8, 8))]).depth) == (64, 8)
    assert found([(item, coded(700, 3))]).pixels == 2100
    assert found([(item, coded(8, 8))], sizes=[(8, 8), (31, 70)]).pixels == 2170
    assert found([(item, coded(8, 8)), (item, coded(50, 60))]).pixels == 3000
    assert found([grid, (item, coded(20, 20))], links=cell).pixels == 45_000 + 4 * 400


@pytest.mark.parametrize(("profile", "deep", "depth", "full"), [(0, 0, 8, False), (0, 1, 10, False), (1, 1, 10, True)])
def test_depth_and_colours_are_read_from_an_av1_header(profile: int, deep: int, depth: int, full: bool) -> None:
    found = claims(heif([(b"av01", av1_of(8, 8, profile, deep))]), "AVIF")
    assert (found.depth, found.full) == (depth, full)


def test_the_depth_is_read_from_an_hevc_header() -> None:
    assert claims(heif([(b"hvc1", hevc_of(8, 8, 12))], brand=b"heic", more=HVCC), "HEIC").depth == 12


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (heif([(b"jpeg", b"x" * 9)]), "whose picture is jpeg"),
        (heif([(b"\0\1\2\3", b"x" * 9)]), "whose picture is an unknown type"),
        (heif([(b"grid", bytes(8))], links=struct.pack(">L4sHHH", 14, b"dimg", 1, 1, 1)), "made of other pictures"),
        (heif([(b"av01", av1_of(8, 8))], primary=7), "no primary picture"),
        (heif([(b"av01", b"\x12\0")]), "no coded picture"),
        (heif([(b"av01", b"\x0a\x7f")]), "cut short"),
        (heif([(b"av01", b"\x32\0" * 9 + av1_of(8, 8))]), "too many parts"),
        (heif([(b"av01", av1_of(8, 8))] * 1001), "more than 1000 items"),
        (heif([(b"av01", av1_of(8, 8))]) + boxed("free") * 10_000, "more than 10000 boxes"),
        (heif([(b"av01", av1_of(8, 8))])[:-1], "a box is cut short"),
        (heif([(b"av01", av1_of(8, 8))]) + b"\0\0\0\4free", "shorter than its name"),
    ],
)
def test_what_the_boxes_contradict_is_refused_before_the_decoder_sees_it(data: bytes, words: str) -> None:
    with pytest.raises(UnreadablePicture, match=words):
        claims(data, "AVIF")
    assert words in refused(data)


def test_predict_reads_them_as_prepare_does(kind: str, tmp_path: Path) -> None:
    (tmp_path / "photograph.jpg").write_bytes(packed(kind, drawn()))
    pixels = read_picture(tmp_path / "photograph.jpg", 32)
    assert isinstance(pixels, np.ndarray)
    np.testing.assert_array_equal(pixels, read_picture(decode(packed(kind, drawn()))[0], 32))


def test_pillow_heif_is_imported_by_the_first_heic_and_changes_nothing_of_pillow() -> None:
    pytest.importorskip("pillow_heif")
    code = """
        import sys, io
        from PIL import Image
        from alexnet.data.images.decode import decode
        from tests.faults.pictures import packed
        decode(packed(Image.new("RGB", (8, 8)), "JPEG"))
        assert "pillow_heif" not in sys.modules
        decode(open(sys.argv[1], "rb").read())
        assert "pillow_heif" in sys.modules
        assert "HEIF" not in Image.OPEN
        """
    own = environment({"PYTHONPATH": ":".join([*sys.path, str(Path(__file__).parents[3])])})
    lines = "\n".join(line.strip() for line in code.strip().splitlines())
    command = [sys.executable, "-c", lines, "/dev/stdin"]
    done = subprocess.run(command, input=pictures.heic(drawn()), env=own, check=False)
    assert done.returncode == 0
