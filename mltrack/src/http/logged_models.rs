//! `/mlflow/logged-models/…`: models as things of their own, which this tracker does not keep yet.

use boathouse_base::ErrorKind;
use boathouse_mlwire::{HttpError, HttpResult, WireRequest, empty};

/// There are none, so none is found. The client asks this whenever it lists a folder of a run.
pub(super) async fn search(WireRequest(params): WireRequest) -> HttpResult {
    params.texts("experiment_ids")?;
    params.max_results(50, 100)?;
    Ok(empty())
}

/// **Errors**: always 501, with what to do instead.
pub(super) async fn create() -> HttpResult {
    let message = "create a logged model: this server does not keep logged models; log the files of the model as artifacts of the run, \
                   and register them with their `runs:/` or `mlflow-artifacts:/` location";
    Err(HttpError::new(ErrorKind::Unsupported, message))
}
