"""The report in a real browser: every category opens with all its results, and nothing is fetched."""

import html
import json
import re
import shutil
import subprocess

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)

# Opens every subcategory, then every result; `app`, `categories` and `results` are the report's own.
VISIT = """
<script>
(async () => {
  const failures = [], rows = {};
  window.addEventListener('error', event => failures.push(event.message));
  const wait = () => new Promise(done => setTimeout(done, 200));
  await wait();
  for (const [category, subcategories] of Object.entries(categories)) {
    for (const [subcategory, paths] of Object.entries(subcategories)) {
      app.setView({ navbarMode: 'subcategory', category, subcategory });
      await wait();
      rows[category + '/' + subcategory] = [paths.length, document.querySelectorAll('tbody tr').length];
      for (const path of paths) { app.showResultInfo(path); await wait(); }
    }
  }
  const names = performance.getEntriesByType('resource').map(entry => entry.name);
  const fetched = names.filter(name => /^https?:/.test(name));
  document.body.innerHTML = '<pre id="outcome"></pre>';
  document.querySelector('#outcome').textContent = JSON.stringify({ failures, rows, fetched });
})();
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_every_result_of_the_report_opens(demo, tmp_path):
    page = tmp_path / "report.html"
    before, end, after = (demo / "results" / "report.html").read_text().rpartition("</body>")
    page.write_text(before + VISIT + end + after)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [BROWSER, *flags, "--virtual-time-budget=120000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found = re.search(r'<pre id="outcome">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stdout[-2000:]
    outcome = json.loads(html.unescape(found[1]))
    assert set(outcome["rows"]) == {
        "Simulation/sim-niriss",
        "Exposures/sim-niriss",
        "Images/sim-niriss",
        "Validation/sim-niriss",
        "Spectra/sim-niriss",
        "Slitless redshifts/sim-niriss",
        "Redshifts/sim-niriss",
        "Redshifts/ceers-msa",
        "NIRSpec redshifts/ceers-msa",
        "Lineage/Other",
    }, outcome
    assert outcome["failures"] == []
    assert outcome["fetched"] == []
    assert all(listed == there for listed, there in outcome["rows"].values())


def test_a_summary_leaves_out_single_exposures_and_sources(demo, copied, run_in):
    path = copied / "config" / "config.yaml"
    path.write_text(path.read_text() + "report: summary\n")
    target = "results/sim-niriss/sim-niriss_redshifts.fits"
    run_in("default", "python", "-m", "pureparallel.launch", "--report", "summary.html", "--", target, cwd=copied)
    summary, whole = (copied / "summary.html").read_text(), (demo / "results" / "report.html").read_text()
    for name in ("sim-niriss_F150W_mosaic.jpg", "sim-niriss_align.png", "sim-niriss_exposures.html"):
        assert name in summary and name in whole
    for end in ("_detector1.jpg", "_mask.jpg", "_background.jpg", "_sky.jpg", "_spec2.jpg", "_redshift.png"):
        assert end in whole and end not in summary
