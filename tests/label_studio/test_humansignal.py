"""HumanSignal's own backend server, with the class that asks a `samovar serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from samovar import Prompt, Runtime
from samovar_adapters.label_studio.regions import decode_brush
from tests.label_studio.studio import Backend, Studio, config, free_port, running, wait_for

APP = """
import sys
from label_studio_ml.api import init_app
from samovar_adapters.label_studio.humansignal import SamovarBackend
init_app(model_class=SamovarBackend).run(host="127.0.0.1", port=int(sys.argv[1]))
"""


def test_a_click_goes_through_their_server_to_ours_and_back(
    studio: Studio, photo: Path, model: Runtime, tmp_path: Path, repository: Path
) -> None:
    ours, theirs = free_port(), free_port()
    key = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": studio.token}
    reach = {"SAMOVAR_URL": f"http://127.0.0.1:{ours}", "PYTHONPATH": str(repository / "adapters")}
    serve = [sys.executable, "-m", "samovar", "serve", "--for", "label-studio", "--port", str(ours)]
    with running(serve, tmp_path / "serve.log", key) as samovar:
        wait_for(f"http://127.0.0.1:{ours}/health", samovar, tmp_path / "serve.log", 60)
        python, log = os.environ["SAMOVAR_LABEL_STUDIO_ML"], tmp_path / "ml.log"
        with running([python, "-c", APP, str(theirs)], log, reach) as process:
            url = f"http://127.0.0.1:{theirs}"
            wait_for(f"{url}/health", process, log, 60)
            project = studio.project("their server", config("BrushLabels"), Backend(url, process, log))
            value = {"x": 310 / 6, "y": 30.0, "width": 0.3, "keypointlabels": ["thing"]}
            click = {"id": "x", "from_name": "smart-keypointlabels", "to_name": "image", "type": "keypointlabels"}
            size = {"original_width": 600, "original_height": 400, "image_rotation": 0}
            answer = project.click(project.upload(photo), {**click, **size, "value": value, "is_positive": True})
    mask = decode_brush(answer["result"][0]["value"]["rle"], 600, 400)
    assert mask.equals(model.segment(photo, Prompt(points=[(310, 120)])))
