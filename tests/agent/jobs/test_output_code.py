"""Generated code works on with what its job left: fetched by the host, read in the cage."""

from __future__ import annotations

from pathlib import Path

from agent.events import RunEnded, ToolEnded
from tests.agent.living import code, done, events, living
from tests.doubles.hub import FakeHub, Job

WORK = """
done = job_run("print(1)", flavor="cpu-basic", timeout="1m")
names = [file["path"] for file in done["outputs_files"]]
kept = job_output(done["job"], names[0], save=True)
final_answer([names, open(kept["path"]).read(), job_output(done["job"], names[0])])
"""


def trains(job: Job) -> None:
    job.run()
    job.jobs.hub.buckets.put("ada/ml-intern", f"{job.body['labels']['ml-intern']}/run/metrics.json", b"loss 0.5")
    job.end(ran=30)


def test_what_a_job_left_can_be_opened_by_the_code_that_started_it(tmp_path: Path) -> None:
    with FakeHub() as hub:
        hub.jobs.plays = trains
        settings = {"hf_token": "hf_ada", "places": hub.places(), "approve": "within-budget"}
        with living(tmp_path, [code(WORK)], budget_micro_usd=2_000_000, **settings) as (session, _):
            end: RunEnded = done(session, "Train it")
            assert [call.why for call in events(session, ToolEnded)] == ["done"] * 3
            assert end.answer == "[['run/metrics.json'], 'loss 0.5', 'loss 0.5']"
            (kept,) = [name for name in end.produced if name.startswith("uploads/")]
            with session.file(kept) as file:  # and the user can download it
                assert file.read() == b"loss 0.5"
