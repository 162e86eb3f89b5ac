"""The names of classes in the texts of a result."""

import re

import pytest

from tests.plots.test_class_names import NAMES, Labelled, arrays, labelled, result
from unitrank_schemas.answer import answer_of
from unitrank_schemas.class_names import given_names, named, with_class_names
from unitrank_schemas.results import Result
from unitrank_schemas.verdict_text import verdict_in_words

__all__ = ["arrays", "labelled", "result"]


def without_names(text: str) -> str:
    return re.sub(r" \((cat|dog)\)", "", text)


def test_result_when_classes_have_names_then_only_names_change(labelled: Labelled) -> None:
    plain, worded = labelled[0], with_class_names(labelled[0], NAMES)

    assert without_names(worded.model_dump_json()) == plain.model_dump_json()
    # Every place that names a class: the rest of the text has no such number in quotation marks.
    assert not re.search(r'"(?:0|1|(?:conductance|gradient\.mean_abs)@\d)"', worded.model_dump_json(exclude={"provenance"}))
    assert Result.model_validate_json(worded.model_dump_json()) == worded


def test_sentences_when_classes_have_names_then_name_them(labelled: Labelled) -> None:
    worded = with_class_names(labelled[0], NAMES)

    assert "conductance@0 (cat)" in " ".join(verdict_in_words(worded))
    assert answer_of(worded).ranking == "conductance@0 (cat)"
    assert [without_names(each) for each in verdict_in_words(worded)] == verdict_in_words(labelled[0])


def test_result_when_clusters_are_no_classes_then_they_keep_their_names(labelled: Labelled) -> None:
    plain = labelled[0].model_copy(
        update={"provenance": labelled[0].provenance.model_copy(update={"options": {"clusters": {"by": "kmeans"}}})}
    )

    worded = with_class_names(plain, NAMES)

    assert [each.name for each in worded.clusters] == ["0", "1"]
    assert worded.rankings[0].id == "conductance@0 (cat)"
    assert with_class_names(plain, {}) is plain


@pytest.mark.parametrize(
    ("name", "text"), [("3", "3 (dog)"), ("gradient@3", "gradient@3 (dog)"), ("all", "all"), ("33", "33"), ("a@b", "a@b")]
)
def test_name_when_it_is_that_of_a_class_then_has_the_class_in_words(name: str, text: str) -> None:
    assert named(name, {"3": "dog"}) == text


@pytest.mark.parametrize("classes", [["cat", "dog"], {"0": "cat", 1: "dog"}])
def test_names_when_they_are_a_list_or_an_object_then_belong_to_numbers(classes: object) -> None:
    assert given_names(classes) == NAMES


@pytest.mark.parametrize("classes", [None, 3, "kind", True])
def test_names_when_they_are_anything_else_then_there_are_none(classes: object) -> None:
    assert given_names(classes) == {}
