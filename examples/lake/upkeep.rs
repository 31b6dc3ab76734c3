//! What keeps a table in shape.

use anyhow::Result;
use boathouse::base::TableVersion;
use boathouse::delta::CloneDepth;

use crate::Printed;
use crate::output::print_frame;
use crate::place::{Place, Version, Working};

/// Runs a statement about the table, which is called `t` in it.
async fn statement(place: &Place, table: &str, statement: &str, what: &str, printed: &Printed) -> Result<()> {
    let session = place.session_with(table).await?;
    let frame = {
        let _working = Working::on(what);
        session.query(statement).await?
    };
    print_frame(frame, printed.format).await
}

#[derive(clap::Args)]
pub(crate) struct Optimize {
    /// Path or URL of the table.
    table: String,
    /// Only partitions for which this is true.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Orders all files of a clustered table again, and not only those that are new.
    #[arg(long, conflicts_with_all = ["condition", "zorder"])]
    full: bool,
    /// Orders rows by these columns together, with commas between.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    zorder: Vec<String>,
    #[command(flatten)]
    printed: Printed,
}

impl Optimize {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let mut sql = "OPTIMIZE t".to_owned();
        if self.full {
            sql.push_str(" FULL");
        }
        if let Some(condition) = &self.condition {
            sql.push_str(&format!(" WHERE {condition}"));
        }
        if !self.zorder.is_empty() {
            let columns: Vec<String> = self.zorder.iter().map(|column| format!("`{}`", column.replace('`', "``"))).collect();
            sql.push_str(&format!(" ZORDER BY ({})", columns.join(", ")));
        }
        statement(place, &self.table, &sql, "rewriting files", &self.printed).await
    }
}

#[derive(clap::Args)]
pub(crate) struct Vacuum {
    /// Path or URL of the table.
    table: String,
    /// Keeps files so long; not less than the table's own retention.
    #[arg(long, value_name = "HOURS")]
    retain_hours: Option<u64>,
    /// Looks for files in the log, and not in the folder.
    #[arg(long)]
    lite: bool,
    /// Says what would be deleted.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    printed: Printed,
}

impl Vacuum {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let mut sql = "VACUUM t".to_owned();
        if self.lite {
            sql.push_str(" LITE");
        }
        if let Some(hours) = self.retain_hours {
            sql.push_str(&format!(" RETAIN {hours} HOURS"));
        }
        if self.dry_run {
            sql.push_str(" DRY RUN");
        }
        statement(place, &self.table, &sql, "looking for files", &self.printed).await
    }
}

#[derive(clap::Args)]
pub(crate) struct Restore {
    /// Path or URL of the table.
    table: String,
    #[command(flatten)]
    version: Version,
}

impl Restore {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let Some(version) = self.version.asked()? else { anyhow::bail!("restore {}: say --version or --timestamp", self.table) };
        let table = place.table(&self.table)?;
        let report = {
            let _working = Working::on("restoring");
            table.restore(version).run().await?
        };
        table.settle().await;
        let (new, old) = (report.version, report.restored_version);
        println!("version {new} is as version {old}: {} files back, {} removed", report.files_restored, report.files_removed);
        Ok(())
    }
}

#[derive(clap::Args)]
pub(crate) struct Fsck {
    /// Path or URL of the table.
    table: String,
    /// Says what is missing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    printed: Printed,
}

impl Fsck {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let dry_run = if self.dry_run { " DRY RUN" } else { "" };
        statement(place, &self.table, &format!("FSCK REPAIR TABLE t{dry_run}"), "looking files up", &self.printed).await
    }
}

#[derive(clap::Args)]
pub(crate) struct Clone {
    /// Path or URL of the table.
    source: String,
    /// Path or URL of the clone.
    target: String,
    #[command(flatten)]
    version: Version,
    /// Names the files of the source, and copies none.
    #[arg(long)]
    shallow: bool,
    /// Replaces a table that is there.
    #[arg(long)]
    replace: bool,
}

impl Clone {
    pub(crate) async fn run(self, place: &Place) -> Result<()> {
        let (source, target) = (place.table(&self.source)?, place.table(&self.target)?);
        let depth = if self.shallow { CloneDepth::Shallow } else { CloneDepth::Deep };
        let clone = source.clone_to(&target).depth(depth).at(self.version.asked()?.unwrap_or(TableVersion::Latest));
        let clone = if self.replace { clone.or_replace() } else { clone };
        let report = {
            let _working = Working::on("cloning");
            clone.run().await?
        };
        target.settle().await;
        let (version, from) = (report.version, report.source_version);
        println!("version {version} is version {from} of the source: {} files, {} copied", report.files, report.files_copied);
        Ok(())
    }
}
