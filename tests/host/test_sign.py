"""Sign Video: what it saves is signed with the user's own certificate, and nothing is left when it cannot be."""

import pytest

c2pa = pytest.importorskip("c2pa", reason="Content Credentials need c2pa-python: pip install c2pa-python")

from tests.marks.certificates import write_pair  # noqa: E402


def graph(**inputs):
    return {
        "clip": {"class_type": "OmniSyncExample", "inputs": {"name": "person"}},
        "sign": {
            "class_type": "OmniSyncSignVideo",
            "inputs": {"video": ["clip", 0], "source": ["clip", 0], "filename_prefix": "signed/a", **inputs},
        },
    }


def test_the_saved_file_is_signed(host, tmp_path, monkeypatch):
    pair = write_pair(tmp_path)
    monkeypatch.setenv("OMNISYNC_C2PA_CERTIFICATE", pair["certificate"])
    monkeypatch.setenv("OMNISYNC_C2PA_KEY", pair["key"])
    _, report = host.run(graph())["sign"]
    (path,) = (host.output / "signed").iterdir()
    assert report.startswith(f"{path.name}: signed by Test Studio; made from ")
    claim = host.module("omnisync_core.marks.credentials").read_claim(path)
    assert claim.is_intact and claim.is_edited and claim.actions == ("c2pa.opened", "c2pa.edited")
    path.unlink()


def test_without_a_certificate_nothing_is_saved(host, monkeypatch):
    monkeypatch.delenv("OMNISYNC_C2PA_CERTIFICATE", raising=False)
    monkeypatch.delenv("OMNISYNC_C2PA_KEY", raising=False)
    host.forget()  # the graph is the same as above
    with pytest.raises(Exception, match="no certificate: name the files in OMNISYNC_C2PA_CERTIFICATE"):
        host.run(graph())
    assert not list((host.output / "signed").glob("*"))
