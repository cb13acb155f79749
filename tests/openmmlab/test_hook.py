"""`SamovarMaskHook` in MMDetection's own loops, judged by its own evaluator."""

from __future__ import annotations

import ctypes
import pickle
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine.fileio import register_backend
from mmengine.fileio.backends import BaseStorageBackend
from mmengine.hooks import Hook
from mmengine.structures import InstanceData

from samovar import Image, Masks
from samovar.errors import InputError, UnknownNameError
from samovar_adapters.mmdet import SamovarMaskHook, masker
from tests.openmmlab.conftest import Watch
from tests.openmmlab.dataset import CocoSet
from tests.openmmlab.detectors import loosen
from tests.openmmlab.runs import PIPELINE, configured, evaluate, predictions, runner_of
from tests.openmmlab.stub import stub_config

BOX = ("coco/bbox_mAP", "coco/bbox_mAP_50", "coco/bbox_mAP_75", "coco/bbox_mAP_s", "coco/bbox_mAP_m", "coco/bbox_mAP_l")


def boxes_of(metrics: dict[str, float]) -> list[float]:
    return [metrics[name] for name in BOX]


def grown_by(work: Callable[[], None]) -> int:
    """How many bytes of physical memory the process holds more than before while `work` runs, by the kernel's count."""
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not forget.exists():
        pytest.skip("needs Linux, which tells a process its peak")

    def read(name: str) -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) << 10

    ctypes.CDLL(None).malloc_trim(0)  # gives back what was freed, which would hide what is taken
    forget.write_text("5")  # resets the peak
    before = read("VmRSS")
    work()
    return read("VmHWM") - before


def test_the_shipped_config_gives_mask_ap_of_true_boxes_and_the_second_run_encodes_nothing(
    coco: CocoSet, tmp_path: Path, watch: Watch, new_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the annotated boxes, what is measured is the masks; filled boxes are what one would have without them."""
    sure = stub_config(sure=True)
    without = evaluate(configured(coco, tmp_path, model=sure, metrics=("bbox",)))
    filled = evaluate(configured(coco, tmp_path, model=stub_config(sure=True, with_masks=True)))
    seconds, metrics, encoded = [], [], []
    evaluate(configured(coco, tmp_path, model=sure, hook={"cache": "off"}))  # what compiles or loads once is not timed
    for _ in range(2):
        watch.events.clear()
        runner = runner_of(configured(coco, tmp_path, model=sure, hook={"score_thr": 0.0}))
        started = time.perf_counter()
        metrics.append(runner.test())
        seconds.append(time.perf_counter() - started)
        encoded.append(watch.encoded)
    first, second = metrics
    with capsys.disabled():
        print(
            f"\n{len(coco.files)} images, {coco.boxes} true boxes: segm_mAP {first['coco/segm_mAP']:.3f}, "
            f"segm_mAP_50 {first['coco/segm_mAP_50']:.3f}; filled boxes {filled['coco/segm_mAP']:.3f}, "
            f"{filled['coco/segm_mAP_50']:.3f}\n"
            f"first run {encoded[0]} encodes in {seconds[0]:.1f} s, second {encoded[1]} in {seconds[1]:.1f} s"
        )
    assert encoded == [len(coco.files), 0]
    assert second == first
    assert boxes_of(first) == boxes_of(without), "box AP to the last digit"
    assert first["coco/bbox_mAP"] == 1, "the detector knows the answer"
    assert first["coco/segm_mAP"] > 0.3
    assert first["coco/segm_mAP"] > filled["coco/segm_mAP"]


def test_a_real_detector_of_random_weights_keeps_its_box_ap(coco: CocoSet, tmp_path: Path, watch: Watch) -> None:
    """RTMDet, a real one: 300 boxes an image of padded batches, whatever they show."""
    torch.manual_seed(0)
    without = configured(coco, tmp_path, metrics=("bbox",))
    runner = runner_of(without)
    loosen(runner.model)
    torch.save(runner.model.state_dict(), tmp_path / "random.pth")
    plain = runner.test()
    config = configured(coco, tmp_path, hook={"max_per_image": 20, "score_thr": 0.0})
    config.load_from = str(tmp_path / "random.pth")
    masked = evaluate(config)
    assert boxes_of(masked) == boxes_of(plain)
    assert masked["coco/segm_mAP"] >= 0
    prompts = sum(event.prompts for event in watch.events)
    assert 10 * len(coco.files) < prompts <= 20 * len(coco.files)


def test_one_ragged_batch_an_iteration(coco: CocoSet, tmp_path: Path, watch: Watch) -> None:
    predictions(configured(coco, tmp_path, model=stub_config(), hook={}))
    assert [event.images for event in watch.events] == [4] * 5


def test_masks_are_of_the_original_image_whatever_the_detector_was_shown(coco: CocoSet, tmp_path: Path) -> None:
    """The detector sees 320 pixels, padded to a common size in the batch; its masks are the picture's own."""
    for sample in predictions(configured(coco, tmp_path, model=stub_config(), hook={"rle": False})):
        image = Image(sample.img_path)
        predicted = sample.pred_instances
        assert predicted.masks.shape == (len(predicted.bboxes), image.height, image.width)
        assert predicted.masks.dtype == torch.bool
        assert (predicted.mask_scores <= predicted.scores).all()
        found = Masks.from_array(predicted.masks.numpy())
        outside = found.boxes - predicted.bboxes.numpy()
        assert np.abs(outside[found.areas > 0]).mean() < 30, "each mask lies in its box"


def test_validation_too(coco: CocoSet, tmp_path: Path) -> None:
    config = configured(coco, tmp_path, model=stub_config(), hook={})
    runner = runner_of(config)
    assert runner.val()["coco/segm_mAP"] > 0.3
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, SamovarMaskHook)]
    assert not runner.model._forward_hooks, "the detector is left as it was"
    assert hook.masker.runtime.name == "default"


def test_images_without_any_prediction_take_part(coco: CocoSet, tmp_path: Path) -> None:
    """The first image decides whether COCO evaluation takes masks at all."""
    config = configured(coco, tmp_path, model=stub_config(blind=(1, 2)), hook={"rle": False})
    seen = predictions(config)
    assert [len(sample.pred_instances.masks) == 0 for sample in seen[:3]] == [True, True, False]
    assert seen[0].pred_instances.masks.shape[1:] == seen[0].ori_shape[:2]
    for rle in (True, False):
        config = configured(coco, tmp_path, model=stub_config(blind=tuple(range(1, 21))), hook={"rle": rle})
        assert evaluate(config).get("coco/segm_mAP", -1) <= 0


def test_scores_below_the_threshold_and_boxes_beyond_the_most_get_empty_masks(coco: CocoSet, tmp_path: Path) -> None:
    hook = {"score_thr": 0.4, "max_per_image": 2, "rle": False}
    for sample in predictions(configured(coco, tmp_path, model=stub_config(), hook=hook)):
        predicted = sample.pred_instances
        full = predicted.masks.flatten(1).any(dim=1)
        assert len(full) == len(predicted.bboxes), "no box is lost"
        assert full.nonzero().flatten().tolist() == [0, 1]
        assert (predicted.mask_scores[2:] == 0).all()


def test_boxes_may_be_tightened_to_their_masks(coco: CocoSet, tmp_path: Path) -> None:
    hook = {"tighten_boxes": True, "box_expand": 0.1, "rle": False}
    for sample in predictions(configured(coco, tmp_path, model=stub_config(), hook=hook)):
        masks = Masks.from_array(sample.pred_instances.masks.numpy())
        full = masks.areas > 0
        assert np.array_equal(sample.pred_instances.bboxes.numpy()[full], masks.boxes[full])


def test_predictions_without_boxes_are_refused(coco: CocoSet) -> None:
    """Panoptic and semantic segmenters are evaluated by the same loops."""
    image = Image(coco.images / coco.files[0])
    sample = DetDataSample(metainfo={"ori_shape": (image.height, image.width)})
    with pytest.raises(InputError, match=r"predictions of a detector; got some without pred_instances\.bboxes"):
        SamovarMaskHook().masker.fill([sample], [image])


@pytest.mark.parametrize("rle", [True, False])
def test_masks_that_the_detector_predicts_itself_are_refused_or_replaced(
    rle: bool, coco: CocoSet, tmp_path: Path
) -> None:
    model = stub_config(with_masks=True)
    with pytest.raises(InputError, match=r'already predicts masks; .* pass existing="replace"'):
        evaluate(configured(coco, tmp_path, model=model, hook={"rle": rle}))
    metrics = evaluate(configured(coco, tmp_path, model=model, hook={"rle": rle, "existing": "replace"}))
    assert metrics["coco/segm_mAP"] > 0.3, "not the empty ones that it predicted"


def test_after_an_evaluation_that_failed_the_next_one_is_whole(coco: CocoSet, tmp_path: Path) -> None:
    config = configured(coco, tmp_path, model=stub_config(with_masks=True), hook={})
    runner = runner_of(config)
    with pytest.raises(InputError):
        runner.test()
    runner.model.with_masks = False
    assert runner.test()["coco/segm_mAP"] > 0.3


def test_test_time_augmentation(coco: CocoSet, tmp_path: Path, watch: Watch) -> None:
    """As tools/test.py --tta: every view has boxes of its own; masks are made once, of the merged ones."""
    views: list[dict[str, Any]] = [
        {"type": "LoadImageFromFile"},
        {
            "type": "TestTimeAug",
            "transforms": [
                [{"type": "LoadAnnotations", "with_bbox": True}],
                [{"type": "Resize", "scale": (320, 256), "keep_ratio": True}],
                [{"type": "RandomFlip", "prob": 1.0}, {"type": "RandomFlip", "prob": 0.0}],
                [{**PIPELINE[-1], "meta_keys": (*PIPELINE[-1]["meta_keys"], "flip", "flip_direction")}],
            ],
        },
    ]
    config = configured(coco, tmp_path, model=stub_config(), hook={}, pipeline=views)
    nms = {"nms": {"type": "nms", "iou_threshold": 0.9}, "max_per_img": 100}
    config.model = {"type": "DetTTAModel", "tta_cfg": nms, "module": config.model}
    metrics = evaluate(config)
    assert metrics["coco/segm_mAP"] > 0.3
    assert sum(event.images for event in watch.events) == len(coco.files)


@pytest.mark.parametrize("color_type", ["color", "color_ignore_orientation", "unchanged"])
@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
def test_masks_lie_on_what_the_loader_made_of_the_exif_orientation(
    coco: CocoSet, tmp_path: Path, color_type: str, orientation: int
) -> None:
    """Masks of one and the same picture, whatever way round its file has it, and whether or not the loader turns it."""
    seen = []
    for turn in (1, orientation):
        folder = tmp_path / f"images{turn}"
        folder.mkdir()
        for name in coco.files[:2]:
            with PIL.Image.open(coco.images / name) as file:
                exif = PIL.Image.Exif()
                exif[0x0112] = turn
                pixels = np.asarray(file.convert("RGB"))
                if turn != 1 and color_type == "color":  # the loader will turn them back
                    pixels = stored(pixels, turn)
                PIL.Image.fromarray(pixels).save(folder / Path(name).with_suffix(".png").name, exif=exif)
        load = {"type": "LoadImageFromFile", "color_type": color_type}
        model, hook = stub_config(), {"rle": False, "cache": "off"}
        config = configured(coco, tmp_path, model=model, hook=hook, pipeline=[load, *PIPELINE[1:]])
        data = config.test_dataloader.dataset
        data.ann_file = coco.part(tmp_path / f"part{turn}.json", coco.files[:2], ".png")
        data.data_prefix = {"img": f"{folder}/"}
        seen.append([sample.pred_instances.masks for sample in predictions(config)])
    for upright, turned in zip(*seen):
        assert torch.equal(upright, turned)


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels that a file of this EXIF orientation has."""
    turns = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (1, False), 7: (3, True), 8: (3, False)}
    count, mirrored = turns[orientation]
    turned = np.rot90(upright, count)
    return np.ascontiguousarray(
        turned[:, ::-1] if mirrored and count in (0, 2) else turned[::-1] if mirrored else turned
    )


class Zipped(BaseStorageBackend):  # type: ignore[misc]  # mmengine has no annotations
    """Files of an archive."""

    def __init__(self, archive: str) -> None:
        self.archive = archive

    def get(self, filepath: str) -> bytes:
        with zipfile.ZipFile(self.archive) as archive:
            return archive.read(Path(filepath).name)

    def get_text(self, filepath: str, encoding: str = "utf-8") -> str:
        return self.get(filepath).decode(encoding)


def test_images_that_do_not_lie_on_the_disk_are_read_as_the_loader_reads_them(coco: CocoSet, tmp_path: Path) -> None:
    register_backend("zipped", Zipped, force=True)
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in coco.files:
            file.write(coco.images / name, name)
    load = {"type": "LoadImageFromFile", "backend_args": {"backend": "zipped", "archive": str(archive)}}
    plain = evaluate(configured(coco, tmp_path, model=stub_config(), hook={}))
    config = configured(coco, tmp_path, model=stub_config(), hook={}, pipeline=[load, *PIPELINE[1:]])
    config.test_dataloader.dataset.data_prefix = {"img": "elsewhere/"}
    assert evaluate(config) == plain


def test_images_that_cannot_be_read_again_are_what_the_detector_saw(coco: CocoSet, tmp_path: Path) -> None:
    """A loader of somebody's own: `img_path` names something that only it understands."""
    config = configured(coco, tmp_path, model=stub_config(), hook={})
    runner = runner_of(config)
    load = runner.test_dataloader.dataset.pipeline.transforms[0].transform

    def elsewhere(results: dict[str, Any]) -> dict[str, Any]:
        return {**load(results), "img_path": "petrel://bucket/" + results["img_path"]}

    runner.test_dataloader.dataset.pipeline.transforms[0].transform = elsewhere
    assert runner.test()["coco/segm_mAP"] > 0.3


def test_a_thousand_boxes_an_image_stay_small(
    coco: CocoSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As run lengths; as one tensor they would take a thousand times the picture."""
    hook = SamovarMaskHook(rle=True)
    image = Image(coco.images / coco.files[0])
    sample = predictions(configured(coco, tmp_path, model=stub_config()))[0]
    one = sample.pred_instances

    def fill(count: int) -> None:
        sample.pred_instances = InstanceData(
            bboxes=one.bboxes.repeat(count // len(one.bboxes) + 1, 1)[:count],
            scores=torch.ones(count),
            labels=torch.zeros(count, dtype=torch.int64),
        )
        hook.masker.fill([sample], [image])

    fill(1)  # compiles and caches what comes once
    peak = grown_by(lambda: fill(1000))
    dense = 1000 * image.width * image.height
    with capsys.disabled():
        size = f"{image.width}×{image.height}"
        print(f"\n1,000 boxes at {size}: the process grows by {peak / 2**20:.0f} MiB, {dense / 2**20:.0f} as a tensor")
    assert len(sample.pred_instances.masks) == 1000
    assert peak < dense / 2


def test_masks_too_large_for_a_tensor_say_what_to_do(
    coco: CocoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masker, "DENSE_LIMIT", 1 << 20)
    config = configured(coco, tmp_path, model=stub_config(), hook={"rle": False})
    with pytest.raises(InputError, match=r"\d+ masks of 640×\d+ take .* GiB as a tensor; .* rle=True"):
        evaluate(config)


@METRICS.register_module(force=True)
class WatchingCoco(CocoMetric):  # type: ignore[misc]  # mmdet has no annotations
    """A CocoMetric that notes in what form the masks come."""

    forms: ClassVar[set[type]] = set()

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        self.forms.update(type(sample["pred_instances"]["masks"]) for sample in data_samples)
        super().process(data_batch, data_samples)


class Onlooker(Hook):  # type: ignore[misc]  # mmengine has no annotations
    """A hook of somebody's that wants a tensor."""

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        assert all(isinstance(sample.pred_instances.masks, torch.Tensor) for sample in outputs)


def test_masks_that_only_coco_evaluates_are_run_lengths_all_the_way(coco: CocoSet, tmp_path: Path) -> None:
    def evaluated(*others: Hook, draws: bool = False, **hook: Any) -> tuple[set[type], dict[str, float]]:
        config = configured(coco, tmp_path, model=stub_config(), hook=hook)
        config.test_evaluator["type"] = "WatchingCoco"
        config.default_hooks.visualization = {"type": "DetVisualizationHook", "draw": draws, "test_out_dir": "drawn"}
        runner = runner_of(config)
        for other in others:
            runner.register_hook(other)
        WatchingCoco.forms.clear()
        metrics = runner.test()
        return set(WatchingCoco.forms), metrics

    (by_itself, metrics), (tensors, same) = evaluated(), evaluated(rle=False)
    assert (by_itself, tensors) == ({list}, {torch.Tensor})
    assert metrics == same
    assert metrics["coco/segm_mAP"] > 0.3
    assert evaluated(Onlooker())[0] == {torch.Tensor}, "whoever else looks gets the tensor"
    assert evaluated(draws=True)[0] == {torch.Tensor}
    assert evaluated(rle=True)[0] == {list}


def test_the_dumper_of_mmdetection_reads_them(coco: CocoSet, tmp_path: Path) -> None:
    config = configured(coco, tmp_path, model=stub_config(), hook={})
    config.test_evaluator = {"type": "DumpDetResults", "out_file_path": str(tmp_path / "dump.pkl")}
    evaluate(config)
    dumped = pickle.loads((tmp_path / "dump.pkl").read_bytes())
    assert len(dumped) == len(coco.files)
    assert len(dumped[0]["pred_instances"]["masks"]) == len(dumped[0]["pred_instances"]["bboxes"])


def test_an_option_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown option 'score_threshold'; did you mean score_thr\?"):
        SamovarMaskHook(score_threshold=0.5)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("score_thr", 2),
        ("max_per_image", -1),
        ("box_expand", -0.6),
        ("existing", "keep"),
        ("angle", "le180"),
        ("tighten_boxes", "turned"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(option: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^{option} must be [^\n]*; got [^\n]*$"):
        SamovarMaskHook(**{option: value})
