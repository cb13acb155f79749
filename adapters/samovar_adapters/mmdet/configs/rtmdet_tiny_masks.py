"""RTMDet-tiny on COCO, evaluated with the masks that Samovar makes of its boxes.

`mim test mmdet rtmdet_tiny_masks.py --checkpoint rtmdet_tiny.pth`, or MMDetection's own tools/test.py. Any other
detector works the same way: name its config in `_base_`.
"""

_base_ = "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"

custom_imports = {"imports": ["samovar_adapters.mmdet.hook"], "allow_failed_imports": False}
# In place of the base's hooks, which are for training.
custom_hooks = [{"type": "SamovarMaskHook", "model": "sam2.1-tiny", "score_thr": 0.05}]

val_evaluator = {"metric": ["bbox", "segm"]}
test_evaluator = {"metric": ["bbox", "segm"]}
