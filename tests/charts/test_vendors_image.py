"""The recipe of the stand-ins' image, as far as it can be judged without building it."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.charts.test_platform_image import IGNORED, NOT_IN_THE_IMAGE
from tests.charts.test_vendors import CHART, ROOT, of

RECIPE = re.sub(r"\\\n\s*", "", (CHART / "image/Dockerfile").read_text())


def modules() -> set[str]:
    """What the containers of our own image run."""
    found = [one["spec"]["template"]["spec"]["containers"][0] for one in of("Deployment").values()]
    return {one["args"][0] for one in found if "/vendors@" in one["image"]}


def test_the_image_has_the_platforms_and_the_folder_that_the_platforms_leaves_out() -> None:
    assert re.findall(r"^FROM (\S+)$", RECIPE, re.MULTILINE) == ["${PLATFORM_IMAGE}"]
    let_in = [line for line in (CHART / "image/Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    assert let_in == ["!controller/sandbox"]
    assert {"controller/sandbox", "controller/devcluster"} <= set(IGNORED)


def test_a_pod_names_a_module_that_there_is() -> None:
    ours = {one for one in modules() if one.startswith("controller.")}
    assert len(ours) == 3
    assert all((ROOT / one.replace(".", "/") / "__main__.py").is_file() for one in ours)
    assert 'ENTRYPOINT ["python", "-m"]' in RECIPE


def test_the_stand_ins_need_no_package_that_the_platforms_image_lacks() -> None:
    found = re.search(r'python -c "(?P<code>import [^"]+)"', RECIPE)
    assert found is not None
    asked = [sys.executable, "-c", f"{found['code']}; import sys; print(*sys.modules)"]
    loaded = set(subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    assert {f"{one}.app" for one in modules() if one.startswith("controller.")} <= loaded
    assert {name.partition(".")[0] for name in loaded} & NOT_IN_THE_IMAGE == set()
