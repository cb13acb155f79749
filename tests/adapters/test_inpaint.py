"""Repainting without a model: what changes, what never does, and the commands on the photo that ships."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from samovar import Image, Masks, Prompts
from samovar.errors import InputError, MaskError, UnknownNameError
from samovar.inpainting import Inpainter, MaskedImage
from samovar.testing import InpainterTests
from samovar_adapters.inpaint import (
    MaskMargins,
    Region,
    as_masks,
    cut_out,
    edit_text,
    move,
    open_inpainter,
    remove,
    replace_background,
    text_masks,
)
from samovar_adapters.inpaint.repainting import window_around, working_size
from samovar_plugins.patches.inpainter import inward_weights

SIDES = st.integers(64, 1333)


@pytest.mark.parametrize("inpainter", ["patches", "telea", "navier-stokes"], indirect=True)
class TestInpainters(InpainterTests):
    side = 64  # wide enough for patches to find some

    @pytest.fixture
    def inpainter(self, request: pytest.FixtureRequest) -> Inpainter:
        return open_inpainter(request.param)


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def boxes(width: int, height: int, *given: tuple[int, int, int, int]) -> np.ndarray:
    array = np.zeros((len(given), height, width), bool)
    for plane, (x1, y1, x2, y2) in zip(array, given):
        plane[y1:y2, x1:x2] = True
    return array


# ---------------------------------------------------------------------------------------------- what never changes


@pytest.mark.slow
@settings(max_examples=25)
@given(
    width=SIDES,
    height=SIDES,
    corner=st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)),
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    margins=st.builds(MaskMargins, dilate=st.integers(0, 9), feather=st.integers(0, 9), each=st.booleans()),
)
def test_pixels_away_from_the_masks_are_bit_identical_at_every_size(
    width: int, height: int, corner: tuple[float, float], sides: tuple[int, int], margins: MaskMargins
) -> None:
    x, y = int(corner[0] * width), int(corner[1] * height)
    masks = boxes(width, height, (x, y, x + sides[0], y + sides[1]))
    image = noise(width, height)
    result = remove(image, masks, margins=margins)
    ys, xs = np.mgrid[:height, :width]
    x2, y2 = min(width, x + sides[0]) - 1, min(height, y + sides[1]) - 1
    distance = np.hypot(np.maximum(0, np.maximum(x - xs, xs - x2)), np.maximum(0, np.maximum(y - ys, ys - y2)))
    far = distance > margins.dilate + margins.feather + 1e-3
    assert result.shape == image.shape
    assert np.array_equal(result[far], image[far])


def test_every_masked_pixel_is_painted() -> None:
    image = np.full((90, 120, 3), 200, np.uint8)
    masks = boxes(120, 90, (20, 20, 50, 60), (70, 10, 90, 80))
    image[masks.any(axis=0)] = 0
    assert np.abs(remove(image, masks).astype(int) - 200).max() < 10


def test_the_callers_image_stays_as_it_is() -> None:
    image = noise(80, 70)
    before = image.copy()
    remove(image, boxes(80, 70, (10, 10, 30, 30)))
    assert np.array_equal(image, before)


def test_no_masks_give_a_copy() -> None:
    image = noise(80, 70)
    assert np.array_equal(remove(image, Masks.empty(80, 70)), image)


def test_masks_one_by_one_or_together_cover_the_same_pixels() -> None:
    image = noise(100, 80)
    masks = boxes(100, 80, (5, 5, 25, 25), (60, 40, 90, 70))
    together = remove(image, masks, margins=MaskMargins(dilate=2))
    apart = remove(image, masks, margins=MaskMargins(dilate=2, each=True))
    kept = (boxes(100, 80, (3, 3, 27, 27), (58, 38, 92, 72)) == 0).all(axis=0)
    for result in (together, apart):
        assert np.array_equal(result[kept], image[kept])
        assert (result[~kept] != image[~kept]).any(axis=1).mean() > 0.9


# ---------------------------------------------------------------------------------------------- masks of every form


def every_form(mask: np.ndarray) -> dict[str, object]:
    picture = Pillow.fromarray(mask.astype(np.uint8) * 255)
    return {
        "bool": mask,
        "N×H×W": mask[None],
        "float": mask.astype(np.float32),
        "0 and 1": mask.astype(np.uint8),
        "0 and 255": mask.astype(np.uint8) * 255,
        "int64": mask.astype(np.int64),
        "PIL L": picture,
        "PIL 1": picture.convert("1"),
        "PIL RGB": picture.convert("RGB"),
        "a list": [picture],
        "Masks": Masks.from_array(mask[None]),
    }


@pytest.mark.parametrize("form", every_form(np.zeros((2, 2), bool)))
def test_a_mask_means_the_same_in_every_form(form: str) -> None:
    mask = boxes(60, 40, (5, 10, 30, 35))[0]
    assert np.array_equal(as_masks(every_form(mask)[form], 60, 40).to_array()[0], mask)  # type: ignore[arg-type]


def test_a_tensor_is_a_mask_too() -> None:
    torch = pytest.importorskip("torch")
    mask = boxes(60, 40, (5, 10, 30, 35))[0]
    for dtype in (torch.bool, torch.float16, torch.bfloat16, torch.int32):
        assert np.array_equal(as_masks(torch.from_numpy(mask).to(dtype), 60, 40).to_array()[0], mask)


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        (np.zeros((40, 60), bool), "empty"),
        (np.ones((60, 40), bool), "60×40 pixels; got 40×60"),
        (np.full((40, 60), 3.5), "threshold logits"),
        (np.ones((1, 1, 40, 60), bool), "H×W or N×H×W"),
        (np.full((40, 60), 1j), "complex"),
    ],
)
def test_masks_that_cannot_be_used_are_refused_in_one_line(masks: np.ndarray, says: str) -> None:
    with pytest.raises(MaskError, match=says) as refused:
        remove(noise(60, 40), masks)
    assert "\n" not in str(refused.value)


def test_impossible_margins_and_methods_are_refused() -> None:
    with pytest.raises(InputError, match="dilate"):
        MaskMargins(dilate=-1)
    with pytest.raises(UnknownNameError, match="telea"):
        open_inpainter("telia")
    with pytest.raises(InputError, match="patches takes no strength"):
        open_inpainter("patches", strength=1)
    with pytest.raises(InputError, match="takes no argument"):
        open_inpainter("patches=5")


def test_old_names_still_work_for_a_release() -> None:
    import samovar_adapters.inpaint as names

    with pytest.warns(DeprecationWarning, match="MaskMargins"):
        assert names.Edges is MaskMargins
    with pytest.warns(DeprecationWarning, match="open_inpainter"):
        painter = names.ClassicalPainter("telea")
    image, mask = noise(60, 40), boxes(60, 40, (10, 10, 20, 20))
    with pytest.warns(DeprecationWarning, match="margins="):
        old = remove(image, mask, painter, edges=MaskMargins())  # type: ignore[call-arg]
    assert np.array_equal(old, remove(image, mask, open_inpainter("telea"), MaskMargins()))


# ---------------------------------------------------------------------------------------------- geometry


@given(SIDES, SIDES, st.sampled_from([None, 64, 512, 1024]), st.sampled_from([1, 8, 16, 64]))
def test_a_painter_gets_sides_that_are_multiples_of_its_own(
    width: int, height: int, native: int | None, multiple: int
) -> None:
    size = working_size(width, height, native, multiple)
    assert all(side > 0 and side % multiple == 0 for side in size)
    if native is None:
        assert all(
            abs(side - given) <= max(multiple / 2, multiple - given) for side, given in zip(size, (width, height))
        )


@given(SIDES, SIDES, st.integers(0, 60), st.integers(0, 60), st.integers(0, 200) | st.none())
def test_a_window_holds_its_box_and_lies_inside_the_image(
    width: int, height: int, x: int, y: int, padding: int | None
) -> None:
    box = x, y, min(width, x + 30), min(height, y + 4)
    x1, y1, x2, y2 = window_around(box, width, height, padding)
    assert 0 <= x1 <= box[0]
    assert box[2] <= x2 <= width
    assert 0 <= y1 <= box[1]
    assert box[3] <= y2 <= height


def test_a_region_fades_out_over_its_feather() -> None:
    region = Region.around(as_masks(boxes(100, 9, (0, 0, 50, 9))[0], 100, 9), dilate=4, feather=3)
    row = region.inside((0, 0, 100, 9))[4]
    assert (row[:54] == 1).all()
    assert np.allclose(row[54:57], [0.75, 0.5, 0.25])
    assert (row[57:] == 0).all()


# ---------------------------------------------------------------------------------------------- the jobs


def test_a_moved_object_lies_where_it_was_moved_to() -> None:
    image = np.full((100, 150, 3), 90, np.uint8)
    image[20:40, 30:60] = (255, 0, 0)
    moved = move(image, boxes(150, 100, (30, 20, 60, 40)), (50, 30), margins=MaskMargins(dilate=2))
    assert (moved[50:70, 80:110] == (255, 0, 0)).all()
    assert np.abs(moved[20:40, 30:60].astype(int) - 90).max() < 10


def test_an_object_moved_out_of_the_image_is_refused() -> None:
    with pytest.raises(MaskError, match="out of the 150×100 image"):
        move(noise(150, 100), boxes(150, 100, (30, 20, 60, 40)), (500, 0))


def test_a_cut_out_keeps_colours_and_fades_inside_the_mask_only() -> None:
    image, mask = noise(60, 50), boxes(60, 50, (10, 10, 40, 40))
    rgba = cut_out(image, mask, feather=1)
    assert np.array_equal(rgba[..., :3], image)
    assert (rgba[11:39, 11:39, 3] == 255).all()
    assert (rgba[10, 10:40, 3] == 128).all()
    assert (rgba[..., 3][~mask[0]] == 0).all()
    assert cut_out(image, mask, crop=True).shape == (30, 30, 4)


@pytest.mark.parametrize("feather", [-1, -2, float("nan"), float("inf")])
def test_a_rim_that_fades_over_no_number_of_pixels_is_refused(feather: float) -> None:
    image, mask = noise(60, 50), boxes(60, 50, (10, 10, 40, 40))
    with pytest.raises(InputError, match="feather"):
        cut_out(image, mask, feather)
    with pytest.raises(InputError, match="feather"):
        replace_background(image, mask, (255, 255, 255), feather=feather)


def test_a_cut_out_does_not_fade_where_the_image_ends() -> None:
    rgba = cut_out(noise(60, 50), np.ones((50, 60), bool), feather=5)
    assert (rgba[..., 3] == 255).all()


# ---------------------------------------------------------------------------------------------- the commands


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "samovar", "inpaint", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def read(path: Path) -> np.ndarray:
    return np.asarray(Pillow.open(path))


@pytest.mark.slow
def test_removing_on_the_photo_with_the_default_model(photo: Path, tmp_path: Path) -> None:
    done = run("remove", photo, "--box", "325,215,408,327", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    mask = Masks.from_coco_rle([json.loads(done.stdout)["masks"][0]["segmentation"]])
    before, after = read(photo), read(tmp_path / "photo.removed.png")
    far = Region.around(mask, 6, 2).inside((0, 0, mask.width, mask.height)) == 0
    assert np.array_equal(after[far], before[far])
    hole = mask.to_array()[0]
    assert np.abs(after[hole].astype(int) - before[hole]).mean() > 20


@pytest.mark.slow
def test_a_folder_of_photos_with_a_bad_one_among_them(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "in" / "torn.jpg").write_bytes(photo.read_bytes()[:900])
    done = run("cut-out", "in", "--box", "170,15,415,310", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "torn.jpg" in done.stderr
    assert read(tmp_path / "out" / "good.jpg.png").shape == (400, 600, 4)


@pytest.mark.slow
def test_a_mask_picture_instead_of_prompts(photo: Path, tmp_path: Path) -> None:
    mask = boxes(600, 400, (325, 215, 408, 327))[0]
    Pillow.fromarray(mask).save(tmp_path / "mask.png")
    done = run("move", photo, "--mask", "mask.png", "--by", "-300,-100", "--feather", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    moved = read(tmp_path / "photo.moved.png")
    assert np.array_equal(moved[115:227, 25:108], read(photo)[215:327, 325:408])


@pytest.mark.slow
def test_what_is_read_is_not_painted_over(photo: Path, tmp_path: Path) -> None:
    picture = tmp_path / "photo.png"
    Pillow.open(photo).save(picture)
    before = picture.read_bytes()
    done = run("remove", picture, "--box", "190,225,268,315", "--out", "./photo.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "is what is read; name another file" in done.stderr
    assert picture.read_bytes() == before


def transparent(path: Path) -> np.ndarray:
    """A red object on green; the left third is transparent, the upper half of the object half so. Returns its RGBA."""
    pixels = np.full((90, 120, 4), (40, 120, 50, 255), np.uint8)
    pixels[30:60, 60:90, :3] = (220, 40, 30)
    pixels[30:45, 60:90, 3] = 128
    pixels[:, :40, 3] = 0
    Pillow.fromarray(pixels).save(path)
    return pixels


MASK = {"remove": (58, 28, 92, 62), "cut-out": (60, 30, 90, 60), "replace-background": (60, 30, 90, 60)}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["remove", "move", "cut-out", "replace-background"])
def test_what_is_transparent_stays_so(command: str, tmp_path: Path) -> None:
    before = transparent(tmp_path / "in.png")
    Pillow.fromarray(boxes(120, 90, MASK.get(command, (60, 30, 90, 60)))[0]).save(tmp_path / "mask.png")
    more = {"move": ["--by", "20,25"], "replace-background": ["--colour", "white", "--feather", "0"]}
    done = run(command, "in.png", "--mask", "mask.png", *more.get(command, []), "--out", "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = read(tmp_path / "out.png")
    if command == "replace-background":
        assert after.shape == (90, 120, 3)
        assert (after[35:40, 65:85] == np.rint(before[35, 65, :3] * (128 / 255) + 255 * (127 / 255))).all()
        return
    assert after.shape == (90, 120, 4)
    assert (after[:, :40, 3] == 0).all()
    if command == "cut-out":
        assert (after[33:43, 63:87, 3] == 128).all()
        assert (after[47:57, 63:87, 3] == 255).all()
    else:
        assert (after[32:58, 62:78, 3] == 255).all(), "the hole in what is opaque is filled opaque"
    if command == "move":
        assert (after[58:67, 83:107, 3] == 128).all()
        assert (after[58:67, 83:107, :3] == (220, 40, 30)).all()


@pytest.mark.slow
def test_the_profile_exif_and_resolution_of_a_photo_stay(photo: Path, tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0112] = "A camera", 6
    Pillow.open(photo).save(tmp_path / "in.jpg", icc_profile=profile, exif=exif, dpi=(300, 300))
    done = run("remove", "in.jpg", "--box", "100,100,150,150", "--out", "out.png", "--method", "telea", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Pillow.open(tmp_path / "out.png") as after:
        after.load()
        assert after.size == (400, 600), "upright"
        assert after.info["icc_profile"] == profile
        assert dict(after.getexif()) == {0x010F: "A camera"}
        assert after.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--source or --mask"),
        (["--box", "1,2,30,40", "--source", "faces"], "more than one"),
        (["--box", "1,2,30,40", "--out", "photo.jpg"], "PNG"),
        (["--box", "1,2,30,40", "--out", "photo.BMP"], "PNG"),
        (["--box", "1,2,30,40", "--size", "512"], "need a --pipeline"),
        (["--box", "1,2,30,40", "--dilate", "-3"], "dilate"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments: list[str], says: str, photo: Path, tmp_path: Path) -> None:
    done = run("remove", photo, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# ---------------------------------------------------------------------------------------------- what fills holes


def stripes(width: int, height: int) -> np.ndarray:
    """A fabric of diagonal stripes, 8 pixels a period."""
    y, x = np.mgrid[:height, :width]
    return np.repeat(((x + y) // 4 % 2 * 180 + 40).astype(np.uint8)[..., None], 3, axis=2)


def test_patches_continue_texture_that_interpolation_smears() -> None:
    fabric, hole = stripes(160, 120), boxes(160, 120, (60, 40, 100, 80))
    torn = fabric.copy()
    torn[hole[0]] = 255

    def error(method: str) -> float:
        mended = remove(torn, hole, open_inpainter(method), MaskMargins())
        return float(np.abs(mended[hole[0]].astype(int) - fabric[hole[0]]).mean())

    assert error("patches") < 10
    assert error("telea") > 40


def roughness(pixels: np.ndarray) -> float:
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


@pytest.mark.parametrize(("width", "height"), [(200, 160), (1000, 700)])  # the second is large enough to be refined
def test_rough_surfaces_stay_rough(width: int, height: int) -> None:
    """Means of many patches would be smooth, and so would patches from the smooth half, which are like everything."""
    image = np.full((height, width, 3), 120, np.uint8)
    image[height // 2 :] += (
        np.random.default_rng(1).integers(-40, 40, (height - height // 2, width, 3)).astype(np.uint8)
    )
    y, x = height * 3 // 4, width // 2
    hole = boxes(width, height, (x - width // 10, y - height // 10, x + width // 10, y + height // 10))
    filled = remove(image, hole, margins=MaskMargins())
    inside = np.s_[y - height // 12 : y + height // 12, x - width // 12 : x + width // 12]
    assert 0.7 < roughness(filled[inside]) / roughness(image[inside]) < 1.2


def test_the_middle_of_the_largest_hole_still_has_a_weight() -> None:
    weights = inward_weights(boxes(1000, 1000, (2, 2, 998, 998))[0])
    assert weights.min() > 1e-20  # what is left below is for how well patches fit
    assert weights[500, 500] < weights[60, 60] < weights[2, 2]


@pytest.mark.slow
def test_light_that_falls_off_has_no_seams() -> None:
    y, x = np.mgrid[:120, :160]
    image = np.repeat((60 + x * 0.6 + y * 0.4)[..., None], 3, axis=2).round().astype(np.uint8)
    hole = boxes(160, 120, (60, 40, 100, 80))
    filled = remove(image, hole, margins=MaskMargins()).astype(int)
    assert np.abs(filled - image)[hole[0]].mean() < 4
    for axis in (0, 1):
        assert np.abs(np.diff(filled, axis=axis)).max() <= 6


def test_patches_do_the_same_again_and_at_the_edge_of_the_image() -> None:
    fabric, hole = stripes(120, 90), boxes(120, 90, (100, 60, 120, 90))
    first, again = (remove(fabric, hole, margins=MaskMargins()) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - fabric)[hole[0]].mean() < 5


@pytest.mark.parametrize("method", ["patches", "telea", "navier-stokes"])
def test_an_image_that_is_all_hole_or_nearly_so_is_still_filled(method: str) -> None:
    for spared in (0, 1, 5):
        hole = np.ones((40, 50), bool)
        hole[:spared, :spared] = False
        assert remove(noise(50, 40), hole, open_inpainter(method), MaskMargins()).shape == (40, 50, 3)


# ---------------------------------------------------------------------------------------------- backgrounds


def test_a_background_of_one_colour_or_a_picture_leaves_the_object_as_it_is() -> None:
    image, mask = noise(90, 60), boxes(90, 60, (20, 10, 70, 50))[0]
    sky = np.zeros((300, 200, 3), np.uint8)
    sky[80:220] = (0, 0, 255)
    for background, colour in (((255, 255, 255), (255, 255, 255)), (sky, (0, 0, 255))):
        result = replace_background(image, mask, background, feather=0)
        assert np.array_equal(result[mask], image[mask])
        assert (result[~mask] == colour).all()


def test_a_painted_background_sees_the_whole_image() -> None:
    image, mask = np.full((60, 90, 3), 70, np.uint8), boxes(90, 60, (20, 10, 70, 50))[0]
    image[mask] = (200, 0, 0)
    seen: list[tuple[int, ...]] = []

    class Green:
        native, multiple, batch = None, 1, 1

        def paint(self, images: Sequence[MaskedImage]) -> list[np.ndarray]:
            seen.extend(image.pixels.shape for image in images)
            return [np.full_like(image.pixels, (0, 255, 0)) for image in images]

    result = replace_background(image, mask, Green(), feather=0)
    assert seen == [(60, 90, 3)]
    assert (result[~mask] == (0, 255, 0)).all()
    assert (result[mask] == (200, 0, 0)).all()


def test_a_background_needs_an_object_and_a_colour_that_exists() -> None:
    with pytest.raises(MaskError, match="nothing to keep"):
        replace_background(noise(90, 60), Masks.empty(90, 60), (0, 0, 0))
    with pytest.raises(InputError, match="from 0 to 255"):
        replace_background(noise(90, 60), np.ones((60, 90), bool), (0, 0, 300))


# ---------------------------------------------------------------------------------------------- text


class Words:
    """An OCR engine that knows where two words are."""

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        return [Prompts.from_boxes([[10, 10, 60, 30], [70, 10, 95, 30]], labels=["Closed", "today"]) for _ in images]


def test_text_is_found_by_its_words_and_goes() -> None:
    image = np.full((40, 100, 3), 230, np.uint8)
    image[12:28, 12:58:3] = 10
    masks = text_masks(Image(image), Words(), "CLOSED")
    assert masks.labels == ("Closed",)
    assert len(text_masks(Image(image), Words())) == 2
    assert len(text_masks(Image(image), Words(), "open")) == 0
    assert np.abs(edit_text(image, masks).astype(int) - 230).max() < 10


@pytest.mark.slow
def test_letters_that_no_typeface_has_are_refused_before_anything_is_painted(tmp_path: Path) -> None:
    masks = Masks.from_array(boxes(60, 50, (10, 10, 40, 40)))
    with pytest.raises(InputError, match="has no \U0001f95f; name the file of one"):
        edit_text(noise(60, 50), masks, "a \U0001f95f")
    with pytest.raises(InputError, match="expected a typeface"):
        edit_text(noise(60, 50), masks, "a", font=tmp_path / "none.ttf")
    done = run("edit-text", "in.png", "--replace", "a \U0001f95f", "--out", "out.png", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--font" in done.stderr


def test_replaced_text_lies_in_the_old_box_in_the_old_colour() -> None:
    image = np.full((40, 100, 3), 230, np.uint8)
    image[12:28, 12:58:3] = (150, 0, 0)
    written = edit_text(image, text_masks(Image(image), Words(), "closed"), "open")
    changed = (np.abs(written.astype(int) - 230) > 20).any(axis=2)
    ys, xs = changed.nonzero()
    assert xs.size > 50
    assert 10 <= xs.min() <= xs.max() < 60
    assert 10 <= ys.min() <= ys.max() < 30
    assert np.abs(written[changed].min(axis=0).astype(int) - (150, 0, 0)).max() < 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fill", "--box", "1,2,30,40", "--prompt", "a cat"], "need a --pipeline"),
        (["fill", "--box", "1,2,30,40"], "give --pipeline"),
        (["move", "--box", "1,2,30,40", "--by", f"{10**30},0"], "expected at most 1000000 pixels"),
        (["replace-background", "--box", "1,2,30,40"], "one of --colour, --picture and --pipeline"),
        (["replace-background", "--box", "1,2,30,40", "--colour", "reddish"], "such as white"),
        (["replace-background", "--box", "1,2,30,40", "--colour", "white", "--feather", "-2"], "not in the range"),
        (["edit-text", "--source", "rapid"], "unknown prompt source 'rapid'"),
    ],
)
def test_wrong_usage_of_the_other_commands(arguments: list[str], says: str, photo: Path, tmp_path: Path) -> None:
    done = run(arguments[0], photo, *arguments[1:], cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_background_on_the_photo(photo: Path, tmp_path: Path) -> None:
    done = run("replace-background", photo, "--box", "170,15,415,310", "--colour", "white", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (read(tmp_path / "photo.background.png")[-1] == 255).all()


def test_names_of_the_package_are_what_they_say_whatever_was_imported_before() -> None:
    import samovar_adapters.inpaint.repainting
    from samovar_adapters.inpaint import repaint

    assert repaint is samovar_adapters.inpaint.repainting.repaint


def test_between_letters_the_picture_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(90, 110, (40, 100, 3), np.uint8)
    letters = np.zeros((40, 100), bool)
    letters[12:28, 14:58:12] = letters[12:28, 15:58:12] = True
    printed = np.where(letters[..., None], 255, image).astype(np.uint8)
    masks = text_masks(Image(printed), Words(), "closed")
    result = edit_text(printed, masks)
    assert (np.abs(result[letters].astype(int) - 100) < 20).all()
    between = np.zeros((40, 100), bool)
    between[12:28, 20:22] = True
    assert np.array_equal(result[between], image[between])
