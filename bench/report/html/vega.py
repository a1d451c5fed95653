"""The script that draws the charts of a page."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import version

from bench.system.cache import file_for, keep


@cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, from the package that also draws the
    picture for Markdown. To bundle them takes longer than all the rest of a page, so the script is
    kept.
    """
    file = file_for("vega", [version("vl-convert-python")])
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    script = _bundled()
    keep(file, json.dumps(script))
    return script


def _bundled() -> str:
    import vl_convert

    newest = vl_convert.get_vegalite_versions()[-1]
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=newest)
    return "(()=>{" + bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--") + "\n})()"
