"""The story of a registered model, told by the unmodified MLflow client.

    python mlflow_registry.py SERVER_URL

Every step is checked by what the client reads back. Prints `ok` at the end.
"""

import os
import pathlib
import sys

url = sys.argv[1]
os.environ.update(MLFLOW_TRACKING_URI=url, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", GIT_PYTHON_REFRESH="quiet")

import mlflow
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

# A run leaves the files that the versions point to.
experiment = mlflow.set_experiment("models")
with mlflow.start_run() as run:
    mlflow.log_text("weights", "model/weights.txt")
source = f"mlflow-artifacts:/{experiment.experiment_id}/{run.info.run_id}/artifacts/model"

# Models.
model = client.create_registered_model("late_flights", tags={"team": "ops"}, description="delays")
assert (model.name, model.tags, model.description) == ("late_flights", {"team": "ops"}, "delays")
refused("RESOURCE_ALREADY_EXISTS", client.create_registered_model, "late_flights")
refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, "nothing")
refused("INVALID_PARAMETER_VALUE", client.create_registered_model, "a/b")

# Versions.
for number in range(1, 4):
    version = client.create_model_version("late_flights", source, run.info.run_id, tags={"n": str(number)}, description=f"try {number}")
    assert (int(version.version), version.current_stage, version.status, version.run_id) == (number, "None", "READY", run.info.run_id)
assert client.get_model_version_download_uri("late_flights", "1") == source
assert [v.version for v in client.get_latest_versions("late_flights")] in (["3"], [3])

# Stages.
client.transition_model_version_stage("late_flights", "1", "Production")
moved = client.transition_model_version_stage("late_flights", "2", "production", archive_existing_versions=True)
assert moved.current_stage == "Production"
assert client.get_model_version("late_flights", "1").current_stage == "Archived"
assert [int(v.version) for v in client.get_latest_versions("late_flights", ["Production"])] == [2]
refused("INVALID_PARAMETER_VALUE", client.transition_model_version_stage, "late_flights", "1", "Prod")
refused("RESOURCE_DOES_NOT_EXIST", client.transition_model_version_stage, "late_flights", "9", "Staging")

# Aliases.
client.set_registered_model_alias("late_flights", "champion", "3")
assert int(client.get_model_version_by_alias("late_flights", "champion").version) == 3
client.set_registered_model_alias("late_flights", "champion", "2")
assert client.get_model_version("late_flights", "3").aliases == []
assert {a: int(v) for a, v in client.get_registered_model("late_flights").aliases.items()} == {"champion": 2}

# References that the client resolves, down to the files.
for which in ("late_flights@champion", "late_flights/2", "late_flights/Production", "late_flights/latest"):
    folder = pathlib.Path(mlflow.artifacts.download_artifacts(f"models:/{which}"))
    assert (folder / "weights.txt").read_text() == "weights", which

# Tags, descriptions, search.
client.set_registered_model_tag("late_flights", "tier", "1")
client.delete_registered_model_tag("late_flights", "team")
assert client.get_registered_model("late_flights").tags == {"tier": "1"}
client.set_model_version_tag("late_flights", "1", "checked", "yes")
client.delete_model_version_tag("late_flights", "1", "n")
assert client.get_model_version("late_flights", "1").tags == {"checked": "yes"}
client.update_model_version("late_flights", "1", "better words")
assert client.get_model_version("late_flights", "1").description == "better words"
client.update_registered_model("late_flights", "predicts delays")
assert [m.name for m in client.search_registered_models("name LIKE 'late%' and tags.tier = '1'")] == ["late_flights"]
found = client.search_model_versions("name = 'late_flights'", order_by=["version_number ASC"])
assert [int(v.version) for v in found] == [1, 2, 3]
assert len(client.search_model_versions(f"run_id = '{run.info.run_id}'")) == 3
refused("INVALID_PARAMETER_VALUE", client.search_registered_models, "color = 'red'")
page = client.search_model_versions("name = 'late_flights'", max_results=2)
assert len(page) == 2 and page.token
assert len(client.search_model_versions("name = 'late_flights'", max_results=2, page_token=page.token)) == 1

# Renaming and deleting.
client.rename_registered_model("late_flights", "delays")
assert int(client.get_model_version_by_alias("delays", "champion").version) == 2
client.delete_registered_model_alias("delays", "champion")
refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version_by_alias, "delays", "champion")
client.delete_model_version("delays", "3")
refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version, "delays", "3")
client.delete_registered_model("delays")
assert client.search_registered_models() == []
print("ok")
