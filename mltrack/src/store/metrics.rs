//! The history of metrics.

use boathouse_mlwire::{Page, Sql};

use super::run_data::metric;
use crate::error::Result;
use crate::run::{Metric, MetricPage};
use crate::tracker::Tracker;

impl Tracker {
    /// All points of a metric, by timestamp, step and value. An unknown key has none.
    ///
    /// **Errors**: `NotFound` without such a run.
    pub async fn get_metric_history(&self, run_id: &str, key: &str) -> Result<Vec<Metric>> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let page = self.get_metric_history_page(run_id, key, 25_000, token.as_deref()).await?;
            all.extend(page.metrics);
            token = page.next_page_token;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    /// One page of the points of a metric.
    ///
    /// **Errors**: `NotFound` without such a run; `Invalid` for a page token that no page handed out.
    pub async fn get_metric_history_page(
        &self,
        run_id: &str,
        key: &str,
        max_results: usize,
        page_token: Option<&str>,
    ) -> Result<MetricPage> {
        let page = Page::new(max_results, page_token)?;
        self.get_run_info(run_id).await?;
        let mut sql = Sql::new("SELECT key, value, is_nan, timestamp_ms, step FROM ml_metrics WHERE run_id = ?").bind(run_id);
        sql.push_with(" AND key = ?", key)
            .push(" ORDER BY timestamp_ms, step, value, is_nan")
            .push_limit(page.fetch(), page.offset());
        let rows = self.database().fetch_all("read a metric", sql).await?;
        let (metrics, next_page_token) = page.cut(rows.iter().map(metric).collect::<Result<Vec<_>>>()?);
        Ok(MetricPage { metrics, next_page_token })
    }

    /// Points of a metric of many runs between two steps, thinned to at most `max_points` steps a run: the first and the
    /// last step stay, the others are spread evenly.
    ///
    /// **Shape**: (run id, point), by run in the given order, then by step and timestamp.
    pub async fn get_metric_interval(
        &self,
        run_ids: &[String],
        key: &str,
        steps: std::ops::RangeInclusive<i64>,
        max_points: usize,
    ) -> Result<Vec<(String, Metric)>> {
        let mut found = Vec::new();
        for run_id in run_ids {
            let sql = Sql::new(
                "SELECT key, value, is_nan, timestamp_ms, step FROM ml_metrics WHERE run_id = ? AND key = ? \
                 AND step >= ? AND step <= ? ORDER BY step, timestamp_ms, value",
            );
            let sql = sql.bind(run_id).bind(key).bind(*steps.start()).bind(*steps.end());
            let rows = self.database().fetch_all("read a metric", sql).await?;
            let points = rows.iter().map(metric).collect::<Result<Vec<_>>>()?;
            let mut all_steps: Vec<i64> = points.iter().map(|m| m.step).collect();
            all_steps.dedup();
            let kept = spread(&all_steps, max_points);
            found.extend(points.into_iter().filter(|m| kept.binary_search(&m.step).is_ok()).map(|m| (run_id.clone(), m)));
        }
        Ok(found)
    }
}

/// At most `most` of these, the ends among them.
fn spread(steps: &[i64], most: usize) -> Vec<i64> {
    if steps.len() <= most {
        return steps.to_vec();
    }
    let gaps = most.saturating_sub(1).max(1);
    (0..most).filter_map(|i| steps.get(i * (steps.len() - 1) / gaps)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn thinning_keeps_both_ends() {
        let steps: Vec<i64> = (0..1000).collect();
        let kept = spread(&steps, 10);
        assert_eq!((kept.len(), kept[0], kept[9]), (10, 0, 999));
        assert_eq!(spread(&steps[..3], 10), [0, 1, 2]);
        assert_eq!(spread(&steps, 1), [0]);
    }
}
