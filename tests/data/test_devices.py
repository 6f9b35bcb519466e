"""Each user's images on several devices: a partition of the right kind, or the users that it cannot be made for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privlab import data

USERS = torch.tensor([7, 3, 7, 7, 3, 3, 7, 3, 7])
SESSIONS = torch.tensor([0, 0, 1, 1, 5, 5, 2, 6, 2])
TIMES = torch.tensor([5.0, 9.0, 1.0, 5.0, 9.0, 2.0, 3.0, 9.0, 4.0])


def as_lists(devices):
    return {(each.user, each.number): each.chosen.tolist() for each in devices}


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=60),
    how=st.sampled_from(["random", "session", "chronological"]),
    count=st.integers(2, 4),
    seed=st.integers(0, 9),
)
def test_each_image_is_on_one_device_of_its_user(rows, how, count, seed):
    users, sessions, times = (torch.tensor(column) for column in zip(*rows, strict=True))
    options = {"sessions": sessions, "times": times, "devices": count, "seed": seed}
    units = sessions if how == "session" else torch.arange(len(rows))
    if any(len(units[users == user].unique()) < count for user in users.unique()):
        with pytest.raises(ValueError, match="have too few"):
            data.devices(users, how, **options)
        return
    found = data.devices(users, how, **options)
    assert [(each.user, each.number) for each in found] == [
        (u, n) for u in users.unique().tolist() for n in range(count)
    ]
    assert sorted(torch.cat([each.chosen for each in found]).tolist()) == list(range(len(rows)))
    for each in found:
        assert len(each.chosen) > 0
        assert each.chosen.dtype == torch.int64
        assert set(users[each.chosen].tolist()) == {each.user}
    for user in users.unique().tolist():
        mine = [each.chosen for each in found if each.user == user]
        sizes = [len(chosen) for chosen in mine]
        if how != "session":
            assert max(sizes) - min(sizes) <= 1
        else:
            held = [set(sessions[chosen].tolist()) for chosen in mine]
            assert sum(map(len, held)) == len(set().union(*held))
            largest = sessions[users == user].unique(return_counts=True)[1].max()
            assert max(sizes) - min(sizes) <= largest
        if how == "chronological":
            assert times[torch.cat(mine)].tolist() == sorted(times[users == user].tolist())


def test_earlier_images_are_on_the_first_device_and_ties_keep_their_order():
    assert as_lists(data.devices(USERS, "chronological", times=TIMES)) == {
        (3, 0): [5, 1],
        (3, 1): [4, 7],
        (7, 0): [2, 6, 8],
        (7, 1): [0, 3],
    }
    assert as_lists(data.devices(USERS, "chronological", times=(TIMES * 9).long(), devices=4))[3, 3] == [7]


def test_sessions_stay_whole_and_are_shared_out_evenly():
    for seed in range(5):
        held = as_lists(data.devices(USERS, "session", sessions=SESSIONS, seed=seed))
        assert sorted(held[3, 0]) == [4, 5]
        assert sorted(held[3, 1]) == [1, 7]
        assert sorted(held[7, 0] + held[7, 1]) == [0, 2, 3, 6, 8]
        assert {len(held[7, 0]), len(held[7, 1])} == {2, 3}
    seen = {tuple(as_lists(data.devices(USERS, "session", sessions=SESSIONS, seed=s))[7, 0]) for s in range(9)}
    assert len(seen) > 1  # of equal sessions chance decides


def test_a_random_split_depends_on_its_seed_and_on_nothing_else():
    users = torch.arange(3).repeat(20)
    one, again, other = (as_lists(data.devices(users, seed=seed)) for seed in (0, 0, 1))
    assert one == again != other
    state = torch.random.get_rng_state()
    data.devices(users, times=torch.arange(60), sessions=torch.arange(60))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("how", ["random", "session", "chronological"])
def test_no_two_devices_hold_images_of_equal_content(how):
    images = torch.rand(40, 1, 3, 3)
    images[20:] = images[:20]  # each image twice: of another user, session and time
    users, sessions = torch.arange(40) // 5 % 3, torch.arange(40) % 4
    found = data.devices(users, how, sessions=sessions, times=torch.arange(40).flip(0), images=images)
    chosen = torch.cat([each.chosen for each in found])
    assert sorted(chosen.tolist()) == list(range(20))
    with pytest.raises(ValueError, match=r"1 of 2 users .*user 1 \(1 image"):
        data.devices(torch.tensor([0, 0, 1, 1]), images=torch.tensor([[1], [2], [3], [3]]))


@pytest.mark.parametrize(
    ("users", "how", "options", "words"),
    [
        (
            [1, 1, 2, 3],
            "random",
            {},
            r"2 of 3 users have too few for 2 devices of 1 images or more: user 2 \(1 image\), 3",
        ),
        ([1] * 5, "random", {"least": 3}, r"for 2 devices of 3 images or more: user 1 \(5 images\); drop them first"),
        ([1] * 5, "chronological", {"times": range(5), "devices": 6}, r"for 6 devices .*user 1 \(5 images\)"),
        ([1, 1, 2, 2], "session", {"sessions": [0, 1, 4, 4]}, r"1 of 2 users .*user 2 \(2 images of 1 session\)"),
        ([1, 1, 1], "session", {"sessions": [0, 0, 1], "least": 2}, r"user 1 \(3 images of 2 sessions\)"),
        (list(range(9)), "random", {}, r"9 of 9 users .* and 3 more; drop them"),
        ([1, 1], "session", {}, "how='session' needs sessions, which this data set may not say; give sessions="),
        ([1, 1], "chronological", {"sessions": [0, 1]}, "how='chronological' needs times"),
        ([1, 1], "chronological", {"times": [0, float("nan")]}, r"times holds values that are not finite \(NaN"),
        ([1, 1], "random", {"times": [0, 1, 2]}, "times holds 3 for 2 users; give one for each image"),
        ([1, 1], "session", {"sessions": [0]}, "sessions holds 1 for 2 users"),
        ([1, 1], "random", {"images": [[0], [1], [2]]}, "images holds 3 for 2 users"),
        ([1, 1], "by day", {}, "how='by day' is not known; choose one of random, session, chronological"),
        ([1, 1], "random", {"devices": 1}, "devices=1 is out of range; give a whole number at least 2"),
        ([1, 1], "random", {"least": 0}, "least=0 is out of range"),
    ],
)
def test_what_cannot_be_shared_out_is_said_in_words(users, how, options, words):
    given = {
        name: torch.tensor(list(v)) if name in ("sessions", "times", "images") else v for name, v in options.items()
    }
    with pytest.raises(ValueError, match=words):
        data.devices(torch.tensor(users), how, **given)


def test_users_are_numbers_one_an_image():
    with pytest.raises(ValueError, match="how='random' needs users, which this data set may not say"):
        data.devices(data.load("digits").users)
    with pytest.raises(ValueError, match="users is empty"):
        data.devices(torch.tensor([], dtype=torch.int64))
    for users in ([1, 1], torch.tensor([0.5, 1]), torch.zeros(2, 2).long()):
        with pytest.raises(TypeError, match=r"users is .*; give a tensor int64 \(N,\)"):
            data.devices(users)
    with pytest.raises(TypeError, match=r"sessions is torch.float32 of shape \(2,\); give a tensor int64 \(N,\)"):
        data.devices(torch.tensor([1, 1]), "session", sessions=torch.rand(2))


def test_every_writer_of_mnist_has_two_devices(real_data):
    found = real_data("mnist-writers")
    parts = data.devices(found.users, images=found.pixels)
    assert len(parts) == 2 * 539
    assert min(len(each.chosen) for each in parts) >= 9
    beats = real_data("mitbih")
    early, late = data.devices(beats.users, "chronological", times=beats.times)[:2]
    assert beats.times[early.chosen].max() <= beats.times[late.chosen].min()
