"""The cache of engines on a real disk: what is kept, what is refused, what makes room."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.engines.cache import EngineCache, cache_key, default_folder
from xedge.errors import EngineCacheError

FACTS = {"kind": "plan", "model": "abc", "version": "1.0"}
OTHER = {**FACTS, "version": "1.1"}

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="checks owners and modes")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines", limit=10_000)


def files(cache: EngineCache) -> list[Path]:
    return sorted(cache.folder.iterdir())


def test_what_was_put_comes_back_and_nothing_else(cache: EngineCache) -> None:
    data = bytes(range(256)) * 4 + b"\n\n"
    assert cache.get(FACTS) is None
    assert cache.put(FACTS, data)
    assert cache.get(FACTS) == data
    assert cache.get(OTHER) is None
    (entry,) = cache.entries()
    assert (entry.key, entry.facts) == (cache_key(FACTS), FACTS)
    assert entry.size == files(cache)[0].stat().st_size


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4))
def test_a_key_depends_on_facts_and_not_on_their_order(facts: dict[str, str]) -> None:
    assert cache_key(facts) == cache_key(dict(reversed(facts.items())))
    assert cache_key(facts) != cache_key({**facts, "another": "fact"})
    assert set(cache_key(facts)) <= set("0123456789abcdef")


def test_files_and_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cache = EngineCache(tmp_path / "a" / "engines")
        (tmp_path / "a").mkdir(mode=0o755)
        cache.put(FACTS, b"plan")
    finally:
        os.umask(before)
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert files(cache)[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_can_write_is_refused(cache: EngineCache, mode: int) -> None:
    cache.put(FACTS, b"plan")
    cache.folder.chmod(mode)
    for use in (lambda: EngineCache(cache.folder), lambda: cache.get(FACTS)):
        with pytest.raises(EngineCacheError, match=r"cannot be trusted.*mode.*chmod go-w"):
            use()
    with pytest.raises(EngineCacheError):
        cache.put(OTHER, b"plan")


def test_a_folder_around_it_that_others_can_write_is_refused(tmp_path: Path) -> None:
    around = tmp_path / "open"
    around.mkdir()
    around.chmod(0o777)
    with pytest.raises(EngineCacheError, match=f"chmod go-w {around}"):
        EngineCache(around / "deep" / "engines")
    around.chmod(0o1777)  # as /tmp: what is mine there stays mine
    EngineCache(around / "engines").put(FACTS, b"plan")


def test_a_file_that_others_can_write_is_refused_and_not_repaired(cache: EngineCache) -> None:
    cache.put(FACTS, b"plan")
    (path,) = files(cache)
    path.chmod(0o622)
    with pytest.raises(EngineCacheError, match=r"mode 0622"):
        cache.get(FACTS)
    assert path.exists()


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_somebody_else_owns_is_refused(cache: EngineCache, what: str) -> None:
    cache.put(FACTS, b"plan")
    os.chown(cache.folder if what == "folder" else files(cache)[0], 65534, -1)
    with pytest.raises(EngineCacheError, match=r"owner 65534"):
        cache.get(FACTS)


def test_links_are_not_followed(cache: EngineCache, tmp_path: Path) -> None:
    cache.put(FACTS, b"plan")
    (path,) = files(cache)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert cache.get(FACTS) is None
    link = tmp_path / "link"
    link.symlink_to(cache.folder)
    with pytest.raises(EngineCacheError, match="no folder"):
        EngineCache(link)


def test_every_truncation_and_every_changed_byte_is_a_miss(cache: EngineCache) -> None:
    cache.put(FACTS, b"0123456789")
    (path,) = files(cache)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert cache.get(FACTS) is None
        assert not path.exists()
    for place in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        path.chmod(0o600)
        found = cache.get(FACTS)
        assert found in (None, b"0123456789")  # a blank within the first line may change
        path.unlink(missing_ok=True)


def test_a_file_of_other_facts_under_this_name_is_a_miss(cache: EngineCache) -> None:
    cache.put(FACTS, b"plan")
    cache.put(OTHER, b"another plan")
    mine = cache.folder / f"{cache_key(FACTS)}.plan"
    (cache.folder / f"{cache_key(OTHER)}.plan").replace(mine)
    assert cache.get(FACTS) is None


def test_what_was_used_longest_ago_makes_room(cache: EngineCache) -> None:
    facts = [{"number": str(number)} for number in range(4)]
    for one in facts[:3]:
        cache.put(one, bytes(3000))
        time.sleep(0.01)
    assert cache.get(facts[0]) is not None  # used again: now the second is the oldest
    cache.put(facts[3], bytes(3000))
    assert [cache.get(one) is not None for one in facts] == [True, False, True, True]
    assert sum(path.stat().st_size for path in files(cache)) <= 10_000


def test_what_is_larger_than_the_cache_is_not_kept_and_removes_nothing(cache: EngineCache) -> None:
    cache.put(FACTS, b"plan")
    assert cache.put(OTHER, bytes(10_001)) is False
    assert cache.get(FACTS) == b"plan"
    assert cache.get(OTHER) is None


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(cache: EngineCache) -> None:
    cache.put(FACTS, b"plan")
    dead, alive = cache.folder / ".dead.part", cache.folder / ".alive.part"
    for part in (dead, alive):
        part.write_bytes(b"half a plan")
    os.utime(dead, (1, 1))
    cache.put(OTHER, b"plan")
    assert (dead.exists(), alive.exists()) == (False, True)
    assert cache.clear() == 3
    assert files(cache) == []


def test_a_disk_without_room_is_told_and_leaves_no_half_file(cache, monkeypatch) -> None:
    cache.put(FACTS, b"plan")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineCacheError, match=r"No space left.*XEDGE_CACHE"):
        cache.put(OTHER, b"plan")
    assert [path.suffix for path in files(cache)] == [".plan"]


def test_readers_never_see_half_a_file(cache: EngineCache) -> None:
    plans = [bytes([number]) * 2000 for number in range(2)]
    cache.put(FACTS, plans[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for plan in plans:
                cache.put(FACTS, plan)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(100):
            assert cache.get(FACTS) in plans
    finally:
        stop.set()
        writer.join()


def _put(folder: Path, number: int) -> None:
    EngineCache(folder).put({"number": str(number)}, bytes([number]) * 100)


def test_processes_share_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_put, args=(tmp_path / "e", n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    cache = EngineCache(tmp_path / "e")
    assert [cache.get({"number": str(n)}) for n in range(4)] == [bytes([n]) * 100 for n in range(4)]


def test_strange_files_in_it_are_listed_and_harm_nothing(cache: EngineCache) -> None:
    cache.put(FACTS, b"plan")
    (cache.folder / "junk.plan").write_bytes(b"\xff\x00 no line")
    assert {entry.key for entry in cache.entries()} == {cache_key(FACTS), "junk"}
    assert EngineCache(cache.folder / "never" / "made").entries() == []


def test_the_folder_is_the_users_own(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XEDGE_CACHE", str(tmp_path / "named"))
    assert default_folder() == tmp_path / "named"
    monkeypatch.delenv("XEDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "xedge" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "xedge" / "engines"
