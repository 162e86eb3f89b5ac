"""The page's own files, by their version."""

import hashlib
import re
from importlib.resources import files

import httpx

from unitrank_schemas.jobs.clusters import CLUSTER_KINDS


def test_assets_when_named_with_their_version_then_are_kept_for_ever(browser: httpx.Client) -> None:
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', browser.get("/").text):
        answer = browser.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        plain = browser.get(address.partition("?")[0])
        assert plain.headers["cache-control"] == "no-cache"
        assert browser.get(address, headers={"If-None-Match": plain.headers["etag"]}).status_code == 304
    assert browser.get("/static/..%2fpages.py").status_code == 404


def test_style_when_served_then_shows_the_controls_of_each_kind_of_clusters_where_it_is_chosen(browser: httpx.Client) -> None:
    style = browser.get("/static/page.css").text

    assert '[class^="when-"] { display: none; }' in style
    for by, kind in CLUSTER_KINDS.items():
        shows = f"form:has(#by [value={by}]:checked) .when-{by} {{ display: block; }}"
        assert (shows in style) == bool(kind.controls)


def test_copy_of_uplot_when_served_then_is_the_released_file(browser: httpx.Client) -> None:
    """The digests are those of the files of uPlot 1.6.32 on npm."""
    released = {
        "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    }
    folder = files("unitrank_service.web").joinpath("static/uplot")

    for name, digest in released.items():
        assert hashlib.sha256(browser.get(f"/static/{name}").content).hexdigest() == digest
    assert "uPlot 1.6.32" in folder.joinpath("README.md").read_text()
    assert folder.joinpath("LICENSE").read_text().startswith("The MIT License (MIT)")
