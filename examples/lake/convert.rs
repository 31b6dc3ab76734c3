//! Folders of files that become tables.

use anyhow::{Context, Result, bail};
use boathouse::delta::{ConvertStatistics, DeltaTable};
use boathouse::storage::Location;
use datafusion::prelude::{CsvReadOptions, JsonReadOptions, SessionContext};

use crate::place::{Place, Working};

/// What files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum From {
    Parquet,
    Csv,
    Json,
}

#[derive(clap::Args)]
pub(crate) struct Convert {
    /// Path or URL of the folder.
    folder: String,
    /// What its files are. Names of JSON files end in .json and of CSV files, which have a header, in .csv.
    #[arg(long, value_enum, default_value_t = From::Parquet)]
    from: From,
    /// Where the table is to be: needed for CSV and JSON.
    #[arg(long)]
    to: Option<String>,
    /// Partitions the table by these columns, with commas between; Parquet files are in the folders that they are in.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    partition_by: Vec<String>,
    /// Takes no statistics from the footers of Parquet files.
    #[arg(long)]
    no_statistics: bool,
}

impl Convert {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let working = Working::on("reading");
        let (table, rows) = match (self.from, &self.to) {
            (From::Parquet, Some(_)) => {
                bail!("convert {}: Parquet files become a table where they are; leave --to out", self.folder)
            }
            (From::Parquet, None) => {
                let table = place.table(&self.folder)?;
                let rows = self.in_place(&table).await?;
                (table, rows)
            }
            (_, None) => bail!("convert {}: say with --to where the table is to be", self.folder),
            (_, Some(to)) => {
                let table = place.table(to)?;
                let rows = self.read(place, &table).await?;
                (table, rows)
            }
        };
        drop(working);
        table.settle().await;
        println!("{} is a Delta table of {rows} rows", table.url());
        Ok(())
    }

    async fn in_place(&self, table: &DeltaTable) -> Result<u64> {
        if !self.partition_by.is_empty() {
            bail!("convert {}: the names of folders say what partitions there are; leave --partition-by out", self.folder);
        }
        let statistics = if self.no_statistics { ConvertStatistics::None } else { ConvertStatistics::FromFooters };
        Ok(table.convert_parquet().statistics(statistics).run().await?.rows)
    }

    async fn read(&self, place: &Place, table: &DeltaTable) -> Result<u64> {
        if let Some(found) = table.try_snapshot().await? {
            bail!("convert {}: {} is a table already, at version {}", self.folder, table.url(), found.version());
        }
        let (location, storage) = (Location::parse(&self.folder)?, place.storage(&self.folder)?);
        let session = SessionContext::new();
        if location.url().scheme() != "file" {
            session.register_object_store(location.url(), std::sync::Arc::clone(storage.object_store()));
        }
        let folder = location.as_str();
        let frame = match self.from {
            From::Json => session.read_json(folder, JsonReadOptions::default()).await,
            _ => session.read_csv(folder, CsvReadOptions::new()).await,
        };
        let frame = frame.with_context(|| format!("read the files of {folder}"))?;
        if frame.schema().fields().is_empty() {
            bail!("convert {folder}: there is no such file in it, or it has no column");
        }
        let write = table.append(boathouse::frames::batch_stream(frame).await?).create_if_absent();
        let write = if self.partition_by.is_empty() { write } else { write.partition_by(self.partition_by.clone()) };
        Ok(write.run().await?.rows)
    }
}
