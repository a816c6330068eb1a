"""docs/architecture.md: every decision that it tells has a test that proves it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")

PROOFS = {
    "One import name, folders at the top": [
        "tests/unit/test_structure.py::test_nobody_imports_our_folders_by_their_bare_names",
        "tests/packaging/test_installed.py::test_a_search_where_everything_has_a_name_of_ours",
    ],
    "A ledger instead of Ray's experiment state": [
        "tests/ray/test_faults.py::test_the_command_can_be_killed_twice_and_run_again",
        "tests/unit/trainables/test_trainable.py"
        "::test_a_restarted_trial_repeats_its_last_result_once_and_goes_on",
    ],
    "Your own Ray Tune code runs inside a trial of ours": [
        "tests/ray/test_user_code.py::test_killed_and_run_again",
        "tests/ray/test_libraries.py::test_a_library",
    ],
    "Trial folders of our own": [
        "tests/browser/test_tensorboard.py"
        "::test_hparams_has_a_row_a_trial_also_after_a_resume_and_an_extension"
    ],
    "ASHA in trial order": [
        "tests/unit/cluster/search/test_halving.py::test_the_order_of_arrival_changes_no_decision",
        "tests/unit/cluster/search/test_halving.py"
        "::test_the_first_trial_always_finishes_however_bad",
        "tests/unit/cluster/search/test_asha.py"
        "::test_after_a_crash_at_any_moment_the_outcome_is_the_same",
    ],
    "A pause is an end to Ray": [
        "tests/unit/cluster/search/curves/test_plan.py"
        "::test_a_ledger_that_is_cut_off_anywhere_becomes_the_same_again",
        "tests/unit/cluster/search/curves/test_plan.py"
        "::test_with_several_workers_every_decision_follows_from_what_stands_above_it",
        "tests/ray/test_curves.py::test_a_killed_search_ends_with_the_same_table",
    ],
    "A pack is one of Ray Tune's trials and several of ours": [
        "tests/unit/trainables/test_pack_trainable.py"
        "::test_a_pack_can_be_taken_apart_between_any_two_epochs",
        "tests/ray/test_search.py"
        "::test_packed_trials_have_the_table_of_single_ones_also_resumed_without_packs",
    ],
    "Several objectives at once": [
        "tests/unit/cluster/search/test_objectives.py"
        "::test_a_search_that_broke_off_goes_on_as_if_it_had_not",
        "tests/unit/cluster/search/test_pareto_halving.py"
        "::test_the_order_of_arrival_changes_no_decision",
        "tests/unit/analysis/pareto/test_front.py"
        "::test_a_hypervolume_is_the_number_of_unit_cells_that_are_dominated",
    ],
    "A warm start is copied into the run": [
        "tests/unit/cluster/search/test_warm_start.py"
        "::test_a_resumed_search_goes_on_alike_without_the_earlier_run"
    ],
    "One definition of a space": [
        "tests/unit/search_spaces/test_spaces.py::test_a_sample_is_a_pure_function_of_its_seed",
        "tests/unit/search_spaces/test_spaces.py"
        "::test_a_grid_repeats_nothing_and_has_both_ends_and_every_choice",
    ],
    "Failures of a model are results": [
        "tests/ray/test_search.py::test_a_failed_trial_is_shown_and_the_others_go_on",
        "tests/unit/cluster/search/test_lost_nodes.py::test_what_counts",
    ],
    "The model and the loop are two classes": [
        "tests/unit/trainables/test_learners.py::test_an_epoch_reports_the_declared_metrics"
    ],
    "L2 is added to the gradient": [
        "tests/unit/trainables/test_penalties.py::test_the_gradient_is_that_of_the_penalised_loss"
    ],
    "Everything random in an epoch is seeded from (seed, epoch)": [
        "tests/unit/trainables/test_learners.py"
        "::test_a_resumed_training_equals_one_that_never_stopped"
    ],
    "Promises are proved on the model at hand": [
        "tests/unit/cluster/check/test_check.py::test_a_broken_promise_fails_on_its_line_alone",
        "tests/unit/cluster/check/test_check.py::test_every_built_in_model_keeps_every_promise",
    ],
    "One model in several processes": [
        "tests/ray/workers/test_data_parallel.py::test_a_killed_worker_costs_no_epoch_and_changes_nothing"
    ],
    "A trial in several processes takes all its places or none": [
        "tests/ray/workers/test_shared_trials.py"
        "::test_trials_of_two_processes_fill_the_cluster_and_have_the_table_of_single_ones",
        "tests/ray/workers/test_shared_trials.py::test_a_lost_process_costs_no_epoch",
        "tests/ray/workers/test_shared_trials.py::test_an_error_in_one_process_fails_its_trial_alone",
    ],
    "A space can shape another one": [
        "tests/unit/search_spaces/test_spaces.py"
        "::test_a_space_that_comes_first_shapes_what_the_others_ask"
    ],
    "A space covers what has its fields": [
        "tests/unit/search_spaces/test_fields.py"
        "::test_fields_bring_their_spaces_and_keep_their_limits",
        "tests/unit/search_spaces/test_suggested_values.py"
        "::test_the_values_are_those_that_were_recorded",
    ],
    "A learner says how it is asked": [
        "tests/unit/cluster/models/test_predict_own.py::test_which_families_are_asked_and_how",
    ],
    "Packages add names by entry points": [
        "tests/packaging/test_plugins.py::test_a_search_of_the_packages_own",
        "tests/packaging/test_plugins.py::test_built_in_names_win_and_that_is_said",
        "tests/packaging/test_plugins.py::test_the_names_alone_import_no_pytorch",
    ],
    "Tokens by default": [
        "tests/ray/test_ray_private.py::test_a_local_session_listens_at_the_loopback_address_alone"
    ],
    "Object stores get a second chance": [
        "tests/cluster/test_object_store.py"
        "::test_a_store_that_fails_now_and_then_and_one_that_stays_down"
    ],
    "Before a job, every node is checked": [
        "tests/cluster/test_preflight.py::test_a_node_with_another_torch_is_named",
        "tests/cluster/test_faults.py"
        "::test_a_feature_job_loses_a_host_and_a_training_uses_what_it_made",
    ],
    "What mattered is estimated from all trials, stopped ones too": [
        "tests/unit/analysis/report/test_report.py"
        "::test_what_was_planted_is_named_and_nothing_else_over_20_seeds",
        "tests/unit/analysis/effects/test_effects.py"
        "::test_of_thousands_of_trials_300_evenly_spaced_ones_are_estimated_from",
    ],
    "A report is made from the table alone": [
        "tests/unit/analysis/report/test_report.py::test_the_page_needs_the_table_alone"
    ],
    "Commands that only look at a run change nothing": [
        "tests/unit/cluster/runs/test_run_views.py"
        "::test_a_run_in_an_object_store_is_followed_without_writing_to_it"
    ],
    "The shards are the record of a feature job": [
        "tests/ray/test_features.py::test_the_same_command_again_does_nothing"
    ],
}


def test_every_decision_has_its_proof() -> None:
    decisions = PAGE.partition("## Decisions")[2].partition("\n## ")[0]
    assert re.findall(r"^### (.+)$", decisions, flags=re.MULTILINE) == list(PROOFS)


@pytest.mark.parametrize("decision", PROOFS)
def test_the_proof_exists(decision: str) -> None:
    for proof in PROOFS[decision]:
        path, _, name = proof.partition("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), proof


def test_no_module_unpickles_weights() -> None:
    for folder in ("analysis", "cluster", "core", "data", "search_spaces", "trainables"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "allow_pickle=True" not in text, path
            for call in re.findall(r"(?:torch\.load|pickle\.loads?)\([^\n]*", text):
                safe = "weights_only=True" in call
                # What was written a moment ago: Ray's exception of a trial, a job of `check`.
                own = path.as_posix().endswith(("ray_private.py", "check/worker.py"))
                assert safe or (own and call.startswith("pickle.loads(")), call


def test_the_settings_of_ray_can_be_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    import raysweep.cluster

    assert "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS" in PAGE
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "0")
    monkeypatch.delenv("TUNE_PRINT_ALL_TRIAL_ERRORS", raising=False)
    importlib.reload(raysweep.cluster)
    import os

    assert os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "0"
    assert os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] == "0"


def test_numbers_on_the_page_are_those_of_the_code() -> None:
    from raysweep.analysis.effects import estimate
    from raysweep.cluster.machines.session import RETRIES

    assert f"From {estimate.MIN_TRIALS} trials\non; of more than {estimate._MAX_TRIALS}" in PAGE
    assert RETRIES == 3
    assert "restarted by Ray up to three times" in PAGE
