//! The suites of the traits that this crate implements.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use boathouse_autoload::Format;
use boathouse_base::contract::SourceFixture;
use boathouse_base::{BoxFuture, StreamSource};

use crate::support::Site;

/// Files that sort before all earlier ones: late files are the rule here.
struct Folder {
    site: Site,
    format: Format,
    grown: AtomicUsize,
}

impl Folder {
    fn new(format: Format) -> Self {
        Self { site: Site::new(), format, grown: AtomicUsize::new(0) }
    }
}

impl SourceFixture for Folder {
    fn open(&self) -> BoxFuture<'_, Arc<dyn StreamSource>> {
        Box::pin(async {
            let source = self.site.describe().format(self.format.clone()).open().await.unwrap();
            Arc::new(source) as Arc<dyn StreamSource>
        })
    }

    fn grow(&self) -> BoxFuture<'_, usize> {
        Box::pin(async {
            let n = self.grown.fetch_add(1, Ordering::Relaxed);
            let text = match self.format {
                Format::Csv(_) => format!("id,name\n{n},a\n{n},b\n{n},\n"),
                _ => format!("{{\"id\":{n}}}\n{{\"id\":{n},\"name\":\"b\"}}\nno row\n{{\"id\":\"{n}\"}}\n"),
            };
            self.site.land(&format!("{:03}", 999 - n), text).await;
            3
        })
    }
}

#[tokio::test]
async fn json_keeps_the_contract_of_a_source() {
    boathouse_base::contract::source(async || Folder::new(Format::json())).await;
}

#[tokio::test]
async fn csv_keeps_the_contract_of_a_source() {
    boathouse_base::contract::source(async || Folder::new(Format::csv())).await;
}
