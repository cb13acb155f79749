"""Real detectors with random weights, as config and checkpoint files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from mmengine.hub import get_config

from tests.openmmlab.dataset import CLASSES, CocoSet
from tests.openmmlab.runs import PAD, configured

__all__ = ["loosen", "write_dbnet", "write_grounding_dino", "write_pose", "write_rtmdet"]

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "a", "cat", "cup", "dog", "red"]
META = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")


def write_rtmdet(folder: Path, coco: CocoSet) -> None:
    """`rtmdet.py` and `rtmdet.pth`: the shipped config."""
    from mmdet.apis import init_detector

    pipeline: list[dict[str, Any]] = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (320, 320), "keep_ratio": True},
        PAD,
        {"type": "PackDetInputs", "meta_keys": META},
    ]
    config = configured(coco, folder / "work", pipeline=pipeline)
    config.dump(str(folder / "rtmdet.py"))
    torch.manual_seed(0)
    model = init_detector(str(folder / "rtmdet.py"), device="cpu")
    loosen(model)
    saved = {"state_dict": model.state_dict(), "meta": {"dataset_meta": {"classes": CLASSES}}}
    torch.save(saved, folder / "rtmdet.pth")


def loosen(model: Any) -> None:
    """Have an RTMDet of random weights predict boxes of some size, at scores of a half; untrained it predicts none."""
    for scores, sides in zip(model.bbox_head.rtm_cls, model.bbox_head.rtm_reg):
        torch.nn.init.normal_(scores.weight, std=0.3)
        torch.nn.init.zeros_(scores.bias)
        torch.nn.init.constant_(sides.bias, 3.0)


def write_grounding_dino(folder: Path) -> None:
    """`grounding_dino.py` and `.pth`: as published, but for a language model of one layer and twelve words."""
    from mmdet.apis import init_detector
    from transformers import BertConfig, BertModel, BertTokenizerFast

    logging.getLogger("transformers").setLevel(logging.ERROR)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    torch.manual_seed(0)
    language = BertConfig(vocab_size=len(WORDS), hidden_size=768, num_hidden_layers=1, intermediate_size=64)
    BertModel(language).save_pretrained(folder / "bert")
    config = get_config("mmdet::grounding_dino/grounding_dino_swin-t_pretrain_obj365_goldg_cap4m.py")
    config.model.language_model.name = str(folder / "bert")
    config.model.backbone.init_cfg = None
    config.model.num_queries = config.model.test_cfg.max_per_img = 30
    for part in ("encoder", "decoder"):
        config.model[part].num_layers = 1
    for step in config.test_dataloader.dataset.pipeline:
        if step["type"] in ("FixScaleResize", "Resize"):
            step["scale"] = (160, 120)
    config.dump(str(folder / "grounding_dino.py"))
    torch.manual_seed(0)
    model = init_detector(str(folder / "grounding_dino.py"), device="cpu", palette="random")
    model.init_weights()  # which are otherwise, in part, what was in memory
    torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / "grounding_dino.pth")


def write_pose(folder: Path) -> None:
    """`pose.py` and `pose.pth`: a pose estimator that is sure of its key points, wherever they are."""
    from mmpose.apis import init_model

    config = get_config("mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_mobilenetv2_8xb64-210e_coco-256x192.py")
    config.model.backbone.init_cfg = None
    config.dump(str(folder / "pose.py"))
    torch.manual_seed(2)
    model = init_model(config, device="cpu")
    torch.nn.init.normal_(model.head.final_layer.weight, std=0.1)
    torch.nn.init.ones_(model.head.final_layer.bias)
    torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / "pose.pth")


def write_dbnet(folder: Path) -> None:
    """`dbnet.py` and `dbnet.pth`: a text detector that finds something in anything."""
    from mmocr.apis import TextDetInferencer

    config = get_config("mmocr::textdet/dbnet/dbnet_resnet18_fpnc_1200e_icdar2015.py")
    config.model.backbone.init_cfg = None
    for step in config.test_pipeline:
        if step["type"] == "Resize":
            step["scale"] = (256, 256)
    config.test_dataloader.dataset.pipeline = config.test_pipeline
    config.model.det_head.postprocessor.update(mask_thr=0.5, min_text_score=0.0, min_text_width=2)
    config.dump(str(folder / "dbnet.py"))
    torch.manual_seed(1)
    inferencer = TextDetInferencer(str(folder / "dbnet.py"), device="cpu")
    torch.save({"state_dict": inferencer.model.state_dict(), "meta": {}}, folder / "dbnet.pth")
