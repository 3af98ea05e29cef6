"""A lane's file: what it says, and how it is refused when it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from xedge.commands.lanefile import EngineTable, LaneFile, read_lane_file
from xedge.control.modbus import ModbusOptions
from xedge.errors import ConfigError
from xedge.scanner.follow import FollowConfig

GOOD = """\
# One lane.
[lane]
name = "north"
journal = "north.journal"
alarm_threshold = 0.3

[source]
kind = "simulated"
bags = 3

[control]
at_start = "wait"
valid_mm = 1500

[[bus]]
kind = "modbus"
host = "10.0.0.2"
port = 1502

[[bus]]
kind = "mqtt"
plc_beats = false
user = "lane"
password = { file = "password" }
"""


def read(folder: Path, text: str) -> LaneFile:
    password = folder / "password"
    password.write_text("hunter2\n")
    password.chmod(0o600)
    path = folder / "lane.toml"
    path.write_text(text)
    return read_lane_file(path)


def test_everything_is_where_the_file_says(tmp_path: Path) -> None:
    file = read(tmp_path, GOOD)
    assert file.lane.name == "north"
    assert file.lane.journal == tmp_path / "north.journal"
    kept = read(tmp_path, GOOD.replace("[source]", "journal_days = 31\n[source]", 1)).lane
    assert kept.journal_settings.keep_days == 31
    assert kept.journal_settings.keep_rows_bytes == 2_000_000_000
    assert file.source.bags == 3
    assert file.control.valid_mm == 1500.0
    assert file.buses[0].options == ModbusOptions(host="10.0.0.2", port=1502)
    assert [bus.plc_beats for bus in file.buses] == [True, False]
    assert file.buses[1].place.endswith("lane.toml:20")
    assert file.buses[1].options.password.reveal() == "hunter2"
    assert "hunter2" not in repr(file)
    assert file.engine == EngineTable()


def test_how_the_engine_is_kept_is_a_table_of_its_own(tmp_path: Path) -> None:
    file = read(tmp_path, GOOD + "[engine]\nprocess = false\nself_test_s = 0\n")
    assert (file.engine.process, file.engine.self_test_s) == (False, 0.0)
    for wrong in ("timeout_s = 0", "self_test_s = -1", "retry_most_s = inf", "start_s = nan"):
        with pytest.raises(ConfigError, match=rf"lane.toml:\d+: \[engine\] {wrong.split()[0]}"):
            read(tmp_path, f"{GOOD}[engine]\n{wrong}\n")
    assert file.control.link(1 / 0.62, plc_beats=True).valid_counts == round(1500 / 0.62)
    assert file.metrics.port == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bags = 3", "bagz = 3", r"lane.toml:9: \[source\] there is no key 'bagz'.*mean 'bags'"),
        ("[control]", "[contral]", r"lane.toml:11: .*no table 'contral'.*mean 'control'"),
        ('kind = "modbus"', 'kind = "modbuss"', r"lane.toml:16: \[bus\] there is no bus 'modbuss'"),
        ('kind = "mqtt"', "", r"lane.toml:20: \[bus\] a bus needs the key kind"),
        ("port = 1502", "port = 70000", r"lane.toml:18: \[bus\] .*port.*1 to 65535.*70000"),
        ("port = 1502", 'port = "1502"', r"lane.toml:18: .*'1502'.*a whole number"),
        ("port = 1502", "port = true", r"lane.toml:18: .*True.*a whole number"),
        ("port = 1502", "command_address = 50", r"lane.toml:18: .*map overlaps.*0 to 96 and 50"),
        ('at_start = "wait"', 'at_start = "go"', r"lane.toml:12: .*'require' or 'wait'"),
        ("alarm_threshold = 0.3", "alarm_threshold = 3", r"lane.toml:5: \[lane\] .*up to 1.*3"),
        ("valid_mm = 1500", "valid_mm = -1", r"lane.toml:13: .*above 0.*-1"),
        ("valid_mm = 1500", f"valid_mm = {10**400}", r"lane.toml:13: .*valid_mm is too large"),
        ("valid_mm = 1500", "reverse_counts = -1", r"lane.toml:13: .*reverse_counts.*0 to"),
        ("valid_mm = 1500", "beat_s = 0.6", r"lane.toml:13: .*plc_limit_s.*twice beat_s \(0.6\)"),
        (
            "valid_mm = 1500",
            "plc_limit_s = 1000",
            r"lane.toml:13: .*plc_limit_s.*10 s at most.*1000.*not milliseconds",
        ),
        ("port = 1502", "timeout_s = 1.5", r"lane.toml:18: .*timeout_s.*plc_limit_s \(1.0\).*1.5"),
        ('kind = "simulated"', "", r"lane.toml:7: \[source\] needs the key kind"),
        ('kind = "simulated"', 'kind = "strip-file"', r"lane.toml:7: .*needs the key path"),
        ('kind = "simulated"', 'kind = "python"', r"lane.toml:7: .*package.module:function"),
        ('{ file = "password" }', '"hunter2"', r"lane.toml:24: .*must not stand in this file"),
        (
            '{ file = "password" }',
            '{ file = "password" }\ntls_ca = """-----\nhunter2"""',
            r"lane.toml:25: \[bus\] tls_ca is several lines of text.*Put them into a file",
        ),
        ('{ file = "password" }', '{ file = "none" }', r"lane.toml:24: .*none cannot be read"),
        ("plc_beats = false", "plc_beats = 0", r"lane.toml:22: .*true or false"),
        ("[source]", "[sauce]", r"lane.toml:7: .*no table 'sauce'"),
        ("[[bus]]", "[bus]", "is no TOML"),
        (
            GOOD[GOOD.index("[[bus]]") :],
            '[bus]\nkind = "mqtt"\n',
            r"lane.toml:15: \[bus\] .*expected \[\[bus\]\], found \[bus\]. Write \[\[bus\]\]",
        ),
        ("bags = 3", "bags = 3 three", "is no TOML.*line 9"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line_and_a_remedy(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=said) as refused:
        read(tmp_path, GOOD.replace(old, new))
    assert "hunter2" not in str(refused.value)


def test_a_file_without_a_bus_or_a_source_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Add \[\[bus\]\]"):
        read(tmp_path, '[source]\nkind = "simulated"\n')
    with pytest.raises(ConfigError, match=r"Add \[source\]"):
        read(tmp_path, '[[bus]]\nkind = "modbus"\n')
    with pytest.raises(ConfigError, match=r"Add \[\[bus\]\]"):
        read(tmp_path, 'bus = 1\n[source]\nkind = "simulated"\n')
    with pytest.raises(ConfigError, match=r"lane.toml:1: each bus must be a table"):
        read(tmp_path, 'bus = [1]\n[source]\nkind = "simulated"\n')
    with pytest.raises(ConfigError, match=r"is no TOML"):
        read(tmp_path, f"bus = {'[' * 3000}")
    with pytest.raises(ConfigError, match=r"lane.toml:1: .*must be a table"):
        read(tmp_path, 'lane = 1\n[source]\nkind = "simulated"\n[[bus]]\nkind = "modbus"\n')
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        read_lane_file(tmp_path / "none.toml")


def test_two_buses_that_write_to_one_place_are_refused(tmp_path: Path) -> None:
    text = '[source]\nkind = "simulated"\n' + 2 * '[[bus]]\nkind = "modbus"\ncommand_address = {}\n'
    with pytest.raises(
        ConfigError,
        match=r"lane.toml:6: \[bus\] .*with that of .*:3: \[bus\].*0 to 96 of the reg",
    ):
        read(tmp_path, text.format(200, 300))
    read(tmp_path, text.format(200, "200\nport = 503"))


SERVED = 'kind = "modbus"\nrole = "server"'


@pytest.mark.parametrize(
    ("one", "other", "free"),
    [
        ('kind = "s7"', 'kind = "s7"\nhost = "localhost"', "image_db = 7\ncommand_db = 8"),
        ('kind = "s7"', 'kind = "s7"\nimage_db = 101\nimage_offset = 37\ncommand_db = 7',
         "image_offset = 38"),
        ('kind = "ads"', 'kind = "ads"\nimage_symbol = "gvl_xedge.IMAGE"', "ams_port = 852"),
        ('kind = "modbus"', 'kind = "modbus"\nhost = "LOCALHOST"', 'host = "10.0.0.9"'),
        ('kind = "modbus"', 'kind = "modbus"\nimage_address = 50\ncommand_address = 300',
         "unit = 2"),
        ('kind = "modbus"\nunit = 2', 'kind = "modbus"\nunit = 255', "unit = 3"),
        ('kind = "mqtt"', 'kind = "mqtt"\nhost = "::1"', "port = 1884"),
        (SERVED, f'{SERVED}\nimage_address = 1000\ncommand_address = 2000', "port = 503"),
        ('kind = "opcua"\nport = 502\nsecurity = "none"', SERVED, "port = 503"),
        (f'{SERVED}\nhost = "10.0.0.1"', f'{SERVED}\nhost = "::"', 'host = "10.0.0.2"'),
    ],
)  # fmt: skip
def test_two_buses_that_need_one_thing_are_refused(
    tmp_path: Path, one: str, other: str, free: str
) -> None:
    head = '[source]\nkind = "simulated"\n'
    with pytest.raises(ConfigError, match=r"overlaps with that of"):
        read(tmp_path, f"{head}[[bus]]\n{one}\n[[bus]]\n{other}\n")
    keys = {line.split(" = ")[0] for line in free.splitlines()}
    kept = [line for line in other.splitlines() if line.split(" = ")[0] not in keys]
    read(tmp_path, "\n".join([f"{head}[[bus]]\n{one}\n[[bus]]", *kept, free, ""]))


def test_metrics_at_the_port_of_a_bus_are_refused(tmp_path: Path) -> None:
    text = f'[source]\nkind = "simulated"\n[[bus]]\n{SERVED}\n[metrics]\nport = '
    with pytest.raises(ConfigError, match=r"lane.toml:6: \[metrics\] .*with that of .*:3: \[bus\]"):
        read(tmp_path, f"{text}502\n")
    read(tmp_path, f"{text}503\n")
    read(tmp_path, text.replace('"server"', '"client"') + "502\n")


def test_a_plc_that_would_always_be_lost_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plc_limit_s cannot be used: expected twice poll_s"):
        read(tmp_path, GOOD.replace("valid_mm = 1500", "plc_limit_s = 0.001"))


def test_how_the_correction_follows_stands_in_a_table_of_its_own(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).correction == FollowConfig(air=True, dark=True)
    text = GOOD + "\n[correction]\ndark = false\nlimit = 0.02\nreference = [[0, 15], [784, 799]]\n"
    wanted = FollowConfig(dark=False, limit=0.02, reference=((0, 15), (784, 799)))
    assert read(tmp_path, text).correction == wanted


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("limit = 0.2", "limit cannot be used"),
        ("reference = [0, 15]", "reference cannot be"),
        ("reference = [[0, 15, 20]]", "reference cannot be .*a list of 2"),
        ('reference = "0-15"', "reference cannot be"),
        ("step = true", "step cannot be True"),
    ],
)
def test_a_correction_that_cannot_follow_so_is_refused_with_its_line(
    tmp_path: Path, key: str, found: str
) -> None:
    with pytest.raises(ConfigError, match=rf"lane.toml:27: \[correction\] {found}"):
        read(tmp_path, GOOD + "\n[correction]\n" + key + "\n")


VIEWS = GOOD.replace("[source]", "[[source]]").replace(
    "bags = 3\n",
    """bags = 3

[[source]]
kind = "simulated"
bags = 3
below = true
offset_mm = 120
""",
)


def test_a_lane_with_several_views_has_a_source_for_each(tmp_path: Path) -> None:
    file = read(tmp_path, VIEWS)
    assert [view.offset_mm for view in file.sources] == [0.0, 120.0]
    assert [view.below for view in file.sources] == [False, True]
    assert file.source is file.sources[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            VIEWS.replace("below = true", "bellow = true"),
            r":14: \[source\] there is no key 'bellow'",
        ),
        (VIEWS.replace("offset_mm = 120", "offset_mm = 1e9"), "offset_mm cannot be used"),
        (VIEWS + '[[source]]\nkind = "simulated"\n' * 3, "so many views: expected 1 to 4, found 5"),
        (VIEWS + '[[source]]\nkind = "folder"\npath = "."\n', "a folder cannot be one of several"),
    ],
)
def test_views_that_cannot_be_are_refused(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        read(tmp_path, text)
