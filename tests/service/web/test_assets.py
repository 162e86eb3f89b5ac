"""The page's own files, by their version."""

import re

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
