//! The background task that keeps an endpoint on the version that its reference names.

use std::sync::{Arc, Weak};

use super::builder::Polling;
use super::handle::{Endpoint, Inner};

impl Endpoint {
    pub(super) fn start_following(&self, polling: Polling) {
        let Polling::Every(period) = polling else { return };
        let (env, wake, inner) = (self.0.env.clone(), Arc::clone(&self.0.wake), Arc::downgrade(&self.0));
        let task = tokio::spawn(async move {
            loop {
                // Only a weak handle lives through the wait: the task does not keep its endpoint alive.
                tokio::select! {
                    () = env.sleep(period) => {}
                    () = wake.notified() => {}
                }
                match Weak::upgrade(&inner) {
                    Some(inner) => inner.refresh_and_log().await,
                    None => break,
                }
            }
        });
        if self.0.follower.set(task.abort_handle()).is_err() {
            task.abort();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.follower.get() {
            task.abort();
        }
    }
}
