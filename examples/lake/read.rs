//! What a table holds, and what it is.

use std::sync::Arc;

use anyhow::Result;
use boathouse::base::TableVersion;
use boathouse::delta::{ChangeRange, DeltaTableExt, Formula};
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use datafusion::prelude::{SessionContext, ident};

use crate::Printed;
use crate::output::{print_batch, print_frame, print_rows};
use crate::place::{Place, Version};

#[derive(clap::Args)]
pub(crate) struct Cat {
    /// Path or URL of the table.
    table: String,
    #[command(flatten)]
    version: Version,
    /// Only rows for which this is true, such as "delay > 60 AND carrier = 'AA'".
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Only these columns, with commas between.
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// At most so many rows.
    #[arg(long)]
    limit: Option<usize>,
    #[command(flatten)]
    printed: Printed,
}

impl Cat {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let table = place.table(&self.table)?;
        let provider = match self.version.asked()? {
            Some(version) => table.provider_at(version).await?,
            None => table.provider().await?,
        };
        let session = SessionContext::new();
        let mut frame = session.read_table(Arc::new(provider))?;
        if let Some(condition) = &self.condition {
            let condition = Formula::from(condition.as_str()).over(&session, frame.schema())?;
            frame = frame.filter(condition)?;
        }
        if !self.columns.is_empty() {
            let columns = frame.schema().fields().clone();
            let spelled = |name: &String| {
                let exact = columns.iter().find(|field| field.name() == name);
                let near = || columns.iter().find(|field| field.name().to_lowercase() == name.to_lowercase());
                ident(exact.or_else(near).map_or(name, |field| field.name()))
            };
            frame = frame.select(self.columns.iter().map(spelled))?;
        }
        if self.limit.is_some() {
            frame = frame.limit(0, self.limit)?;
        }
        print_frame(frame, self.printed.format).await
    }
}

#[derive(clap::Args)]
pub(crate) struct Changes {
    /// Path or URL of the table. It must have `delta.enableChangeDataFeed`.
    table: String,
    /// The first version.
    #[arg(long)]
    from: u64,
    /// The last version; without it, the newest one.
    #[arg(long)]
    to: Option<u64>,
    #[command(flatten)]
    printed: Printed,
}

impl Changes {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let to = self.to.map_or(TableVersion::Latest, TableVersion::Number);
        let range = ChangeRange { from: TableVersion::Number(self.from), to };
        print_rows(place.table(&self.table)?.changes(range).read().await?, self.printed.format).await
    }
}

#[derive(clap::Args)]
pub(crate) struct History {
    /// Path or URL of the table.
    table: String,
    /// At most so many commits.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    printed: Printed,
}

impl History {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let session = place.session_with(&self.table).await?;
        print_frame(session.query(&format!("DESCRIBE HISTORY t LIMIT {}", self.limit)).await?, self.printed.format).await
    }
}

#[derive(clap::Args)]
pub(crate) struct Detail {
    /// Path or URL of the table.
    table: String,
    #[command(flatten)]
    printed: Printed,
}

impl Detail {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let session = place.session_with(&self.table).await?;
        print_frame(session.query("DESCRIBE DETAIL t").await?, self.printed.format).await
    }
}

#[derive(clap::Args)]
pub(crate) struct Schema {
    /// Path or URL of the table.
    table: String,
    #[command(flatten)]
    version: Version,
    #[command(flatten)]
    printed: Printed,
}

impl Schema {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let table = place.table(&self.table)?;
        let snapshot = table.snapshot_at(self.version.asked()?.unwrap_or(TableVersion::Latest)).await?;
        let fields = &snapshot.delta_schema().fields;
        let names: StringArray = fields.iter().map(|field| Some(field.name.as_str())).collect();
        let types: StringArray = fields.iter().map(|field| Some(field.data_type.to_string())).collect();
        let nullable: BooleanArray = fields.iter().map(|field| Some(field.nullable)).collect();
        let parted: BooleanArray = fields.iter().map(|field| Some(snapshot.partition_columns().contains(&field.name))).collect();
        let comments: StringArray =
            fields.iter().map(|field| field.metadata.get("comment").and_then(|text| text.as_str())).collect();
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("column", Arc::new(names) as ArrayRef, false),
            ("type", Arc::new(types), false),
            ("nullable", Arc::new(nullable), false),
            ("partition", Arc::new(parted), false),
            ("comment", Arc::new(comments), true),
        ])?;
        print_batch(batch, self.printed.format)
    }
}
