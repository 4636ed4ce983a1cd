import pytest
import yaml
from pureparallel import UserError, config, names

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
        ("msa_redshift: {z_range: [5, 2]}\n", r"z_range: \[5, 2\] is empty"),
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
        (HEADER.replace("location\t", "") + row().replace("data/", ""), "column 'location' is missing"),
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
    columns = config.schema("manifest")["properties"]
    owned = {"exposure": names.EXPOSURE, "slitlet": names.SLITLET, "source": names.SOURCE}
    assert {key: columns[key]["pattern"] for key in owned} == {key: f"^{value}$" for key, value in owned.items()}


def test_every_default_satisfies_its_own_schema():
    for name in ("config", "field"):
        for key, value in config.defaults(config.schema(name)).items():
            config.check({"fields": ["x"], key: value} if name == "config" else {key: value}, config.schema(name), name)


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
