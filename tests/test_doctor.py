import os
import subprocess
import sys
from pathlib import Path

import pytest

from palprobe.doctor import machine
from palprobe.doctor.machine import machine_report, memory_bytes

GIB = 1 << 30


@pytest.fixture
def cgroups(tmp_path: Path) -> Path:
    root = tmp_path / "cgroup"
    root.mkdir()
    return root


def test_every_line_is_ok_or_says_what_to_do(tmp_path):
    """Each verdict begins with ok or warn, a warning ends in a sentence, and the names asked for are all there."""
    report = machine_report(tmp_path / "features", environment={})
    for _, verdict in report:
        assert verdict.startswith(("ok: ", "warn: "))
        assert not verdict.startswith("warn: ") or verdict.endswith(".")
    names = {name for name, _ in report}
    assert names >= {"python", "palprobe", "torch", "cpu", "memory", "disk", "devices", "HF cache", "PALPROBE_DATA"}
    assert not (tmp_path / "features").exists()  # it looks and changes nothing


def test_importing_it_loads_no_heavy_library():
    """The module can be imported by a command that must answer at once."""
    heavy = ("torch", "transformers", "pandas")
    code = f"import sys, palprobe.doctor.machine; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_torchaudio_of_another_release_is_seen():
    """torch 2.11 with torchaudio 2.10 is a warning with the command; a local build tag is none."""
    versions = {"torch": "2.11.0+cu128", "torchaudio": "2.10.0", "transformers": "5.23.0", "accelerate": "1.15.0"}
    lines = dict(machine._libraries(versions.get))
    assert lines["torchaudio"] == (
        "warn: 2.10.0 does not go with torch 2.11.0+cu128. Run pip install 'torchaudio~=2.11.0'."
    )
    assert lines["peft"] == "warn: not installed. Run pip install peft."
    assert lines["transformers"] == "ok: 5.23.0"
    assert dict(machine._libraries((versions | {"torchaudio": "2.11.1+cpu"}).get))["torchaudio"] == "ok: 2.11.1+cpu"


def test_old_python_is_seen():
    """3.10 is too old, 3.11 is not."""
    assert machine._python((3, 10, 4))[1].startswith("warn: 3.10.4")
    assert machine._python((3, 11, 0))[1] == "ok: 3.11.0"


def test_memory_is_that_of_the_cgroup_where_it_is_less(tmp_path, cgroups):
    """A 4 GiB limit with 3 GiB used, 1 of it file pages that can go, leaves 2 of the machine's 60 free."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: {64 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable: {60 * GIB // 1024} kB\n")
    assert memory_bytes(meminfo, cgroups) == (64 * GIB, 60 * GIB)
    (cgroups / "memory.max").write_text("max\n")
    assert memory_bytes(meminfo, cgroups) == (64 * GIB, 60 * GIB)
    (cgroups / "memory.max").write_text(f"{4 * GIB}\n")
    (cgroups / "memory.current").write_text(f"{3 * GIB}\n")
    (cgroups / "memory.stat").write_text(f"anon {2 * GIB}\ninactive_file {GIB}\n")
    assert memory_bytes(meminfo, cgroups) == (4 * GIB, 2 * GIB)
    assert memory_bytes(tmp_path / "absent", cgroups) == (None, None)


def test_cpu_quota_of_both_cgroup_versions(tmp_path, cgroups):
    """150000 of every 100000 µs is one and a half cores; the tightest of nested limits counts."""
    assert machine._cpu_quota(cgroups) is None
    (cgroups / "cpu.max").write_text("max 100000\n")
    assert machine._cpu_quota(cgroups) is None
    (cgroups / "cpu.max").write_text("150000 100000\n")
    assert machine._cpu_quota(cgroups) == 1.5
    (cgroups / "cpu").mkdir()
    (cgroups / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (cgroups / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert machine._cpu_quota(cgroups) == 1.0
    (cgroups / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert machine._cpu_quota(cgroups) == 1.5


def test_cgroup_folders_run_from_the_own_one_to_the_root(tmp_path):
    """Version 1 and 2 lines of /proc/self/cgroup lead to the folders that may hold a limit."""
    own = tmp_path / "own"
    own.write_text("4:memory:/a/b\n1:cpu,cpuacct:/c\n0::/d\n")
    root = Path("/groups")
    folders = machine._own_cgroups("memory", root, own)
    assert folders[:3] == [root / "memory/a/b", root / "memory/a", root / "memory"]
    assert root / "d" in folders
    assert root / "cpu/c" not in folders


def test_full_or_forbidden_disk_is_seen(tmp_path, monkeypatch):
    """Too little space and a folder without write permission are warnings that name --store."""
    usage = type("Usage", (), {"free": GIB})
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    assert machine._disk(tmp_path / "deep" / "features")[1].startswith("warn: 1.0 GiB free")
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    assert "cannot be written to" in machine._disk(tmp_path)[1]


def test_data_folder_lists_the_tasks_in_it(tmp_path):
    """Known task folders are named; no variable, no folder and an empty folder are warnings."""
    (tmp_path / "esc10").mkdir()
    (tmp_path / "holiday").mkdir()
    assert machine._data(tmp_path)[1] == f"ok: {tmp_path} with esc10"
    assert "Set PALPROBE_DATA" in machine._data(None)[1]
    assert "is no folder" in machine._data(tmp_path / "absent")[1]
    assert "holds no task" in machine._data(tmp_path / "holiday")[1]


def test_offline_with_an_empty_cache_is_seen(tmp_path):
    """Offline and nothing downloaded: no pretrained encoder can be loaded."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    assert dict(machine._hub(offline))["HF cache"].startswith(f"warn: {tmp_path / 'hub'}, 0 models")
    (tmp_path / "hub" / "models--someone--encoder").mkdir(parents=True)
    assert dict(machine._hub(offline))["HF cache"] == f"ok: {tmp_path / 'hub'}, 1 models"
    assert "not set" in dict(machine._hub({}))["HF_HUB_OFFLINE"]
