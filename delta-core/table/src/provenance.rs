//! Who wrote a commit, as platforms around Spark say it.

use boathouse_delta_protocol::action::CommitInfo;
use serde_json::{Map, Value};

/// Who wrote a commit, and from where. Platforms around Spark fill it in; other writers leave it out.
///
/// **Source**: the reference implementation, `DeltaHistory`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Provenance {
    /// The user's id.
    pub user_id: Option<String>,
    /// The user's name.
    pub user_name: Option<String>,
    /// The scheduled job that wrote it.
    pub job: Option<CommitJob>,
    /// The notebook in which it was written.
    pub notebook_id: Option<String>,
    /// The cluster on which it was written.
    pub cluster_id: Option<String>,
}

/// A scheduled job that wrote a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CommitJob {
    /// Its id.
    pub job_id: Option<String>,
    /// Its name.
    pub job_name: Option<String>,
    /// This run of the job.
    pub job_run_id: Option<String>,
    /// This run of the task.
    pub run_id: Option<String>,
    /// Whose it is.
    pub job_owner_id: Option<String>,
    /// What started it.
    pub trigger_type: Option<String>,
}

impl Provenance {
    pub(crate) fn of(info: &CommitInfo) -> Self {
        let facts = &info.extra;
        let job = facts.get("job").and_then(Value::as_object).map(|job| CommitJob {
            job_id: text(job, "jobId"),
            job_name: text(job, "jobName"),
            job_run_id: text(job, "jobRunId"),
            run_id: text(job, "runId"),
            job_owner_id: text(job, "jobOwnerId"),
            trigger_type: text(job, "triggerType"),
        });
        Self {
            user_id: text(facts, "userId"),
            user_name: text(facts, "userName"),
            job,
            notebook_id: facts.get("notebook").and_then(Value::as_object).and_then(|notebook| text(notebook, "notebookId")),
            cluster_id: text(facts, "clusterId"),
        }
    }
}

/// A fact as text: some writers have numbers as ids.
fn text(facts: &Map<String, Value>, name: &str) -> Option<String> {
    match facts.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_platform_says_is_kept_and_what_it_leaves_out_is_nothing() {
        let info: CommitInfo = serde_json::from_str(
            r#"{"operation":"WRITE","userId":"17","userName":"a@b.c","clusterId":"0611-x","notebook":{"notebookId":"99"},
                "job":{"jobId":"1","jobName":"nightly","jobRunId":5,"runId":"6","jobOwnerId":"17"}}"#,
        )
        .unwrap();
        let found = Provenance::of(&info);
        let job = found.job.clone().unwrap();
        assert_eq!((found.user_id.as_deref(), found.user_name.as_deref()), (Some("17"), Some("a@b.c")));
        assert_eq!((found.cluster_id.as_deref(), found.notebook_id.as_deref()), (Some("0611-x"), Some("99")));
        assert_eq!((job.job_name.as_deref(), job.job_run_id.as_deref(), job.trigger_type), (Some("nightly"), Some("5"), None));
        assert_eq!(Provenance::of(&CommitInfo::default()), Provenance::default());
    }
}
