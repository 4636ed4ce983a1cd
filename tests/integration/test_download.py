"""The step download against an archive that misbehaves: every file is right or reported missing, and none is wrong."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import pytest
from pureparallel import UserError
from pureparallel.acquire import summary, transfer
from pureparallel.steps.download import download, places
from pureparallel.steps.download_summary import download_summary

sys.path.insert(0, str(Path(__file__).parent))
from download_scene import PASSING, survey
from file_server import exposure, running, uncal

SECRET = "0123456789abcdef-this-must-never-be-seen"
QUICK = {"stall": 0.6, "backoff": 0.01, "longest_wait": 5.0}
ONE = exposure(0)
FILE = f"{ONE}_uncal.fits"


@pytest.fixture(scope="module")
def content():
    """One exposure without checksums, as MAST's are."""
    return uncal(ONE, size=144000, checksums=False)


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    """Nobody's own token takes part."""
    monkeypatch.delenv("MAST_API_TOKEN", raising=False)


def get(folder, server, name=ONE, **options):
    """Download one; its record."""
    path = folder / f"{name}_uncal.fits"
    known = {"exposure": name, "uncal": path, "record": path.with_suffix(".json"), "url": server.url}
    download(**known | QUICK | options)
    return json.loads(path.with_suffix(".json").read_text())


def planned(*faults):
    """The faults of the first requests for a file."""
    return lambda _, n: faults[n] if n < len(faults) else ""


def left(folder):
    """Names of what is there."""
    return {path.name for path in folder.iterdir()}


DONE = {FILE, f"{ONE}_uncal.json", f"{ONE}_uncal.prov.json"}
PART = {f"{FILE}.part", f"{FILE}.part.json"}


def test_of_five_hundred_downloads_under_all_faults_none_is_wrong(tmp_path):
    done = survey(tmp_path, 500)
    assert {name for name, reason in done.reasons.items() if reason} == done.doomed
    assert done.there() == done.right() == set(done.files) - done.doomed
    parts = {path.name.partition(".part")[0] for path in tmp_path.glob("*.part*")}
    assert parts == done.doomed
    given = {fault.split()[0] for mine in done.faults.values() for fault in mine if fault}
    assert given >= {fault.split()[0] for fault in PASSING}
    assert len(done.continued()) > 20
    for name in done.continued():
        assert done.record(name)["fetched"] == len(done.files[name])  # no byte twice
    for row in summary.rows(tmp_path / name for name in done.files):
        reason = done.reasons[f"{row.exposure}_uncal.fits"]
        assert (row.state == "missing") == bool(reason)
        assert row.reason in reason


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_mended(tmp_path, content, fault):
    with running({FILE: content}, plan=planned("cut 0.5", fault)) as archive:
        record = get(tmp_path, archive, size=len(content))
    assert archive.asked[1].start == len(content) // 2
    assert (tmp_path / FILE).read_bytes() == content
    assert left(tmp_path) == DONE
    assert record["retries"] == (1 if fault in ("chunks", "unnamed", "whole again") else 2)
    assert record["sha256"] == sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("busy", "127.0.0.1 answered HTTP 503, after 3 attempts"),
        ("later", "127.0.0.1 answered HTTP 503: it asks to come back in 86400 s"),
        ("404", "has no such file (HTTP 404); run discover again, or remove it from the manifest"),
        ("403", "refuses it (HTTP 403): it is not public; set MAST_API_TOKEN if you have access to it"),
        ("418", "answered HTTP 418"),
        ("error page", "sent a page instead of a file, after 3 attempts"),
        ("text", "not a FITS file: it begins with b'Sorry, our fault"),
        ("wrong length", "bytes, not 155520: it may have a new version, after 3 attempts"),
        ("silence", "no answer in time, after 3 attempts"),
        ("other exposure", "its FILENAME is"),
        ("cut 0", "the transfer ended early, after 3 attempts"),
        ("chunks 0.5", "the transfer ended early, at 136080 bytes, after 3 attempts"),
    ],
)
def test_a_fault_that_does_not_pass_is_told_and_leaves_no_file(tmp_path, content, fault, reason):
    files = {FILE: content, f"{exposure(1)}_uncal.fits": uncal(exposure(1), size=144000, checksums=False)}
    with running(files, plan=lambda *_: fault) as archive, pytest.raises(UserError, match=ONE) as told:
        get(tmp_path, archive, size=len(content), retries=2)
    assert reason in str(told.value)
    assert left(tmp_path) == PART
    (row,) = summary.rows([tmp_path / FILE])
    assert (row.state, row.reason) == ("missing", str(told.value).partition(": ")[2].partition("; run discover")[0])


@pytest.mark.parametrize("known", ["checksum", "checksums inside"])
def test_wrong_bytes_of_the_right_length_are_fetched_again(tmp_path, known):
    content = uncal(ONE, size=60480, checksums=known == "checksums inside")
    option = {"checksum": f"md5:{__import__('hashlib').md5(content).hexdigest()}"} if known == "checksum" else {}
    with running({FILE: content}, plan=planned("wrong bytes", "wrong bytes")) as archive:
        record = get(tmp_path, archive, **option)
    assert (tmp_path / FILE).read_bytes() == content
    assert (record["retries"], record["fetched"]) == (2, 3 * len(content))


def test_a_file_that_changes_between_two_attempts_is_fetched_whole(tmp_path, content):
    new = uncal(ONE, size=144000, checksums=False, seed=1, version="2")
    with running({FILE: content}, plan=planned("cut 0.7")) as archive:
        with pytest.raises(UserError, match="the transfer ended early, at"):
            get(tmp_path, archive, retries=0)
        archive.files[FILE] = new
        record = get(tmp_path, archive)
    assert (tmp_path / FILE).read_bytes() == new
    assert (record["resumed"], record["fetched"], archive.asked[1].status) == (0, len(new), 200)


def test_a_part_is_continued_only_where_the_server_vouches_for_it(tmp_path, content):
    with running({FILE: content}, plan=planned("cut 0.6")) as archive:
        with pytest.raises(UserError):
            get(tmp_path, archive, retries=0)
        state = json.loads((tmp_path / f"{FILE}.part.json").read_text())
        for change in ({"etag": ""}, {"etag": 'W/"1"'}, {"size": 99}, {"url": archive.url}, {"odd": 1}):
            changed = {"stored": state["stored"] | change, "reason": ""}
            (tmp_path / f"{FILE}.part.json").write_text(json.dumps(changed))
            (tmp_path / f"{FILE}.part").write_bytes(b"x" * 1000)
            assert get(tmp_path, archive)["fetched"] == len(content)
            assert (tmp_path / FILE).read_bytes() == content
        assert all(one.start is None for one in archive.asked)


def test_without_an_etag_a_part_is_continued_only_if_a_checksum_will_tell(tmp_path, content):
    right = {"checksum": f"sha256:{sha256(content).hexdigest()}"}
    for options, new, fetched in (({}, content, 1.0), (right, content, 0.5), (right, content[::-1], 0.5)):
        with running({FILE: new}, plan=planned("cut 0.5"), is_silent=True) as archive:
            with pytest.raises(UserError):
                get(tmp_path, archive, retries=0, **options)
            if new == content:
                assert get(tmp_path, archive, **options)["fetched"] == fetched * len(content)
                assert (tmp_path / FILE).read_bytes() == content
                (tmp_path / FILE).unlink()
            else:
                archive.files[FILE] = content  # of the same size, and nothing but the checksum knows
                assert get(tmp_path, archive, **options)["fetched"] == 1.5 * len(content)
                assert (tmp_path / FILE).read_bytes() == content


@pytest.mark.parametrize("fault", ["cut", "stall"])
@pytest.mark.parametrize("at", [0.001, 0.31, 0.9999])
def test_the_next_run_fetches_the_missing_part_alone(tmp_path, content, fault, at):
    with running({FILE: content}, plan=planned(f"{fault} {at}", "500", "busy")) as archive:
        with pytest.raises(UserError):
            get(tmp_path, archive, retries=0)
        assert left(tmp_path) == PART
        there = (tmp_path / f"{FILE}.part").read_bytes()
        assert there == content[: int(at * len(content))]
        record = get(tmp_path, archive, size=len(content))
    assert (tmp_path / FILE).read_bytes() == content
    assert archive.sent(FILE) == len(content)
    assert record["resumed"] == len(there)
    assert record["fetched"] == len(content) - len(there)


@pytest.fixture
def start(root, tmp_path):
    """Start the command as a rule does."""
    begun = []

    def start(archive, *options, token=""):
        words = [
            str(root / "pixiw"), "run", "--as-is", "-e", "default", "pureparallel", "download", "--exposure", ONE,
            "--uncal", str(tmp_path / FILE), "--record", str(tmp_path / f"{ONE}_uncal.json"), "--url", archive.url,
            "--backoff", "0.01", *options,
        ]  # fmt: skip
        environment = os.environ | ({"MAST_API_TOKEN": token} if token else {})
        begun.append(
            subprocess.Popen(
                words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
            )
        )
        return begun[-1]

    yield start
    for one in begun:
        one.kill()
        one.communicate()


def test_a_killed_job_leaves_a_part_and_the_next_one_goes_on_there(tmp_path, content, start):
    with running({FILE: content}, rate=60000.0) as archive:
        job = start(archive)
        part = tmp_path / f"{FILE}.part"
        while not (part.is_file() and part.stat().st_size > 40000):
            assert job.poll() is None
            time.sleep(0.02)
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        assert left(tmp_path) == PART | {f".{FILE}.lock"}  # the dead writer's, which the next one takes over
        archive.rate = 0.0
        while archive.asked[0].sent != (archive.asked[0].sent, time.sleep(0.3))[0]:
            pass
        there, before = part.stat().st_size, archive.sent(FILE)
        job = start(archive)
        assert job.wait() == 0, job.stdout.read()
        assert archive.sent(FILE) - before == len(content) - there
    assert (tmp_path / FILE).read_bytes() == content
    assert archive.asked[-1].start == there
    assert left(tmp_path) == DONE


def test_two_at_once_do_not_mix(tmp_path, content):
    with running({FILE: content}, rate=300000.0) as archive, ThreadPoolExecutor(2) as pool:
        first = pool.submit(get, tmp_path, archive)
        while not archive.asked:
            time.sleep(0.01)
        with pytest.raises(UserError, match="another process is fetching it"):
            get(tmp_path, archive)
        first.result()
    assert (tmp_path / FILE).read_bytes() == content
    assert len(archive.asked) == 1


def test_progress_is_told(tmp_path, content, monkeypatch):
    monkeypatch.setattr(transfer, "TOLD_EVERY", 0.0)
    told = []
    with running({FILE: content}, rate=300000.0) as archive:
        transfer.fetch(
            transfer.Source(archive.url + FILE), tmp_path / FILE, tell=lambda *progress: told.append(progress)
        )
    have, sizes, rates = zip(*told, strict=True)
    assert list(have) == sorted(have)
    assert set(sizes) == {len(content)}
    assert 0.4 * 300000 < rates[-1] < 1.5 * 300000


def everything(folder):
    """All that is in a folder, names included."""
    return "".join(f"{path}\n{path.read_bytes().decode('latin-1')}" for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("outcome", ["given", "expired", "exception"])
def test_the_token_is_used_and_seen_nowhere(tmp_path, content, start, outcome):
    token = {"given": SECRET, "expired": SECRET, "exception": f"{SECRET}\n{SECRET}"}[outcome]
    valid = SECRET if outcome == "given" else "another"
    plan = planned("cut 0.5", "silence")
    with running({FILE: content}, exclusive={FILE}, token=valid, rate=400000.0, plan=plan, patience=1.0) as archive:
        job = start(archive, "--access", "exclusive", "--stall", "0.5", token=token)
        seen = ""
        while job.poll() is None:
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen += process.read_bytes().replace(b"\0", b" ").decode("latin-1")
                except OSError:
                    continue
            time.sleep(0.02)
        said = job.stdout.read()
    assert "pureparallel download" in seen
    assert SECRET not in seen + said + everything(tmp_path)
    if outcome == "given":
        assert (tmp_path / FILE).read_bytes() == content
        assert {one.authorization for one in archive.asked} == {f"token {SECRET}"}
        assert len(archive.asked) == 3
    else:
        told = (
            "the token has expired, or gives no access"
            if outcome == "expired"
            else "holds characters that no token has"
        )
        assert job.returncode == 1
        assert told in said
        assert "Traceback" not in said
        assert not (tmp_path / FILE).exists()


def test_the_token_stays_with_the_host_that_it_is_for(tmp_path, content, monkeypatch):
    monkeypatch.setenv("MAST_API_TOKEN", SECRET)
    (tmp_path / "home").mkdir()
    with running({FILE: content}) as other:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        (tmp_path / "home" / ".netrc").write_text("machine 127.0.0.1 login me password hidden\n")
        (tmp_path / "home" / ".netrc").chmod(0o600)
        with running({FILE: content}, plan=planned("elsewhere"), redirect=other.url + FILE) as archive:
            get(tmp_path, archive)
    assert [one.authorization for one in archive.asked] == [f"token {SECRET}"]
    assert [one.authorization for one in other.asked] == [""]


def test_public_files_need_no_token_and_get_none(tmp_path, content, monkeypatch):
    monkeypatch.setenv("MAST_API_TOKEN", "expired")
    with running({FILE: content}) as archive:
        get(tmp_path, archive, access="public")
    assert [one.authorization for one in archive.asked] == [""]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of this machine, signed by itself, with its key."""
    pytest.importorskip("cryptography")  # of the lock on Linux
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    is_root = x509.BasicConstraints(ca=True, path_length=None)
    signed = (
        built.add_extension(addresses, critical=False).add_extension(is_root, critical=True).sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *private)
    )
    return path


def test_over_https_certificates_are_checked(tmp_path, content, certificate, monkeypatch):
    monkeypatch.setenv("MAST_API_TOKEN", SECRET)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with running({FILE: content}, tls=tls, plan=planned("cut 0.5"), exclusive={FILE}, token=SECRET) as archive:
        with pytest.raises(UserError, match="certificate cannot be trusted"):
            get(tmp_path, archive)
        assert not archive.asked
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert get(tmp_path, archive)["retries"] == 1
    assert (tmp_path / FILE).read_bytes() == content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uri": f"../../{FILE}"}, "is not the archive's name"),
        ({"uri": f"{exposure(1)}_uncal.fits"}, "is not the archive's name"),
        ({"url": "http://mast.stsci.edu/?"}, "only https is trusted"),
        ({"url": "https://me:hidden@mast.stsci.edu/?"}, "leave them out"),
        ({"url": "file:///etc/passwd?"}, "is not an address"),
        ({"checksum": "crc:00"}, "checksum: 'crc:00' is not md5:<hex>"),
        ({"name": "../x"}, "is not a legal exposure name"),
        ({"archive": Path("nowhere")}, "download.archive: no such folder: nowhere"),
    ],
)
def test_names_and_addresses_that_could_harm_are_refused_before_anything_is_asked(tmp_path, content, options, message):
    with running({FILE: content}) as archive:
        with pytest.raises(UserError) as told:
            get(tmp_path, archive, **options)
        assert not archive.asked
    assert message in str(told.value)
    assert "hidden" not in str(told.value)
    assert not left(tmp_path)


@pytest.mark.parametrize(
    "location", ["http://mast.stsci.edu/x", "file:///etc/passwd", "https://a:b@127.0.0.1/", "//evil.org:x/"]
)
def test_redirects_that_could_harm_are_not_followed(tmp_path, content, location):
    with (
        running({FILE: content}, plan=planned("elsewhere"), redirect=location) as archive,
        pytest.raises(UserError, match=r"a redirect of 127\.0\.0\.1 leads to an address that is not trusted"),
    ):
        get(tmp_path, archive)
    assert left(tmp_path) == PART


def test_redirects_in_a_circle_end(tmp_path, content):
    with running({FILE: content}, plan=lambda *_: "elsewhere") as archive:
        archive.redirect = archive.url + FILE
        with pytest.raises(UserError, match="more than 5 redirects, after 2 attempts"):
            get(tmp_path, archive, retries=1)
        assert len(archive.asked) == 12


@pytest.fixture
def shared(tmp_path):
    """An archive directory that many people share: nobody may write."""
    folder = tmp_path / "shared"
    folder.mkdir()
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)


@pytest.mark.parametrize("place", [str(path) for path in places(ONE, f"mast:JWST/product/{FILE}")])
def test_what_the_archive_has_is_linked_and_not_copied(tmp_path, content, shared, place):
    path = shared / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    before = {one: one.stat().st_mtime_ns for one in shared.rglob("*")}
    mine = tmp_path / "mine"
    mine.mkdir()
    with running({}) as archive:
        uri = f"mast:JWST/product/{FILE}"
        record = get(mine, archive, archive=shared, uri=uri, size=len(content))
        assert not archive.asked
    assert (mine / FILE).is_symlink()
    assert (mine / FILE).resolve() == path.resolve()
    assert (record["state"], record["archive"], record["sha256"]) == ("linked", place, sha256(content).hexdigest())
    assert str(tmp_path) not in json.dumps(record)
    assert {one: one.stat().st_mtime_ns for one in shared.rglob("*")} == before
    assert left(mine) == DONE


@pytest.mark.parametrize("spoil", [lambda c: c[:-1], lambda c: c[:9000] + b"\0" + c[9001:], lambda _: b""])
def test_what_is_wrong_in_the_archive_is_fetched(tmp_path, shared, spoil):
    content = uncal(ONE, size=60480)
    (shared / FILE).write_bytes(spoil(content))
    (tmp_path / "mine").mkdir()
    with running({FILE: content}) as archive:
        assert get(tmp_path / "mine", archive, archive=shared)["state"] == "fetched"
    assert not (tmp_path / "mine" / FILE).is_symlink()
    assert (tmp_path / "mine" / FILE).read_bytes() == content
    assert (shared / FILE).read_bytes() == spoil(content)


def test_the_summary_has_a_row_per_exposure(tmp_path):
    names = [exposure(i) for i in range(4)]
    files = {f"{name}_uncal.fits": uncal(name, size=60480) for name in names[:3]}
    with running(
        files, plan=lambda name, n: "cut 0.5" if name.startswith(names[1]) else "busy" if not n else ""
    ) as archive:
        get(tmp_path, archive, names[0])
        for name in names[1:3]:
            with pytest.raises(UserError):
                get(tmp_path, archive, name, retries=0)
    records = [tmp_path / f"{name}_uncal.json" for name in names]
    download_summary(field="a-field", records=records, overview=tmp_path / "x.html", metrics=tmp_path / "x.json")
    metrics = json.loads((tmp_path / "x.json").read_text())
    assert (metrics["exposures"], metrics["fetched"], metrics["missing"], metrics["retries"]) == (4, 1, 3, 1)
    reasons = [row["reason"] for row in metrics["rows"]]
    assert [row["exposure"] for row in metrics["rows"]] == names
    assert reasons[0] == ""
    assert "ended early, at" in reasons[1]
    assert "HTTP 503" in reasons[2]
    assert reasons[3] == "not tried yet"
    page = (tmp_path / "x.html").read_text()
    assert all(name in page for name in names)
    told = list(summary.lines(summary.rows(path.with_suffix(".fits") for path in records)))
    assert told[0] == "1 of 4 raw exposures are there"
    assert "MB are kept, and continued by the next run" in told[1]
