"""The story of a run, told by the unmodified MLflow client.

    python mlflow_tracking.py SERVER_URL

Every step is checked by what the client reads back. Prints `ok` at the end.
"""

import math
import os
import pathlib
import sys
import tempfile
import time

url = sys.argv[1]
os.environ.update(MLFLOW_TRACKING_URI=url, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_ENABLE_ASYNC_LOGGING="false", GIT_PYTHON_REFRESH="quiet")

import mlflow
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient


def refused(code, call, *args, **kwargs):
    """The call fails with this code; gives its message."""
    try:
        call(*args, **kwargs)
    except MlflowException as error:
        assert error.error_code == code, (error.error_code, error)
        return str(error)
    raise AssertionError(f"{call} was not refused with {code}")


client = MlflowClient()

# Experiments.
experiment = mlflow.set_experiment("late flights")
assert mlflow.set_experiment("late flights").experiment_id == experiment.experiment_id
assert experiment.artifact_location == f"mlflow-artifacts:/{experiment.experiment_id}", experiment
client.set_experiment_tag(experiment.experiment_id, "team", "ops")
assert client.get_experiment(experiment.experiment_id).tags["team"] == "ops"
found = mlflow.search_experiments(filter_string="tags.team = 'ops' AND name LIKE 'late%'")
assert [e.name for e in found] == ["late flights"], found
refused("RESOURCE_ALREADY_EXISTS", client.create_experiment, "late flights")
refused("RESOURCE_DOES_NOT_EXIST", client.get_experiment, "999999")

# A run and what it logs.
with mlflow.start_run(run_name="logistic", tags={"kind": "baseline"}, description="first try") as run:
    run_id = run.info.run_id
    mlflow.log_param("l2", 0.1)
    mlflow.log_params({"solver": "lbfgs", "features": "route, hour"})
    for step in range(5):
        mlflow.log_metric("auc", 0.6 + step / 100, step=step)
    mlflow.log_metrics({"loss": 0.5, "nan": float("nan"), "inf": float("inf")}, step=4)
    mlflow.set_tag("note", "it's \"quoted\" — and ünïcode")
    mlflow.set_tags({"a": "1", "b": "2"})
    mlflow.log_text("hello", "notes/read me.txt")
    mlflow.log_dict({"threshold": 0.5}, "config.json")
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "sub").mkdir()
        (pathlib.Path(folder) / "sub" / "weights.bin").write_bytes(os.urandom(3_000_000))
        weights = (pathlib.Path(folder) / "sub" / "weights.bin").read_bytes()
        mlflow.log_artifacts(folder, "model")
        mlflow.log_artifact(pathlib.Path(folder) / "sub" / "weights.bin")
    assert mlflow.get_artifact_uri() == f"mlflow-artifacts:/{experiment.experiment_id}/{run_id}/artifacts"

run = mlflow.get_run(run_id)
assert (run.info.status, run.info.run_name) == ("FINISHED", "logistic"), run.info
assert run.info.end_time >= run.info.start_time
assert run.data.params == {"l2": "0.1", "solver": "lbfgs", "features": "route, hour"}, run.data.params
assert run.data.metrics["auc"] == 0.64 and run.data.metrics["inf"] == math.inf and math.isnan(run.data.metrics["nan"])
assert run.data.tags["note"] == "it's \"quoted\" — and ünïcode"
assert run.data.tags["mlflow.note.content"] == "first try"
assert [(m.step, m.value) for m in client.get_metric_history(run_id, "auc")] == [(s, 0.6 + s / 100) for s in range(5)]

# Artifacts come back as they went.
assert sorted(f.path for f in client.list_artifacts(run_id)) == ["config.json", "model", "notes", "weights.bin"]
assert [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run_id, "model/sub")] == [("model/sub/weights.bin", False, 3_000_000)]
assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes/read me.txt") == "hello"
assert mlflow.artifacts.load_dict(f"runs:/{run_id}/config.json") == {"threshold": 0.5}
folder = pathlib.Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/model"))
assert (folder / "sub" / "weights.bin").read_bytes() == weights
client.delete_tag(run_id, "a")
assert "a" not in client.get_run(run_id).data.tags

# What must be refused.
assert "Changing param values is not allowed" in refused("INVALID_PARAMETER_VALUE", client.log_param, run_id, "l2", "0.2")
client.log_param(run_id, "l2", "0.1")
refused("RESOURCE_DOES_NOT_EXIST", client.get_run, "0" * 32)
refused("INVALID_PARAMETER_VALUE", client.search_runs, [experiment.experiment_id], "metrics.auc ~ 3")

# Batches, histories in pages, and a failed run.
now = int(time.time() * 1000)
other = client.create_run(experiment.experiment_id, run_name="tree", start_time=now)
client.log_batch(
    other.info.run_id,
    metrics=[Metric("auc", i / 1000, now, i) for i in range(800)],
    params=[Param(f"p{i}", str(i)) for i in range(90)],
    tags=[RunTag("kind", "candidate")],
)
assert len(client.get_metric_history(other.info.run_id, "auc")) == 800
client.set_terminated(other.info.run_id, status="FAILED")
try:
    with mlflow.start_run(run_name="breaks"):
        raise ValueError("on purpose")
except ValueError:
    pass

# Search: filters, orders, pages, views.
def names(filter_string="", order_by=None, **kwargs):
    found = client.search_runs([experiment.experiment_id], filter_string, order_by=order_by, **kwargs)
    return [r.info.run_name for r in found]


assert names(order_by=["metrics.auc DESC"]) == ["tree", "logistic", "breaks"]
assert names("metrics.auc > 0.63 and metrics.auc < 0.7") == ["logistic"]
assert names("params.l2 = '0.1' AND tags.kind LIKE 'base%'") == ["logistic"]
assert sorted(names("attributes.status = 'FAILED'")) == ["breaks", "tree"]
assert names("run_name ILIKE 'LOG%' and tags.`a` IS NULL") == ["logistic"]
assert names(f"attributes.run_id IN ('{run_id}')") == ["logistic"]
page = client.search_runs([experiment.experiment_id], max_results=2)
assert len(page) == 2 and page.token
assert len(client.search_runs([experiment.experiment_id], max_results=2, page_token=page.token)) == 1
client.delete_run(other.info.run_id)
assert "tree" not in names()
assert names(run_view_type=ViewType.DELETED_ONLY) == ["tree"]
client.restore_run(other.info.run_id)
assert "tree" in names()

# Datasets that a run read.
from mlflow.entities import Dataset, DatasetInput, InputTag

dataset = Dataset(name="silver", digest="v12", source_type="delta_table", source='{"path": "lake/silver"}', schema="{}", profile="{}")
client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
[found] = client.get_run(run_id).inputs.dataset_inputs
assert (found.dataset.name, found.dataset.digest, found.tags[0].value) == ("silver", "v12", "training")
assert names("dataset.name = 'silver' AND dataset.context = 'training'") == ["logistic"]

# Renaming, and an experiment that goes and comes back.
client.update_run(run_id, name="logistic 2")
assert client.get_run(run_id).data.tags["mlflow.runName"] == "logistic 2"
client.rename_experiment(experiment.experiment_id, "late flights 2013")
client.delete_experiment(experiment.experiment_id)
assert client.get_experiment(experiment.experiment_id).lifecycle_stage == "deleted"
client.restore_experiment(experiment.experiment_id)
assert client.get_experiment_by_name("late flights 2013").lifecycle_stage == "active"
print("ok")
