from types import SimpleNamespace

from pureparallel import sizes, storage_mends


class Stored(str):
    """A path of Snakemake's that lies in a store; `below` are sizes of objects where it is a folder."""

    is_storage = True

    def __new__(cls, path, query, size=0, below=()):
        self = super().__new__(cls, path)
        self.storage_object = SimpleNamespace(
            query=query, is_dir=lambda: bool(below), exists=lambda: size > 0, size=lambda: size,
            get_subkeys=lambda: [SimpleNamespace(size=one) for one in below],
        )  # fmt: skip
        return self


def test_options_name_the_local_copies_of_files_in_the_store():
    inputs = [
        Stored(".snakemake/storage/b/p/psf/a.fits", "s3://b/p/psf/a.fits"),
        Stored(".snakemake/storage/b/p/psf/b.fits", "s3://b/p/psf/b.fits"),
        "resources/lines.ecsv",
    ]
    options = {"psf": ["psf/a.fits", "./psf/b.fits"], "lines": "resources/lines.ecsv", "sigma": 3, "none": ""}
    assert storage_mends.with_copies(options, inputs, "s3://b/p") == {
        "psf": [".snakemake/storage/b/p/psf/a.fits", ".snakemake/storage/b/p/psf/b.fits"],
        "lines": "resources/lines.ecsv", "sigma": 3, "none": "",
    }  # fmt: skip
    assert storage_mends.with_copies(options, ["psf/a.fits"], "") == options


def test_memory_grows_with_objects_that_were_not_fetched(tmp_path):
    far = Stored(str(tmp_path / "far"), "s3://b/far", below=[3 << 20, 1 << 20])
    one = Stored(str(tmp_path / "one"), "s3://b/one", size=2 << 20)
    near = tmp_path / "near"
    near.write_bytes(b"x" * (5 << 20))
    fetched = Stored(str(near), "s3://b/near", size=1)
    assert list(sizes.megabytes([far, one, fetched])) == [3, 1, 2, 5]
