import dataclasses
import re

import pytest
import yaml
from pureparallel import UserError, config, names, schemas
from pureparallel.simulate import effects, schedule

HEADER = "exposure\tmode\tslitlet\tsource\tlocation\tsha256\n"
EXPOSURE = "jw01345062001_03101_00001_nrs2"


def row(exposure=EXPOSURE, slitlet="138", source="1345_933", location=None, sha256="", mode="nirspec_msa"):
    location = location or f"data/{exposure}_phot.{slitlet}.{source}.fits"
    return "\t".join([exposure, mode, slitlet, source, location, sha256]) + "\n"


@pytest.fixture
def survey(tmp_path):
    """A folder of fields with one field, and what loads it."""
    (tmp_path / "one.yaml").write_text("description: one\n")
    (tmp_path / "one.tsv").write_text(HEADER + row())

    def load(field_yaml=None, manifest=None, **content):
        if field_yaml is not None:
            (tmp_path / "one.yaml").write_text(field_yaml)
        if manifest is not None:
            (tmp_path / "one.tsv").write_text(manifest)
        return config.load({"fields": ["one"], **content}, tmp_path, where="config.yaml")

    return load


def test_defaults_apply_where_the_section_is_missing(survey):
    assert survey()["one"].option("msa_redshift.z_range") == [0.1, 12]


def test_field_overrides_survey_overrides_schema(survey):
    fields = survey("msa_redshift: {min_pixels: 70}\n", msa_redshift={"min_pixels": 60, "z_range": [1, 2]})
    assert fields["one"].option("msa_redshift.min_pixels") == 70
    assert fields["one"].option("msa_redshift.z_range") == [1, 2]
    assert fields["one"].option("msa_redshift.velocity_width") == 100


def test_one_fields_override_leaves_the_defaults_of_others_alone(survey, tmp_path):
    (tmp_path / "two.yaml").write_text("msa_extract: {gratings: [PRISM]}\n")
    (tmp_path / "two.tsv").write_text(HEADER + row())
    fields = survey(fields=["two", "one"])
    assert len(fields["one"].option("msa_extract.gratings")) == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("msa_redshfit: {}\n", r"one\.yaml: unknown key 'msa_redshfit'; did you mean 'msa_redshift'"),
        (
            "msa_redshift: {zrange: [1, 2]}\n",
            r"unknown key 'msa_redshift\.zrange'; did you mean 'msa_redshift\.z_range'",
        ),
        ("z_range: [1, 2]\n", r"unknown key 'z_range'; did you mean 'msa_redshift\.z_range'"),
        ("msa_redshift: {min_pixels: 3}\n", r"msa_redshift\.min_pixels: 3 is less than the minimum of 10"),
        ("msa_redshift: {z_range: [5, 2]}\n", r"msa_redshift\.z_range: \[5, 2\] is empty"),
        ("fit_redshift: {z_range: [5, 2]}\n", r"fit_redshift\.z_range: \[5, 2\] is empty"),
        ("msa_extract: {gratings: [G999]}\n", r"msa_extract\.gratings\.0: 'G999' is not one of"),
        ("msa_extract: {chunk: many}\n", r"msa_extract\.chunk: 'many' is not of type 'integer'"),
        ("msa_extract: {chunk: 2, chunk: 3}\n", r"one\.yaml:1: key 'chunk' stands here twice"),
        ("a: [\n", r"one\.yaml: not YAML"),
        ("- a\n", r"one\.yaml: expected keys and values"),
        ("a: &x [*x]\n", r"one\.yaml:1: this value holds itself"),
        ("msa_redshift: {systematic_error: .nan}\n", r"msa_redshift\.systematic_error: nan is not a number"),
        ("msa_redshift: {z_range: [0, .inf]}\n", r"z_range"),
        ("msa_extract: [chunk]\n", r"msa_extract: \['chunk'\] is not of type 'object'"),
    ],
)
def test_mistakes_in_a_field_name_file_key_and_mend(survey, text, expected):
    with pytest.raises(UserError, match=expected):
        survey(text)


def test_all_mistakes_are_told_at_once(survey):
    with pytest.raises(UserError) as caught:
        survey("msa_redshfit: {}\nmsa_extract: {chunk: 0}\n")
    assert "msa_redshfit" in str(caught.value)
    assert "msa_extract.chunk" in str(caught.value)


def test_typo_in_the_survey_names_its_file(survey):
    with pytest.raises(UserError, match=r"config\.yaml: unknown key 'feilds'; did you mean 'fields'"):
        survey(feilds=["one"])


def test_a_field_that_nobody_defined(survey):
    with pytest.raises(UserError, match=r"nobody defined 'onn'.*did you mean 'one'"):
        survey(fields=["onn"])


def test_a_field_name_that_climbs_is_refused(survey):
    with pytest.raises(UserError, match="not a legal field name"):
        survey(fields=["../one"])


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (HEADER.replace("mode\t", "") + row().replace("nirspec_msa\t", ""), "column 'mode' is missing"),
        (HEADER + row().replace(f"data/{EXPOSURE}_phot.138.1345_933.fits", ""), "location: is empty; mode nirspec_msa"),
        (HEADER.replace("location", "locaton") + row(), r"unknown column 'locaton'; did you mean 'location'"),
        (HEADER, "has no rows"),
        (HEADER + row() + row(), r"one\.tsv:3: .* stands in line 2 already"),
        (HEADER + "only one\n", r"one\.tsv:2: expected 6 columns"),
        (HEADER + row().rstrip("\n") + "\tmore\n", r"one\.tsv:2: expected 6 columns"),
        (HEADER + row(exposure="jw1; rm"), r"exposure: 'jw1; rm' is not valid"),
        (HEADER + row(source="$(id)"), r"source: '\$\(id\)' is not valid"),
        (HEADER + row(location=f"../x/{EXPOSURE}_phot.138.1345_933.fits"), r"climbs out of its folder"),
        (HEADER + row(location=f"`x`/{EXPOSURE}_phot.138.1345_933.fits"), r"location: .* is not valid"),
        (HEADER + row(location="data/other.fits"), r"must end in jw.*_phot\.138\.1345_933\.fits"),
        (HEADER + row(mode="miri"), r"mode: 'miri' is not valid"),
        (HEADER + row(source="", location="x/y.fits"), r"source: is empty"),
        (HEADER + row(sha256="123"), r"sha256: '123' is not valid"),
        (HEADER + "\n" + row() + row(), r"one\.tsv:4: .* stands in line 3 already"),
        (HEADER + row(location=f"-x/{EXPOSURE}_phot.138.1345_933.fits"), r"location: .* is not valid"),
        (HEADER + row(location=f"~/{EXPOSURE}_phot.138.1345_933.fits"), r"location: .* is not valid"),
    ],
)
def test_mistakes_in_a_manifest_name_row_and_column(survey, manifest, expected):
    with pytest.raises(UserError, match=expected):
        survey(manifest=manifest)


def test_missing_manifest(survey, tmp_path):
    (tmp_path / "one.tsv").unlink()
    with pytest.raises(UserError, match=r"one\.tsv: no such manifest"):
        survey()


def test_a_new_exposure_changes_the_last_chunk_of_its_filter_only(survey):
    def chunks(*exposures):
        lines = [
            raw(f"jw0999{p}001001_02101_00001_nis", "niriss_image", band, "").replace("06:00:00", time)
            for p, band, time in exposures
        ]
        return survey("source: simulate\ndetector1: {chunk: 2}\n", RAW + "".join(lines))["one"].exposure_chunks

    old = [(5, "F115W", "06:00:00"), (4, "F200W", "07:00:00"), (6, "F200W", "08:00:00")]
    # first in the order of names, last in time
    before, after = chunks(*old), chunks((1, "F200W", "09:00:00"), *old)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"F200W-image-0002"}


def test_a_later_batch_leaves_all_chunks_as_they_were(survey):
    def chunks(*exposures):
        lines = [
            raw(f"jw0999{p}001001_02101_00001_nis", "niriss_image", "F200W", "").rstrip("\n") + f"\t{batch}\n"
            for p, batch in exposures
        ]
        header = RAW.rstrip("\n") + "\tbatch\n"
        return survey("source: simulate\ndetector1: {chunk: 2}\n", header + "".join(lines))["one"].exposure_chunks

    before = chunks((4, ""), (6, "1"), (8, ""))
    after = chunks((4, ""), (5, "2"), (6, "1"), (7, "12"), (8, ""))
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"F200W-image-2-0001", "F200W-image-12-0001"}
    assert all(re.fullmatch(names.CHUNK, name) for name in after)


def test_chunks_follow_the_manifest(survey):
    manifest = HEADER + "".join(row(source=str(i)) for i in range(5))
    field = survey("msa_extract: {chunk: 2}\n", manifest)["one"]
    assert field.chunks == {"0001": ["0", "1"], "0002": ["2", "3"], "0003": ["4"]}


@pytest.mark.parametrize("name", ["config", "field", "manifest", "options"])
def test_schemas_are_schemas_and_closed(root, name):
    import jsonschema

    content = yaml.safe_load((root / "workflow" / "schemas" / f"{name}.schema.yaml").read_text())
    jsonschema.Draft202012Validator.check_schema(content)

    def closed(node):
        if isinstance(node, dict):
            assert "properties" not in node or node.get("additionalProperties") is False
            for key, value in node.items():
                if key == "properties":
                    assert all("description" in v or "$ref" in v for v in value.values())
                closed(value)

    closed(content)


def test_the_manifests_names_are_those_of_names():
    columns = schemas.schema("manifest")["properties"]
    owned = {"exposure": names.EXPOSURE, "slitlet": names.SLITLET, "source": names.SOURCE}
    assert {key: columns[key]["pattern"] for key in owned} == {key: f"^{value}$" for key, value in owned.items()}


def test_every_default_satisfies_its_own_schema():
    for name in ("config", "field"):
        for key, value in schemas.defaults(schemas.schema(name)).items():
            schemas.check(
                {"fields": ["x"], key: value} if name == "config" else {key: value}, schemas.schema(name), name
            )


RAW = "exposure\tmode\tfilter\tgrism\treadpatt\tngroups\tstart\tlocation\n"


def raw(exposure="jw09999001001_02101_00001_nis", mode="niriss_wfss", filter="F200W", grism="GR150R", readpatt="NIS",
        ngroups="6", start="2024-07-01T06:00:00", location=""):  # fmt: skip
    return "\t".join([exposure, mode, filter, grism, readpatt, ngroups, start, location]) + "\n"


def test_raw_exposures_of_a_simulated_field(survey):
    manifest = RAW + raw() + raw("jw09999001001_02101_00002_nis", "niriss_image", "F115W", "")
    field = survey("source: simulate\ndetector1: {chunk: 1}\n", manifest)["one"]
    assert field.is_simulated
    assert list(field.exposures) == ["jw09999001001_02101_00001_nis", "jw09999001001_02101_00002_nis"]
    assert field.filters == ["F115W", "F200W"]
    first, second = field.exposures
    assert field.exposure_chunks == {"F115W-image-0001": [second], "F200W-wfss-0001": [first]}
    assert list(field.image_chunks) == ["F115W-image-0001"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"grism": ""}, r"one\.tsv:2: grism: is empty; mode niriss_wfss needs it"),
        ({"mode": "niriss_image"}, r"grism: is 'GR150R'; mode niriss_image has none"),
        ({"filter": "F200"}, r"filter: 'F200' is not valid"),
        ({"ngroups": "0"}, r"ngroups: '0' is not valid"),
        ({"start": "2024-07-01 06:00"}, r"start: '2024-07-01 06:00' is not valid"),
        ({"location": "data/other.fits"}, r"must end in jw09999001001_02101_00001_nis_uncal\.fits"),
    ],
)
def test_mistakes_in_raw_exposures(survey, changes, expected):
    with pytest.raises(UserError, match=expected):
        survey("source: simulate\n", RAW + raw(**changes))


def test_raw_exposures_from_files_need_a_context_and_locations(survey):
    location = "data/jw09999001001_02101_00001_nis_uncal.fits"
    with pytest.raises(UserError, match=r"crds\.context: is empty"):
        survey("{}\n", RAW + raw(location=location))
    with pytest.raises(UserError, match=r"location: of jw09999001001_02101_00001_nis is empty"):
        survey("crds: {context: jwst_1413.pmap}\n", RAW + raw())
    field = survey("crds: {context: jwst_1413.pmap}\n", RAW + raw(location=location))["one"]
    assert not field.is_simulated
    assert field.option("crds.context") == "jwst_1413.pmap"


def test_the_schemas_effects_are_those_of_the_simulator():
    schema = schemas.schema("field")["properties"]["simulate_exposure"]["properties"]["effects"]["properties"]
    of_one = set(schedule.OF_ONE.values())
    assert set(schema) == {field.name for field in dataclasses.fields(effects.Effects)} - of_one
    for name, kind in effects.KINDS.items():
        if name not in of_one:
            assert set(schema[name]["properties"]) == {field.name for field in dataclasses.fields(kind)}


def test_effects_are_switches_or_numbers(survey):
    text = "source: simulate\nsimulate_exposure: {effects: {flicker: {own: 2}, ghost: false}}\n"
    effects = survey(text, RAW + raw())["one"].option("simulate_exposure.effects")
    assert (effects["flicker"], effects["ghost"], effects["dark"]) == ({"own": 2}, False, True)
    with pytest.raises(UserError, match=r"unknown key 'simulate_exposure\.effects\.flicker\.owns'.*\.own"):
        survey(text.replace("own", "owns"), RAW + raw())


@pytest.mark.parametrize("text", ["msa_redshift:\n", "", "{}\n", "\ufeffdescription: with a mark\n"])
def test_empty_sections_and_files_mean_the_defaults(survey, text):
    assert survey(text)["one"].option("msa_redshift.min_pixels") == 50


def test_numbers_are_what_their_schema_says(survey):
    field = survey(msa_extract={"chunk": "3", "nod_background": "false"}, msa_redshift={"min_pixels": 60.0})["one"]
    assert field.option("msa_extract.chunk") == 3
    assert field.option("msa_extract.nod_background") is False
    assert isinstance(field.option("msa_redshift.min_pixels"), int)


@pytest.mark.parametrize("folder", ["../out", "-x", "a b", "$(id)"])
def test_folders_of_products_are_plain_names(survey, folder):
    with pytest.raises(UserError, match=r"pathvars\.results"):
        survey(pathvars={"results": folder})


def test_windows_line_ends_and_a_byte_order_mark_are_read(survey, tmp_path):
    (tmp_path / "one.tsv").write_bytes(("\ufeff" + HEADER + row()).replace("\n", "\r\n").encode())
    assert survey()["one"].manifest[0]["source"] == "1345_933"


def test_files_that_are_not_text_are_refused(survey, tmp_path):
    (tmp_path / "one.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"one\.tsv: not text in UTF-8"):
        survey()
    (tmp_path / "one.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"one\.yaml: not YAML"):
        survey()
