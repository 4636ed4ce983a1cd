"""Planning in less time: the same rules are found as without."""

import re

import pytest
from pureparallel import names, planning
from snakemake.io import IOFile
from snakemake.output_index import OutputIndex

PRODUCTS = {
    "detector1": ["results/{field}/detector1/{chunk}", "logs/detector1/{field}_{chunk}.log"],
    "image2": ["results/{field}/image2/{chunk}", "results/{field}/image2/{chunk}_figures"],
    "mosaic": ["results/{field}/{field}_{filter}_mosaic.fits", "results/{field}/{field}_{filter}_mosaic.jpg"],
    "align": ["results/{field}/{field}_align.fits", "results/{field}/{field}_align.png"],
    "software": ["results/software.html"],
    "theirs": ["results/{anything}"],
}
FILES = {
    "results/a-field/detector1/F200W-image-0001": {"detector1", "theirs"},
    "logs/detector1/a-field_F200W-image-0001.log": {"detector1"},
    "results/a-field/image2/0001_figures": {"image2", "theirs"},
    "results/a-field/a-field_F200W_mosaic.fits": {"mosaic", "theirs"},
    "results/a-field/b-field_F200W_mosaic.fits": {"theirs"},
    "results/a-field/a-field_align.png": {"align", "theirs"},
    "results/software.html": {"software", "theirs"},
    "results/a-field/detector1": {"theirs"},
    "uncal/x.fits": set(),
}


class Rule:
    """A rule as far as an index needs it; its wildcards are constrained where they stand first, as Snakemake has it."""

    def __init__(self, name):
        self.name, self.files = name, []
        for text in PRODUCTS[name]:
            for wildcard, pattern in names.WILDCARDS.items():
                text = text.replace(f"{{{wildcard}}}", f"{{{wildcard},{pattern}}}", 1)
            self.files.append(IOFile(text, rule=None))

    def products(self):
        return self.files

    def is_producer(self, path):
        return any(one.match(path) for one in self.files)


@pytest.fixture(scope="module")
def rules():
    return [Rule(name) for name in PRODUCTS]


@pytest.mark.parametrize(("path", "makers"), FILES.items())
def test_the_rules_of_a_file_are_found(rules, path, makers):
    for index in (planning.ProductIndex(rules), OutputIndex(rules)):
        assert {one.name for one in index.match_producers(path)} == makers


def test_others_are_not_even_asked(rules):
    found = planning.ProductIndex(rules).match("results/a-field/detector1/F200W-image-0001")
    assert {one.name for one in found} == {"detector1", "theirs"}


def test_no_wildcard_of_ours_stands_for_a_folder():
    assert not any(re.fullmatch(pattern, "a/b") for pattern in names.WILDCARDS.values())
    assert not any("/" in pattern or re.search(r"(?<!\\)\.[*+]", pattern) for pattern in names.WILDCARDS.values())
