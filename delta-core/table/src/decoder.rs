//! The Parquet decoder, kept from taking its caller down.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use parquet::errors::ParquetError;

/// Work that decodes Parquet. The decoder panics at some damaged pages: that is the file's fault, and becomes the error
/// that `damaged` makes of it.
pub(crate) async fn contained<T, E>(
    work: impl Future<Output = Result<T, E>>,
    damaged: impl FnOnce(ParquetError) -> E,
) -> Result<T, E> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(damaged(gave_up(panic.as_ref()))),
    }
}

fn gave_up(panic: &(dyn Any + Send)) -> ParquetError {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    ParquetError::General(format!("the decoder gave up: {}", said.unwrap_or("it did not say why")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DeltaError;

    #[tokio::test]
    async fn a_panic_of_the_decoder_is_an_error_of_the_file() {
        let damaged = |source| DeltaError::CorruptFile { url: "memory:///t/".to_owned(), path: "a.parquet".to_owned(), source };
        let error = contained(async { panic!("page {}", 7) }, damaged).await.map(|(): ()| ()).unwrap_err();
        assert!(error.to_string().contains("a.parquet") && error.to_string().contains("page 7"), "{error}");
        assert_eq!(contained(async { Ok::<_, DeltaError>(5) }, damaged).await.unwrap(), 5);
    }
}
