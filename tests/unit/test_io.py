import os

import numpy as np
import pytest
from astropy.io import fits
from pureparallel import UserError, io
from pureparallel.provenance import Lineage, sha256


@pytest.fixture
def image(tmp_path):
    """A FITS file with checksums."""
    path = tmp_path / "image.fits"
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.arange(10000.0).reshape(100, 100), name="SCI")])
    hdus[0].header["INSTRUME"] = "NIRSPEC"
    hdus.writeto(path, checksum=True)
    return path


def test_a_whole_file_is_read(image):
    assert io.open_fits(image, instrument="NIRSPEC", extensions=("SCI",))["SCI"].data[99, 99] == 9999


@pytest.mark.parametrize("size", [0, 100, 2880, 30000, 80000])
def test_a_truncated_file_is_refused(image, size):
    os.truncate(image, size)
    with pytest.raises(UserError, match=r"image\.fits: "):
        io.open_fits(image, instrument="NIRSPEC", extensions=("SCI",))


def test_a_flipped_bit_is_refused(image):
    content = bytearray(image.read_bytes())
    content[-4000] ^= 1
    image.write_bytes(content)
    with pytest.raises(UserError, match="not a complete FITS file"):
        io.open_fits(image)


def test_wrong_instrument_missing_extension_missing_file(image, tmp_path):
    with pytest.raises(UserError, match="INSTRUME is 'NIRSPEC', expected 'NIRISS'"):
        io.open_fits(image, instrument="NIRISS")
    with pytest.raises(UserError, match="extension ERR is missing"):
        io.open_fits(image, extensions=("SCI", "ERR"))
    with pytest.raises(UserError, match="no such file"):
        io.open_fits(tmp_path / "none.fits")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.txt"
    io.write_text(path, "old")
    with pytest.raises(RuntimeError), io.atomic(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_products_are_readable_by_the_group(tmp_path):
    mask = os.umask(0o027)
    try:
        io.write_text(tmp_path / "x.txt", "")
        assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(mask)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "out"
    with io.atomic_directory(folder) as part:
        (part / "old").touch()
    with pytest.raises(RuntimeError), io.atomic_directory(folder) as part:
        (part / "half").touch()
        raise RuntimeError
    assert [p.name for p in folder.iterdir()] == ["old"]
    with io.atomic_directory(folder) as part:
        (part / "new").touch()
    assert [p.name for p in folder.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_json_round_trip_without_nan(tmp_path):
    io.write_json(tmp_path / "x.json", {"a": np.float64("nan"), "b": np.int64(2), "c": [np.float32(0.5), tmp_path]})
    assert io.read_json(tmp_path / "x.json") == {"a": None, "b": 2, "c": [0.5, str(tmp_path)]}
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(UserError, match="not complete JSON"):
        io.read_json(tmp_path / "x.json")


def test_fits_products_carry_their_lineage(tmp_path, image):
    path = tmp_path / "product.fits"
    io.write_fits(path, fits.HDUList([fits.PrimaryHDU()]), Lineage.of("a_step", [image], option=3))
    header = fits.getheader(path)
    assert header["PPSTEP"] == "a_step"
    assert header["PPIN0001"] == f"image.fits sha256:{sha256(image)}"
    sidecar = io.read_json(tmp_path / "product.prov.json")
    assert sidecar["product"] == {"name": "product.fits", "sha256": sha256(path)}
    assert sidecar["options"] == {"option": 3}
    assert header["PPCONFIG"] == sidecar["config_sha256"]
