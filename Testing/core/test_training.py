"""Training: who is trained on, what is erased, and that a resumed run is the run that was never cut."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import brain_inpaint_ad as ad
from brain_inpaint_ad.training import loop
from brain_inpaint_ad.training.data import Slices, draw_batch, find_subjects
from brain_inpaint_ad.training.erase import around, erase, paste, sample_windows
from brain_inpaint_ad.training.inpainting import InpaintingSettings, build, train, training_step
from brain_inpaint_ad.training.inspection import sharpness
from brain_inpaint_ad.training.losses import critic_loss, fool_loss, l1_inside
from brain_inpaint_ad.weights.store import load_generator, load_model

SMALL = InpaintingSettings(width=2, depth=2, spacing_mm=4.0, batch=2)


@pytest.fixture(scope="module")
def some_prepared_scans(a_healthy_folder, tmp_path_factory):
    """What the first run leaves in its cache; preparing is not what these tests are about."""
    run = tmp_path_factory.mktemp("first") / "run"
    train(a_healthy_folder, run, settings=SMALL, iterations=1, device="cpu")
    return run / "prepared"


@pytest.fixture
def a_run_folder(some_prepared_scans, tmp_path):
    shutil.copytree(some_prepared_scans, tmp_path / "run" / "prepared")
    return tmp_path / "run"


def test_windows_lie_inside_the_slice_and_hold_their_brain_voxel():
    brain = torch.zeros(64, 20, 16, dtype=torch.bool)
    brain[:, 0, 15] = brain[:, 12, 4] = True
    window = sample_windows(brain, 6, torch.Generator().manual_seed(0))
    assert (window.sum(dim=(1, 2, 3)) == 36).all()
    assert ((window[:, 0] * brain).sum(dim=(1, 2)) >= 1).all()
    corner_hit = (window[:, 0, 0, 15] == 1).float().mean()
    assert 0.2 < corner_hit < 0.8  # both brain voxels get their turn


def test_erasing_hides_the_window_and_pasting_brings_back_only_the_window():
    image = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    window = sample_windows(torch.ones(3, 16, 16, dtype=torch.bool), 5, torch.Generator().manual_seed(1))
    erased = erase(image, window)
    assert (erased[:, :1][window.bool()] == 0).all()
    torch.testing.assert_close(erased[:, 1:], window)
    filled = torch.full_like(image, 0.5)
    pasted = paste(filled, image, window)
    assert (pasted[window.bool()] == 0.5).all()
    assert torch.equal(pasted[~window.bool()], image[~window.bool()])


def test_the_critic_sees_the_window_with_its_surroundings():
    image = torch.arange(400.0).reshape(1, 1, 20, 20)
    window = torch.zeros(1, 1, 20, 20)
    window[:, :, 8:12, 0:4] = 1
    torch.testing.assert_close(around(image, window), image[:, :, 6:14, 0:8])  # pushed inside at the left border


def test_l1_counts_the_window_only():
    image, window = torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    window[:, :, 2:4, 2:4] = 1
    filled = torch.full_like(image, 9.0)
    filled[window.bool()] = 0.25
    assert l1_inside(filled, image, window).item() == pytest.approx(0.25)


def test_the_two_players_pull_in_opposite_directions():
    fooled, caught = torch.full((4,), 3.0), torch.full((4,), -3.0)
    assert fool_loss(fooled) < fool_loss(caught)  # G wants D to believe
    assert critic_loss(fooled, caught) < critic_loss(caught, fooled)  # D wants real high, fake low


@pytest.mark.parametrize(("moving", "still"), [("generator", "critic"), ("critic", "generator")])
def test_each_player_learns_from_its_own_loss_alone(moving, still):
    """With the other's rate at 0, a step leaves the other's weights where they are."""
    settings = replace(SMALL, **{f"rate_{still}": 0.0})
    nets = build(settings, torch.device("cpu"))
    players = {"generator": nets.generator, "critic": nets.critic}
    before = {name: [p.detach().clone() for p in net.parameters()] for name, net in players.items()}
    image = torch.rand(2, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    window = sample_windows(torch.ones(2, 64, 48, dtype=torch.bool), 8, torch.Generator().manual_seed(0))
    losses = training_step(nets, image, window, settings)
    moved = {
        name: any(not torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True))
        for name, net in players.items()
    }
    assert moved == {moving: True, still: False}
    assert set(losses) == {"rebuild", "fool", "critic"}


def test_training_lowers_the_loss_on_one_slice():
    settings = InpaintingSettings(width=4, depth=2, spacing_mm=4.0, rate_generator=1e-2)
    nets = build(settings, torch.device("cpu"))
    rows = torch.linspace(0, 1, 64)[:, None].expand(64, 48)
    image = rows.expand(4, 1, 64, 48).clone()
    brain = torch.ones(4, 64, 48, dtype=torch.bool)
    losses = [
        training_step(nets, image, sample_windows(brain, 8, loop.generator_of(0, i)), settings)["rebuild"].item()
        for i in range(60)
    ]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_batches_are_drawn_from_the_seed_alone():
    slices = Slices(torch.rand(9, 32, 24).half(), torch.ones(9, 32, 24, dtype=torch.bool))
    first, second, other = (draw_batch(slices, 4, loop.generator_of(seed, 7))[0] for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert 0 <= first.min() <= first.max() <= 1


def test_a_resumed_run_gives_the_weights_of_one_that_was_never_cut(a_healthy_folder, a_run_folder, tmp_path):
    whole, cut = a_run_folder, tmp_path / "cut"
    shutil.copytree(whole / "prepared", cut / "prepared")
    assert train(a_healthy_folder, whole, settings=SMALL, iterations=6, device="cpu") == 6
    assert train(a_healthy_folder, cut, settings=SMALL, iterations=2, device="cpu") == 2
    assert train(a_healthy_folder, cut, settings=SMALL, iterations=6, device="cpu", resume=True) == 6
    weights = [torch.load(run / loop.CHECKPOINT, weights_only=True)["nets"] for run in (whole, cut)]
    for name in ("generator", "critic"):
        for key, value in weights[0][name].items():
            assert torch.equal(value, weights[1][name][key]), key


def test_training_leaves_weights_card_picture_and_curves(a_healthy_folder, a_run_folder):
    train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=2, device="cpu", name="mine", data_note="phantoms")
    generator, card = load_model(str(a_run_folder / "generator.safetensors"))
    assert generator.settings.width == card.width == 2
    assert card.name == "mine"
    assert card.training["iterations"] == 2
    assert card.training["data"] == "phantoms"
    assert card.training["subjects"] == {"train": ["a1", "b2"], "validation": ["c3"]}
    assert card.healthy_validation["psnr_inside_db"] > 0
    assert (a_run_folder / "samples.png").stat().st_size > 1000
    assert list((a_run_folder / "tensorboard").iterdir())
    assert json.loads((a_run_folder / "run.json").read_text())["subjects"]["c3"] == "validation"


def test_one_network_for_several_windows_learns_all_and_says_so(a_healthy_folder, a_run_folder):
    train(a_healthy_folder, a_run_folder, settings=replace(SMALL, other_windows_mm=(64, 16)), iterations=2, device="cpu")
    card = load_model(str(a_run_folder / "generator.safetensors"))[1]
    assert card.sizes_mm == [32, 16, 64]
    assert "tried and rejected" in card.description
    figures = [card.at(size).healthy_validation["psnr_inside_db"] for size in card.sizes_mm]
    assert len(set(figures)) == 3


def test_the_windows_of_one_network_are_drawn_evenly_and_those_of_one_size_draw_nothing():
    several = InpaintingSettings(window_mm=32, other_windows_mm=(8, 16, 64))
    drawn = [several.draw_pixels(loop.generator_of(0, i)) for i in range(400)]
    assert {size: drawn.count(size) for size in set(drawn)} == pytest.approx({4: 100, 8: 100, 16: 100, 32: 100}, abs=30)
    rng = torch.Generator().manual_seed(0)
    before = rng.get_state()
    assert InpaintingSettings(window_mm=16).draw_pixels(rng) == 8
    assert torch.equal(before, rng.get_state())


def test_without_weight_the_critic_moves_the_generator_no_more():
    image = torch.rand(2, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    window = sample_windows(torch.ones(2, 64, 48, dtype=torch.bool), 8, torch.Generator().manual_seed(0))

    def trained(weight: float, critic_seed: int) -> list[torch.Tensor]:
        settings = replace(SMALL, fool_weight=weight)
        nets = build(settings, torch.device("cpu"))
        other = build(replace(settings, seed=critic_seed), torch.device("cpu"))
        training_step(replace(nets, critic=other.critic), image, window, settings)
        return [parameter.detach() for parameter in nets.generator.parameters()]

    def equal(weight: float) -> bool:
        return all(torch.equal(a, b) for a, b in zip(trained(weight, 1), trained(weight, 2), strict=True))

    assert equal(0.0)
    assert not equal(1.0)


def test_sharpness_is_the_ratio_of_steps_inside_the_window_and_the_brain():
    image = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    inside = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    inside[:, :, 4:12, 4:12] = True
    elsewhere = torch.where(inside, image, torch.full_like(image, 7.0))
    assert sharpness(image, image, inside) == 1
    assert sharpness(elsewhere, image, inside) == 1  # what lies outside, and the seam, do not count
    assert sharpness(0.5 + 0.25 * image, image, inside) == pytest.approx(0.25)
    assert sharpness(torch.zeros_like(image), image, inside) == 0


def test_max_minutes_ends_a_run_that_can_be_resumed(a_healthy_folder, a_run_folder):
    done = train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=10**6, max_minutes=0.02, device="cpu")
    assert 0 < done < 10**6
    assert train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=done + 1, device="cpu", resume=True) == done + 1


def test_minutes_that_preparing_takes_leave_one_iteration_and_a_run_that_can_be_resumed(a_healthy_folder, a_run_folder):
    assert train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=9, max_minutes=1e-6, device="cpu") == 1
    again = train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=9, max_minutes=1e-6, device="cpu", resume=True)
    assert again == 2  # and so every call comes further
    assert train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=3, device="cpu", resume=True) == 3


def test_progress_goes_by_the_clock_where_the_clock_ends_the_run(tmp_path):
    told: list[float] = []
    net = torch.nn.Linear(1, 1)
    state = loop.State({"net": net}, {}, {})
    clock = loop.LoopSettings(iterations=10**9, max_minutes=0.01)
    done = loop.run(
        state,
        lambda _: {},
        clock,
        folder=tmp_path,
        logger=SimpleNamespace(add_scalar=lambda *_: None),
        inspect=lambda _: None,
        progress=lambda fraction, _: told.append(fraction),
    )
    assert done / 10**9 < 0.1 < 0.9 < max(told) <= 1
    assert told == sorted(told)


def test_cancel_keeps_a_checkpoint(a_healthy_folder, a_run_folder):
    def cancel_late(fraction: float, stage: str) -> None:
        if stage.startswith("iteration 50 "):
            raise ad.Cancelled("enough")

    with pytest.raises(ad.Cancelled):
        train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=200, device="cpu", progress=cancel_late)
    assert torch.load(a_run_folder / loop.CHECKPOINT, weights_only=True)["iteration"] == 50


def test_a_run_is_not_overwritten_and_other_settings_do_not_resume_it(a_healthy_folder, a_run_folder):
    run = a_run_folder
    with pytest.raises(ad.TrainingError, match="no checkpoint to resume"):
        train(a_healthy_folder, run, settings=SMALL, iterations=1, device="cpu", resume=True)
    train(a_healthy_folder, run, settings=SMALL, iterations=1, device="cpu")
    with pytest.raises(ad.TrainingError, match="already holds a training run"):
        train(a_healthy_folder, run, settings=SMALL, iterations=2, device="cpu")
    other = InpaintingSettings(width=2, depth=2, spacing_mm=4.0, batch=2, seed=1)
    with pytest.raises(ad.TrainingError, match=r"other settings .*seed: 0 there, 1 asked"):
        train(a_healthy_folder, run, settings=other, iterations=2, device="cpu", resume=True)


def test_a_checkpoint_without_a_start_is_one_with_an_empty_start_and_another_start_is_named(tmp_path):
    def state(**settings):
        return loop.State({}, {}, settings)

    path, one, two = tmp_path / loop.CHECKPOINT, {"name": "one", "sha256": "1" * 64}, {"name": "two", "sha256": "2" * 64}
    loop.save(state(width=2), 7, path)
    assert loop.load(state(width=2, start_from={}), path) == loop.load(state(width=2, start_from=None), path) == 7
    with pytest.raises(ad.TrainingError, match=r"start_from: no model there, one \(11111111\) asked"):
        loop.load(state(width=2, start_from=one), path)
    loop.save(state(width=2, start_from=one), 7, path)
    with pytest.raises(ad.TrainingError, match=r"start_from: one \(11111111\) there, two \(22222222\) asked"):
        loop.load(state(width=2, start_from=two), path)


def test_a_started_generator_has_the_given_weights_and_may_have_fewer_levels(a_tiny_model):
    start, _ = load_generator(str(a_tiny_model))
    for depth in (2, 1):
        settings = replace(SMALL, depth=depth, seed=9)
        weights = build(settings, torch.device("cpu"), start=start).generator.state_dict()
        fresh = build(settings, torch.device("cpu")).generator.state_dict()
        assert all(torch.equal(value, start.state_dict()[key]) for key, value in weights.items())
        assert not all(torch.equal(value, fresh[key]) for key, value in weights.items())


def test_options_are_obeyed_by_the_command_and_stand_in_the_card(a_healthy_folder, a_tiny_model, tmp_path, run_cli):
    options = ("--start-from", a_tiny_model, "--width", 2, "--depth", 1, "--iterations", 1, "--device", "cpu")
    windows = ("--window-mm", 32, "--window-mm", 64, "--window-mm", 16, "--fool-weight", 0.5)
    answer = run_cli("train", "inpainting", "--data", a_healthy_folder, "--out", tmp_path / "run", *options, *windows)
    assert answer.code == 0, answer.err
    generator, card = load_generator(str(tmp_path / "run" / "generator.safetensors"))
    start, origin = load_generator(str(a_tiny_model))
    assert card.training["start_from"] == {"name": "tiny", "sha256": origin.sha256}
    assert generator.settings.depth == card.depth == 1
    assert card.sizes_mm == [32, 16, 64]
    told = card.training["settings"]
    assert (told["window_mm"], told["other_windows_mm"], told["fool_weight"]) == (32, [64, 16], 0.5)
    for key, value in generator.named_parameters():  # one step of 1e-4 with Adam, and half precision
        torch.testing.assert_close(value, start.get_parameter(key), rtol=2e-3, atol=3e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--depth", 9), "depth must be 1 to 4"),
        (("--width", 0), "width must be at least 1"),
        (("--width", 4, "--max-width", 2), "no level may have more than 2 channels, but the first has 4"),
        (("--start-from", "nope"), "nope"),
        (("--start-from", "t1-loss-32mm"), "is no generator"),
        (
            ("--start-from", "tiny", "--width", 4, "--depth", 2),
            "4 + 8 + 16 channels by level cannot start",
        ),
        (
            ("--start-from", "tiny", "--width", 2, "--depth", 3),
            "2 + 4 + 8 + 16 channels by level cannot start",
        ),
    ],
)
def test_settings_refused_by_the_command_leave_no_folder(options, sentence, a_healthy_folder, a_tiny_model, tmp_path, run_cli):
    words = [a_tiny_model if word == "tiny" else word for word in options]
    answer = run_cli("train", "inpainting", "--data", a_healthy_folder, "--out", tmp_path / "run", *words)
    assert answer.code == 1
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_named(a_healthy_folder, a_run_folder):
    train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=1, device="cpu")
    checkpoint = a_run_folder / loop.CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ad.TrainingError, match="no usable checkpoint"):
        train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=2, device="cpu", resume=True)


def test_a_run_is_not_resumed_with_other_subjects(a_healthy_folder, a_run_folder, tmp_path):
    train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=1, device="cpu")
    table = tmp_path / "other.csv"
    table.write_text("scan,split\nb2,train\nc3,validation\n")
    with pytest.raises(ad.TrainingError, match="other subjects"):
        train(a_healthy_folder, a_run_folder, settings=SMALL, iterations=2, resume=True, subjects=table, device="cpu")
    assert "a1" in json.loads((a_run_folder / "run.json").read_text())["subjects"]


def test_a_name_that_begins_another_takes_its_own_file_only(tmp_path):
    for name in ("sub-1_T1.nii.gz", "sub-10_T1.nii.gz"):
        (tmp_path / name).touch()
    (tmp_path / "subjects.csv").write_text("scan,split\nsub-1,train\nsub-10,test\nsub-2,test\n")
    found = {subject.name: (subject.path.name, subject.split) for subject in find_subjects(tmp_path)}
    assert found == {"sub-1": ("sub-1_T1.nii.gz", "train"), "sub-10": ("sub-10_T1.nii.gz", "test")}


@pytest.mark.parametrize("bad", [{"iterations": 0}, {"iterations": 1, "max_minutes": 0.0}])
def test_a_run_of_no_length_is_refused(bad):
    with pytest.raises(ad.SettingsError, match=r"needed|above 0"):
        loop.LoopSettings(**bad)


def test_subjects_come_with_their_split_and_absent_scans_are_left_out(a_healthy_folder):
    assert [(s.name, s.split) for s in find_subjects(a_healthy_folder)] == [
        ("a1", "train"),
        ("b2", "train"),
        ("c3", "validation"),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("scan,split\na1,train\na1,test\n", "twice"),
        ("scan,split\na1,learn\n", "must be one of"),
        ("scan,group\na1,train\n", "column named split"),
        ("scan,split\nzz,train\n", "none of the 1 scans"),
        ("scan,split\na1,train\n", "no scans in the split validation"),
    ],
)
def test_a_table_that_could_leak_or_cannot_be_read_is_refused(a_healthy_folder, tmp_path, text, complaint):
    table = tmp_path / "table.csv"
    table.write_text(text)
    with pytest.raises(ad.BrainInpaintError, match=complaint):
        train(a_healthy_folder, tmp_path / "run", settings=SMALL, iterations=1, subjects=table, device="cpu")


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"window_mm": 20}, "one of"),
        ({"other_windows_mm": (8, 20)}, "one of"),
        ({"other_windows_mm": (8, 32)}, "32 mm is named twice"),
        ({"fool_weight": -1.0}, "0 or more"),
        ({"fool_weight": float("nan")}, "0 or more"),
    ],
)
def test_windows_the_paper_does_not_know_and_weights_that_make_no_sense_are_refused(bad, sentence):
    with pytest.raises(ad.SettingsError, match=sentence):
        InpaintingSettings(**bad)
