"""Addresses, tokens, waits, and whether a raw exposure is whole: what downloads are judged by, without a network."""

import io
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from astropy.io import fits
from pureparallel import UserError, names
from pureparallel.acquire import addresses, answers, transfer, verify

EXPOSURE = "jw01571023001_03201_00007_nis"
MAST = "https://mast.stsci.edu/search/jwst/api/v0.1/retrieve_product?product_name="


@pytest.fixture(scope="module")
def content():
    """A raw exposure with checksums: primary header, image, table with a heap."""
    primary = fits.PrimaryHDU()
    primary.header.update(verify.identity(EXPOSURE))
    primary.header["EXPOSURE"] = "7"  # MAST's headers leave the zeros out
    image = fits.ImageHDU(np.arange(4000, dtype=np.uint16).reshape(1, 4, 20, 50), name="SCI")
    column = fits.Column("a", "PJ()", array=np.array([[1], [2, 3]], dtype=object))
    file = io.BytesIO()
    fits.HDUList([primary, image, fits.BinTableHDU.from_columns([column], name="ASDF")]).writeto(file, checksum=True)
    return file.getvalue()


def found(tmp_path, content, exposure=EXPOSURE):
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    return verify.uncal(path, exposure)


def test_a_whole_exposure_passes_with_all_its_checksums(tmp_path, content):
    units = found(tmp_path, content)
    assert [unit.has_checksum for unit in units] == [True, True, True]
    assert sum(unit.size for unit in units) == len(content)


def test_one_that_is_cut_anywhere_is_refused(tmp_path, content):
    for size in (*range(0, len(content), 997), *range(2880, len(content), 2880), len(content) - 1):
        with pytest.raises(verify.Wrong):
            found(tmp_path, content[:size])


@pytest.mark.parametrize("more", [b"\0", bytes(2880), b" " * 2880, b"<html>"])
def test_one_with_more_bytes_is_refused(tmp_path, content, more):
    with pytest.raises(verify.Wrong):
        found(tmp_path, content + more)


def test_one_with_another_byte_anywhere_is_refused(tmp_path, content):
    for at in range(0, len(content), 331):
        with pytest.raises(verify.Wrong):
            found(tmp_path, content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])


def test_what_nothing_can_notice(tmp_path, content):
    """Without any checksum a byte of the data may be another one; a byte of the structure may not."""
    with fits.open(io.BytesIO(content)) as hdus:
        start = hdus["SCI"].fileinfo()["datLoc"]
        for hdu in hdus:
            del hdu.header["CHECKSUM"], hdu.header["DATASUM"]
        plain = io.BytesIO()
        hdus.writeto(plain)
    data = bytearray(plain.getvalue())
    data[start + 100] ^= 4
    assert not any(unit.has_checksum for unit in found(tmp_path, bytes(data)))
    data[data.index(b"BITPIX  =                   16") + 29] = ord("7")
    with pytest.raises(verify.Wrong, match="sizes that no data have"):
        found(tmp_path, bytes(data))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("jw01571023001_03201_00008_nis", "FILENAME is 'jw01571023001_03201_00007_nis_uncal.fits'"),
        ("jw01571023001_03201_00007_nrs1", "FILENAME"),
    ],
)
def test_another_exposure_is_refused(tmp_path, content, other, message):
    with pytest.raises(verify.Wrong, match=message):
        found(tmp_path, content, other)


@pytest.mark.parametrize(
    ("key", "value"),
    [("INSTRUME", "NIRCAM"), ("DETECTOR", "NRCA1"), ("PROGRAM", "01572"), ("VISIT", "002"), ("TELESCOP", "HST")],
)
def test_a_header_that_contradicts_the_name_is_refused(tmp_path, content, key, value):
    with fits.open(io.BytesIO(content)) as hdus:
        hdus[0].header[key] = value
        file = io.BytesIO()
        hdus.writeto(file, checksum=True)
    with pytest.raises(verify.Wrong, match=f"its {key} is '{value}'"):
        found(tmp_path, file.getvalue())


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><html></html>", b"\n<html>", b"", b'{"error": "gone"}', b"SIMPLE  ="]
)
def test_what_is_no_fits_is_refused(tmp_path, page):
    with pytest.raises(verify.Wrong, match="not a FITS file"):
        found(tmp_path, page)


@pytest.mark.parametrize(
    ("detector", "instrument"),
    [("nis", "NIRISS"), ("nrcalong", "NIRCAM"), ("nrcb4", "NIRCAM"), ("nrs2", "NIRSPEC"), ("mirimage", "MIRI")],
)
def test_identity_of_every_instrument_and_of_segments(detector, instrument):
    name = f"jw01571023001_0320a_00007-seg002_{detector}"
    assert names.check("exposure", name, where="") == name
    header = verify.identity(name)
    assert (header["INSTRUME"], header["DETECTOR"]) == (instrument, detector.upper())
    assert (header["PROGRAM"], header["ACT_ID"], header["EXSEGNUM"]) == ("01571", "0a", "002")


def test_sums_are_those_of_astropy():
    for size in (4, 2880, 28800):
        block = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
        expected = int(fits.ImageHDU()._compute_checksum(block))
        assert verify.ones_complement(block.tobytes()) == expected
    halves = verify.ones_complement(block[14400:].tobytes(), verify.ones_complement(block[:14400].tobytes()))
    assert halves == expected
    assert verify.ones_complement(b"\xff" * 2880) == 0xFFFFFFFF


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_checksums_of_the_manifest(tmp_path, algorithm):
    import hashlib

    path = tmp_path / "x"
    path.write_bytes(b"abc")
    digest = hashlib.new(algorithm, b"abc").hexdigest()
    verify.checksum(path, f"{algorithm}:{digest}")
    with pytest.raises(verify.Wrong, match=digest):
        verify.checksum(path, f"{algorithm}:{digest[::-1]}")


@pytest.mark.parametrize(
    "url",
    [
        "http://mast.stsci.edu/x", "ftp://mast.stsci.edu/x", "file:///etc/passwd", "//mast.stsci.edu/x", "x", "",
        "https://me:secret@mast.stsci.edu/x", "https://secret@mast.stsci.edu/x", "https://mast.stsci.edu/x y",
        "https://mast.stsci.edu/x\r\nHost: evil", "https://mast.stsci.edu/\x00", "https:///x", "https://a:b/x",
        "https://mast.stsci.edu\\@evil.org/x", "http://127.0.0.1.evil.org/", "http://localhost.evil.org/",
        "https://mäst.stsci.edu/", "gopher://127.0.0.1/", "https://[::1/",
    ],
)  # fmt: skip
def test_addresses_that_may_not_be_asked(url):
    with pytest.raises(UserError) as told:
        addresses.checked_url(url)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("url", [MAST, "http://127.0.0.1:8000/x?y=", "http://localhost/", "http://[::1]:80/"])
def test_addresses_that_may(url):
    assert addresses.checked_url(url) == url


@pytest.mark.parametrize(
    "uri",
    [f"{EXPOSURE}_uncal.fits", f"{EXPOSURE[:25]}/{EXPOSURE}_uncal.fits", f"mast:JWST/product/{EXPOSURE}_uncal.fits"],
)
def test_product_names(uri):
    url = addresses.product_url(MAST, uri, EXPOSURE)
    assert url.startswith(MAST)
    assert "/" not in url.removeprefix(MAST)


@pytest.mark.parametrize(
    "uri",
    [
        "", f"{EXPOSURE}_rate.fits", "jw01571023001_03201_00008_nis_uncal.fits", f"../{EXPOSURE}_uncal.fits",
        f"a/../../{EXPOSURE}_uncal.fits", f"/etc/{EXPOSURE}_uncal.fits", f"a//{EXPOSURE}_uncal.fits",
        f"https://evil.org/{EXPOSURE}_uncal.fits", f"x&y=/{EXPOSURE}_uncal.fits", f"x\n/{EXPOSURE}_uncal.fits",
        f"{EXPOSURE}_uncal.fits\n", f"%2e%2e/{EXPOSURE}_uncal.fits", f"-x/{EXPOSURE}_uncal.fits",
    ],
)  # fmt: skip
def test_product_names_that_are_refused(uri):
    with pytest.raises(UserError, match="uri"):
        addresses.product_url(MAST, uri, EXPOSURE)


@pytest.mark.parametrize(
    ("url", "base", "may"),
    [
        (MAST, MAST, True),
        ("https://mast.stsci.edu/elsewhere", MAST, True),
        ("https://mast.stsci.edu:444/x", MAST, False),
        ("http://mast.stsci.edu/x", MAST, False),
        ("https://stpubdata.s3.amazonaws.com/x", MAST, False),
        ("https://mast.stsci.edu.evil.org/x", MAST, False),
        ("https://evil.org/x", "https://evil.org/x", False),
        ("https://notstsci.edu/x", "https://notstsci.edu/x", False),
        ("http://127.0.0.1:81/x", "http://127.0.0.1:81/y", True),
        ("http://127.0.0.1:82/x", "http://127.0.0.1:81/x", False),
        ("http://127.0.0.1:81/x", MAST, False),
    ],
)
def test_the_token_goes_to_the_configured_host_of_mast_alone(url, base, may):
    assert addresses.may_have_token(url, base) is may


@pytest.mark.parametrize("token", ["a b", "a\nb", "\x1b[0m", "tökén", "x" * 5000])
def test_a_token_that_is_none_is_refused_and_not_shown(token):
    with pytest.raises(UserError) as told:
        addresses.checked_token(token)
    assert token not in str(told.value)
    assert addresses.checked_token(" 0123abc\n") == "0123abc"
    assert "0123abc" not in repr(answers.Source("https://a/", token="0123abc"))


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/other?x=1", "https://mast.stsci.edu/other?x=1"),
        ("https://s3.amazonaws.com/x?sign=1", "https://s3.amazonaws.com/x?sign=1"),
        ("http://s3.amazonaws.com/x", None), ("http://127.0.0.1/", None), ("https://127.0.0.1/", None),
        ("https://a:b@c/", None), ("file:///etc/passwd", None),
    ],
)  # fmt: skip
def test_redirects(location, expected):
    if expected:
        assert addresses.following(MAST, location) == expected
    else:
        with pytest.raises(UserError, match=r"a redirect of mast\.stsci\.edu leads"):
            addresses.following(MAST, location)


def test_retry_after_in_both_forms():
    assert answers.retry_after("120") == 120
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 85 < answers.retry_after(date) <= 90
    assert answers.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for other in ("", "soon", "-3", "1e9"):
        assert answers.retry_after(other) == 0


def test_waits_grow_vary_and_end(tmp_path):
    path = tmp_path / "x.fits"
    transfer.part_of(path).touch()
    waits = []
    for _ in range(20):
        limits = transfer.Limits(retries=6, backoff=1.0, longest_wait=10.0)
        one = transfer._Transfer(answers.Source("https://a/"), path, None, limits, None, None)
        mine = []
        for one.tally.retries in range(6):
            mine.append(one.wait(answers.Fault("busy")))
        waits.append(mine)
        assert one.wait(answers.Fault("busy", wait=9.9)) >= 9.9
    low, high = np.min(waits, axis=0), np.max(waits, axis=0)
    base = np.array([1, 2, 4, 8, 10, 10])
    assert ((low >= base / 2) & (high <= base)).all()
    assert (high - low > base / 10).all()
    with pytest.raises(UserError, match="busy: it asks to come back in 11 s"):
        one.wait(answers.Fault("busy", wait=11))
    one.tally.retries = 6
    with pytest.raises(UserError, match="busy, after 7 attempts"):
        one.wait(answers.Fault("busy"))


@pytest.mark.parametrize(
    ("stored", "validator"),
    [
        ({"etag": '"a"', "modified": "now"}, '"a"'),
        ({"etag": 'W/"a"', "modified": "now"}, "now"),
        ({"etag": 'W/"a"'}, ""),
    ],
)
def test_only_a_strong_etag_or_a_date_vouches_for_a_part(stored, validator):
    assert answers.Stored(**stored).validator == validator
