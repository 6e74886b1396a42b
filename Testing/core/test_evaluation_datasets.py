"""Data sets as they are downloaded: made-up copies of the layouts, split by subject."""

import csv
from pathlib import Path

import pytest

from brain_inpaint_ad.errors import InputError
from brain_inpaint_ad.evaluation.cases import SHARES, split_of
from brain_inpaint_ad.evaluation.datasets import DATASETS, ICH_TYPES

LAYOUTS = {
    "ixi": [f"IXI{n:03d}-{site}-{n + 800:04d}-T1.nii.gz" for n in range(2, 40) for site in ("Guys", "HH")[n % 2 :][:1]],
    "nfbs": [
        f"NFBS_Dataset/A{n:08d}/sub-A{n:08d}_ses-NFB3_T1w{kind}.nii.gz"
        for n in range(30)
        for kind in ("", "_brain", "_brainmask")
    ],
    "brats": [
        f"MICCAI_BraTS_2018_Data_Training/{grade}/Brats18_{site}_{n}_{visit}/Brats18_{site}_{n}_{visit}_{kind}.nii.gz"
        for grade, site in (("HGG", "TCIA01"), ("LGG", "2013"))
        for n in range(10)
        for visit in (1, 2)
        for kind in ("flair", "t1", "t1ce", "t2", "seg")
    ],
    "ms": [
        f"cross_sectional/MNI/patient{n:02d}/{kind}_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz"
        for n in range(1, 31)
        for kind in ("FLAIR", "GOLD_STANDARD", "T1", "T1POST", "T2")
    ],
    "edinburgh": [
        f"{17000 + n}/{folder}/{name}.nii.gz"
        for n in range(22)
        for folder, name in (("anat", "co20101203_3D_T1"), ("anat", "co20101203_T2"), ("drawn", "T1_tumour"))
    ],
}


def made_up(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_subject_of_a_download_falls_into_one_split(name, tmp_path):
    data = made_up(tmp_path, LAYOUTS[name])
    ill = name in ("brats", "ms", "edinburgh")
    splits = {split: DATASETS[name](data, split) for split in (("validation", "test") if ill else SHARES)}
    people = {split: {case.person for case in cases} for split, cases in splits.items()}
    together = [person for members in people.values() for person in members]
    assert len(together) == len(set(together)) == {"ixi": 38, "nfbs": 30, "brats": 20, "ms": 30, "edinburgh": 22}[name]
    cases = [case for members in splits.values() for case in members]
    assert len(cases) == (40 if name == "brats" else len(together))  # two scans of each patient
    assert all((case.truth is not None) == ill for case in cases)
    assert all(case.scan.is_file() and "T1POST" not in case.scan.name and "t1ce" not in case.scan.name for case in cases)


def test_the_scan_and_its_truth_are_those_of_one_patient(tmp_path):
    for name in ("brats", "ms", "edinburgh"):
        data = made_up(tmp_path / name, LAYOUTS[name])
        for case in DATASETS[name](data, "test"):
            assert case.person.removesuffix("_1") in str(case.truth)
            assert case.truth.relative_to(data).parts[0] == case.scan.relative_to(data).parts[0]


def test_brats_of_later_years_is_read_too(tmp_path):
    files = [f"BraTS-GLI-{n:05d}-00{visit}/BraTS-GLI-{n:05d}-00{visit}-{kind}.nii.gz" for n in range(9) for visit in (0, 1)
             for kind in ("t1n", "t1c", "seg")]  # fmt: skip
    data = made_up(tmp_path, files)
    cases = [case for split in ("validation", "test") for case in DATASETS["brats"](data, split)]
    assert len(cases) == 18
    assert len({case.person for case in cases}) == 9
    assert {case.scan.name[-11:] for case in cases} == {"-t1n.nii.gz"}


def test_a_name_always_gives_the_same_split():
    assert [split_of(name, SHARES) for name in ("IXI002", "IXI012", "IXI013")] == ["test", "train", "train"]
    drawn = [split_of(str(n), SHARES) for n in range(2_000)]
    for split, share in SHARES.items():
        assert drawn.count(split) / len(drawn) == pytest.approx(share, abs=0.03)


def test_a_table_decides_where_there_is_one_and_may_not_tear_a_subject_apart(tmp_path):
    data = made_up(tmp_path, [f"Brats18_A_1_{n}/Brats18_A_1_{n}_{kind}.nii.gz" for n in (1, 2) for kind in ("t1", "seg")])
    table = data / "subjects.csv"
    table.write_text("case,split\nBrats18_A_1_1,test\nBrats18_A_1_2,test\n")
    assert [case.name for case in DATASETS["brats"](data, "test")] == ["Brats18_A_1_1", "Brats18_A_1_2"]
    table.write_text("case,split\nBrats18_A_1_1,test\nBrats18_A_1_2,validation\n")
    with pytest.raises(InputError, match="puts scans of Brats18_A_1 into two splits"):
        DATASETS["brats"](data, "test")
    table.write_text("case,split\nsomebody,test\n")
    with pytest.raises(InputError, match="the scan of somebody is missing"):
        DATASETS["brats"](data, "test")


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_folder_is_refused_in_one_sentence(name, tmp_path):
    with pytest.raises(InputError, match="holds no scan in the layout of this data set"):
        DATASETS[name](tmp_path, "test")


def test_two_scans_that_could_be_meant_are_refused(tmp_path):
    data = made_up(tmp_path, ["17/a_T1.nii", "17/b_T1.nii", "17/tumour.nii"])
    with pytest.raises(InputError, match="could both be meant"):
        DATASETS["edinburgh"](data, "test")


def made_up_ct_ich(folder: Path) -> Path:
    """Patients 049 to 078 in turn healthy, bleeding in two ways, and with a fracture alone; two slices each."""
    names = [f"{n:03d}" for n in range(49, 79)]
    made_up(folder, [f"{kind}/{name}.nii" for name in names for kind in ("ct_scans", "masks")])
    head = ["PatientNumber", "SliceNumber", *ICH_TYPES, "No_Hemorrhage", "Fracture_Yes_No"]
    rows = [head]
    for n in range(49, 79):
        bleeding = n % 3 == 1
        for number in (1, 2):
            marks = [int(bleeding and kind in ("Epidural", "Subdural") and number == 2) for kind in ICH_TYPES]
            rows.append([n, number, *marks, int(not any(marks)), int(n % 3 == 2)])
    with (folder / "hemorrhage_diagnosis_raw_ct.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def test_ct_ich_tells_healthy_heads_from_bleeding_ones_and_leaves_fractures_out(tmp_path):
    data = made_up_ct_ich(tmp_path)
    cases = {split: DATASETS["ct-ich"](data, split) for split in SHARES}
    together = [case for members in cases.values() for case in members]
    healthy = {case.name for case in together if case.truth is None}
    ill = {case.name for case in together if case.truth is not None}
    assert healthy == {f"{n:03d}" for n in range(49, 79) if n % 3 == 0}
    assert ill == {f"{n:03d}" for n in range(49, 79) if n % 3 == 1}
    assert len(together) == 20
    assert all(case.truth is None for case in cases["train"])
    assert all(case.truth.parent.name == "masks" and case.truth.name == case.scan.name for case in together if case.truth)
    assert {case.types for case in together} == {(), ("Epidural", "Subdural")}
    assert all(bool(case.types) == (case.truth is not None) for case in together)


def test_ct_ich_without_its_table_says_what_is_missing(tmp_path):
    made_up(tmp_path, ["ct_scans/049.nii"])
    with pytest.raises(InputError, match=r"hemorrhage_diagnosis_raw_ct\.csv is missing"):
        DATASETS["ct-ich"](tmp_path, "test")
