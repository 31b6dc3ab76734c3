//! The session that expressions are evaluated with.

use std::fmt;

use datafusion::prelude::SessionContext;

/// The caller's session, or a plain one.
#[derive(Clone, Default)]
pub(crate) struct GivenSession(Option<SessionContext>);

impl GivenSession {
    pub(crate) fn of(session: &SessionContext) -> Self {
        Self(Some(session.clone()))
    }

    pub(crate) fn get(&self) -> SessionContext {
        self.0.clone().unwrap_or_default()
    }
}

impl fmt::Debug for GivenSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or("a plain session", |_| "the caller's session"))
    }
}
