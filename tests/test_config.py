"""Configuration files: what is shipped loads, what is wrong is one clear line."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

import lmad.__main__
import magd.__main__
from common.config import dump, parse
from common.errors import ConfigError
from lmad.config import load_config as load_lmad
from magd.config import load_config as load_magd

SHIPPED = Path(__file__).parents[1] / "systemd"
LMAD = (SHIPPED / "lmad.toml").read_text()
MAGD = (SHIPPED / "magd.toml").read_text()


def with_all_options(text: str) -> str:
    """The shipped file with every commented option in force."""
    return re.sub(r"^# (?=[a-z_]+ = |\[)", "", text, flags=re.MULTILINE)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_shipped_files_load() -> None:
    assert load_lmad(SHIPPED / "lmad.toml").lma.scheme == "context-reflector"
    assert load_magd(SHIPPED / "magd.toml").mag.access_technology == 4


@pytest.mark.parametrize(("load", "text"), [(load_lmad, LMAD), (load_magd, MAGD)])
def test_a_configuration_that_was_read_is_all_that_it_says(
    tmp_path: Path, load: Callable[[Path], msgspec.Struct], text: str
) -> None:
    """The files that it names are in it, and it can be written as JSON and read again."""
    context = write(tmp_path / "context", "x" * 64)
    whole = with_all_options(text).replace("/etc/context-reflector/mn1.context", str(context))
    config = load(write(tmp_path / "all.toml", whole))
    context.unlink()
    assert parse(msgspec.json.decode(msgspec.json.encode(dump(config))), type(config)) == config


def test_inputs_need_a_journal(tmp_path: Path) -> None:
    for load, text, table in ((load_lmad, LMAD, "[lma]"), (load_magd, MAGD, "[mag]")):
        path = write(tmp_path / "file.toml", text.replace(table, f"{table}\njournal_inputs = true", 1))
        with pytest.raises(ConfigError, match=r"file\.toml: journal_inputs needs a journal$"):
            load(path)


def tables(config: msgspec.Struct, name: str = "") -> Iterator[tuple[str, msgspec.Struct]]:
    """Every table of a file that was read, with its name: `lma`, `mobile_node`, `mobile_node.opaque_context`."""
    for field in msgspec.structs.fields(config):
        value = getattr(config, field.name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, msgspec.Struct):
                inner = f"{name}.{field.name}".lstrip(".")
                yield inner, each
                yield from tables(each, inner)


def said(text: str) -> dict[str, dict[str, bool]]:
    """The keys that a file names, by table; True where the line is commented: then it says the default."""
    found: dict[str, dict[str, bool]] = {}
    for line in text.splitlines():
        if header := re.match(r"(?:# )?\[+([a-z0-9_.]+)\]", line):
            table = found.setdefault(header[1], {})
        elif key := re.match(r"(# )?([a-z0-9_]+) = ", line):
            table[key[2]] = bool(key[1])
    return found


@pytest.mark.parametrize(("load", "text"), [(load_lmad, LMAD), (load_magd, MAGD)])
def test_the_shipped_files_name_every_key_and_its_default(
    tmp_path: Path, load: Callable[[Path], msgspec.Struct], text: str
) -> None:
    context = write(tmp_path / "context", "x" * 64)
    whole = with_all_options(text).replace("/etc/context-reflector/mn1.context", str(context))
    read = dict(tables(load(write(tmp_path / "all.toml", whole))))
    named = said(text)
    assert read.keys() == named.keys()
    for name, table in read.items():
        fields = {field.name: field for field in msgspec.structs.fields(table)}
        alternatives = {"hex"} if name.endswith("opaque_context") else set()
        alternatives |= {each.rpartition(".")[2] for each in named if each.startswith(f"{name}.")}
        assert fields.keys() - alternatives == named[name].keys(), f"[{name}]"
        for key, commented in named[name].items():
            default = fields[key].default
            if commented and default not in (msgspec.NODEFAULT, None, ()):  # of those there is only an example
                assert getattr(table, key) == default, f"{name}.{key}"


@pytest.mark.parametrize(
    ("load", "text", "old", "new", "line"),
    [
        (load_lmad, LMAD, "[lma]", "[lma", "not TOML"),
        (load_lmad, LMAD, "[[mag]]", "[[magg]]", "unknown field `magg`"),
        (load_lmad, LMAD, 'scheme = "context-reflector"', 'scheme = "mipv6"', "`lma.scheme`"),
        (load_lmad, LMAD, '"2001:db8:0:ff::1"', '"10.0.0.1"', "`lma.address`"),
        (load_lmad, LMAD, "/36", "/96", "too small"),
        (load_lmad, LMAD, ":2::1", ":1::1", "MAG 2001:db8:0:1::1 is given twice"),
        (load_lmad, LMAD, "# max_lifetime = 3600", "max_lifetime = 3601", "`lma.max_lifetime`"),
        (load_lmad, LMAD, "# max_lifetime = 3600", "max_lifetime = true", "`lma.max_lifetime`"),
        (
            load_lmad,
            LMAD,
            "# [context_",
            "[context_reflector]\nhold_size_in_all = 9\n# [c",
            "nobody's packets could be held",
        ),
        (load_lmad, LMAD, "# [extension]  ", "[extension]\nack_flag = 0x20 #", "`extension`"),
        (load_magd, MAGD, "# [extension]  ", "[extension]\nmh_type = 5 #", "mh_type 5 is neither experimental"),
        (load_magd, MAGD, "# [extension]  ", "[extension]\nmh_tipe = 24 #", "unknown field `mh_tipe`"),
        (load_magd, MAGD, '"02:00:00:00:00:01"', '"02:00"', "`mobile_node[0].ll_id`"),
        (load_magd, MAGD, 'interface = "eth1"', 'interface = "eth7"', "eth7 is not among mag.access_interfaces"),
        (load_magd, MAGD, "access_technology = 4", "access_technology = 400", "0 to 255"),
        (
            load_magd,
            MAGD,
            '# fixed_mag_link_local_address_on_all_access_links = "fe80',
            'fixed_mag_link_local_address_on_all_access_links = "2001:db8',
            "no link-local address",
        ),
        (
            load_magd,
            MAGD,
            '# fixed_mag_link_layer_address_on_all_access_links = "00',
            'fixed_mag_link_layer_address_on_all_access_links = "01',
            "not the address of one interface",
        ),
        (load_magd, MAGD, 'mn_id = "mn1@example.net"', 'mn_id = ""', "`mobile_node[0].mn_id`"),
        (
            load_magd,
            MAGD,
            "# [[mobile_node.opaque_context]]",
            2 * '[[mobile_node.opaque_context]]\nfeature = 0xFF00\nhex = "00"\n',
            "opaque context 0xff00 of mn1@example.net is given twice",
        ),
    ],
)
def test_wrong_files_are_one_line_with_file_and_key(
    tmp_path: Path, *, load: Callable[[Path], object], text: str, old: str, new: str, line: str
) -> None:
    assert old in text
    path = write(tmp_path / "wrong.toml", text.replace(old, new, 1))
    with pytest.raises(ConfigError) as refusal:
        load(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_check_says_good_or_ends_with_two(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(lmad.__main__.main, ["--check", "--config", str(SHIPPED / "lmad.toml")]).exit_code == 0
    assert runner.invoke(magd.__main__.main, ["--check", "--config", str(SHIPPED / "magd.toml")]).exit_code == 0
    for main in (lmad.__main__.main, magd.__main__.main):
        result = runner.invoke(main, ["--check", "--config", str(tmp_path / "none.toml")])
        assert result.exit_code == 2
        assert result.output.strip().endswith("none.toml: No such file or directory")


def test_what_may_be_held_is_what_the_file_says(tmp_path: Path) -> None:
    """Each of the limits in its turn is the one that says how many MNs can be held at once."""
    ample = "hold_packets = 10\nhold_size = 1000\nhold_packets_in_all = 900\nhold_size_in_all = 90000"
    for tight, at_once in (("hold_mobile_nodes", 7), ("hold_packets_in_all", 70), ("hold_size_in_all", 7000)):
        options = re.sub(f"{tight} = .*", "", f"{ample}\nhold_mobile_nodes = 80")
        text = LMAD.replace("# [context_reflector]", f"[context_reflector]\n{options}\n{tight} = {at_once}", 1)
        keep = lmad.__main__._keep(load_lmad(write(tmp_path / "lmad.toml", text)))
        assert keep is not None
        assert (keep.limits.packets, keep.limits.octets, keep.limits.at_once) == (10, 1000, 7)
