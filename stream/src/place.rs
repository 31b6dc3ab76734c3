//! Where a query is, and how it finds out: the sink's last epoch, and the state that belongs to it.

use std::collections::BTreeMap;

use boathouse_base::{Offset, OutputMode, PlannedBatch};
use datafusion::arrow::datatypes::SchemaRef;

use crate::error::StreamError;
use crate::evolution::{OperatorRef, adopt, check};
use crate::graph::Graph;
use crate::position::{Position, begun_after, resume};
use crate::running::RunningQuery;
use crate::state::OverBy;
use crate::{planning, transform::plan_error};

/// Where the query is, and what it remembers.
pub(crate) struct Place {
    pub(crate) last: Option<Position>,
    /// Of the epoch after it, which was begun and whose rows may be in the sink: it is made again as it was.
    pub(crate) begun: Option<Position>,
    /// Where sources begin without a position.
    starts: BTreeMap<String, Offset>,
    /// Planned at the first epoch of a run, with the state of `last`.
    pub(crate) graph: Option<Graph>,
    /// Schemas of the sources, and where the checkpoint has them.
    pub(crate) shapes: Vec<Option<(SchemaRef, Option<String>)>>,
}

/// What the sources have for an epoch, in their order; `None`: nothing new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedEpoch(pub(crate) Vec<Option<PlannedBatch>>);

impl Place {
    pub(crate) fn epoch(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.epoch + 1)
    }

    pub(crate) fn offset(&self, source: &str) -> Option<Offset> {
        match &self.last {
            Some(last) => last.sources.iter().find(|range| range.name == source)?.end(),
            None => self.starts.get(source).cloned(),
        }
    }

    /// The watermark of the last epoch: rows that it has passed are late.
    pub(crate) fn late_us(&self) -> Option<i64> {
        self.last.as_ref().and_then(|last| last.watermark_us)
    }

    /// The watermark after the last epoch: what it has passed is over.
    pub(crate) fn watermark_us(&self) -> Option<i64> {
        self.last.as_ref().and_then(|last| last.next_watermark_us)
    }

    /// When the last epoch began.
    pub(crate) fn timestamp_us(&self) -> i64 {
        self.last.as_ref().map_or(i64::MIN, |last| last.timestamp_us)
    }

    /// Whether an operator has something to do at this time, even if no rows come.
    pub(crate) fn is_due(&self, now_us: i64) -> bool {
        self.last.as_ref().and_then(|last| last.wake_us).is_some_and(|wake_us| wake_us < now_us)
    }

    pub(crate) fn remembers(&self) -> bool {
        match &self.graph {
            Some(graph) => graph.is_stateful(),
            None => self.last.as_ref().is_some_and(|last| !last.operators.is_empty()),
        }
    }
}

impl RunningQuery {
    pub(crate) async fn find_place(&self) -> Result<Place, StreamError> {
        let definition = &self.definition;
        let committed = definition.sink.last_epoch(&self.query_id).await.map_err(|source| StreamError::Sink {
            attempt: "find the last epoch".to_owned(),
            query: definition.name.clone(),
            source,
        })?;
        let seen = definition.checkpoint.seen().await?;
        let sink = definition.sink.describe();
        let last = resume(&definition.name, &sink, committed, seen)?;
        if let Some(last) = &last {
            self.deliver_late(last).await?;
        }
        let begun = definition.sink.begun(&self.query_id).await.map_err(|source| StreamError::Sink {
            attempt: "find the epoch that was begun".to_owned(),
            query: definition.name.clone(),
            source,
        })?;
        let begun = begun_after(&definition.name, &sink, last.as_ref(), begun)?;
        Ok(Place { last, begun, starts: definition.starts.clone(), graph: None, shapes: vec![None; definition.sources.len()] })
    }

    /// The graph for the sources of this epoch, as they are or as they were last; with the state of the last epoch.
    pub(crate) async fn find_graph(&self, place: &mut Place, read: &[Option<SchemaRef>]) -> Result<Graph, StreamError> {
        let definition = &self.definition;
        let mut schemas = Vec::with_capacity(read.len());
        for (n, source) in definition.sources.iter().enumerate() {
            let known = match &read[n] {
                Some(schema) => Some(SchemaRef::clone(schema)),
                None => self.known_schema(place, n).await?,
            };
            schemas.push(known.ok_or_else(|| StreamError::ColumnsUnknown {
                query: definition.name.clone(),
                source_name: source.name.clone(),
            })?);
        }
        let before = match place.graph.take() {
            Some(graph) if graph.serves(&schemas) => return Ok(graph),
            before => before.filter(|graph| graph.has_schemas(&schemas)),
        };
        for (shape, schema) in place.shapes.iter_mut().zip(&schemas) {
            if shape.as_ref().is_none_or(|(known, _)| known.fields() != schema.fields()) {
                *shape = Some((SchemaRef::clone(schema), None));
            }
        }
        let mut graph = planning::build(definition, schemas).await?;
        for (_, _, store) in graph.stores() {
            store.set_seed(definition.env.random_u64());
            store.set_most_bytes(definition.budget().most_segment_bytes());
        }
        if let Some(mut before) = before
            && graph.take_over(&mut before)
        {
            return Ok(graph);
        }
        if let Some(last) = &place.last {
            self.load(&mut graph, last).await?;
        }
        Ok(graph)
    }

    async fn known_schema(&self, place: &mut Place, source: usize) -> Result<Option<SchemaRef>, StreamError> {
        let definition = &self.definition;
        if let Some((schema, _)) = &place.shapes[source] {
            return Ok(Some(SchemaRef::clone(schema)));
        }
        let named = &definition.sources[source];
        let range = place.last.as_ref().and_then(|last| last.sources.iter().find(|range| range.name == named.name));
        if let Some(path) = range.and_then(|range| range.shape.clone()) {
            let schema = definition.checkpoint.read_shape(&path).await?;
            place.shapes[source] = Some((SchemaRef::clone(&schema), Some(path)));
            return Ok(Some(schema));
        }
        named.source.schema().await.map_err(|error| StreamError::Source {
            attempt: "find the columns".to_owned(),
            query: definition.name.clone(),
            source: error,
        })
    }

    /// Whether what is stored serves the query as it is now; nothing is read of the sources. What cannot be planned yet is found by
    /// the first epoch.
    pub(crate) async fn check_change(&self, place: &Place) -> Result<(), StreamError> {
        let definition = &self.definition;
        let Some(last) = place.last.as_ref().filter(|last| !last.operators.is_empty()) else { return Ok(()) };
        let mut schemas = Vec::with_capacity(definition.sources.len());
        for source in &definition.sources {
            let range = last.sources.iter().find(|range| range.name == source.name);
            let known = match (source.source.schema().await, range.and_then(|range| range.shape.as_ref())) {
                (Ok(Some(schema)), _) => schema,
                (_, Some(path)) => definition.checkpoint.read_shape(path).await?,
                (_, None) => return Ok(()),
            };
            schemas.push(known);
        }
        match planning::build(definition, schemas).await {
            Ok(mut graph) => self.check_remembered(&graph.remembered(), last),
            Err(_) => Ok(()),
        }
    }

    fn check_remembered(&self, found: &[OperatorRef], last: &Position) -> Result<(), StreamError> {
        check(&last.operators, found).map_err(|(operator, change)| StreamError::Changed {
            query: self.definition.name.clone(),
            operator,
            change: Box::new(change),
        })
    }

    /// Puts the state of the last epoch into operators that are new.
    async fn load(&self, graph: &mut Graph, last: &Position) -> Result<(), StreamError> {
        let definition = &self.definition;
        let is_over_us = if definition.output_mode == OutputMode::Complete { None } else { last.watermark_us };
        self.check_remembered(&graph.remembered(), last)?;
        let zeros: Vec<_> = last.operators.iter().map(|operator| graph.zeros(&operator.name)).collect();
        let mut budget = definition.budget().loading();
        for (operator, name, store) in graph.stores() {
            let Some((recorded, zeros)) = last.operators.iter().zip(&zeros).find(|(recorded, _)| recorded.name == operator)
            else {
                continue;
            };
            let Some(recorded) = recorded.stores.iter().find(|recorded| recorded.name == name) else { continue };
            store.set_seed(recorded.seed);
            let mut files = Vec::with_capacity(recorded.files.len());
            for file in &recorded.files {
                let read = definition.checkpoint.read_state(file).await?;
                let adopted = adopt(read, store.schema(), recorded, zeros);
                let mut adopted = adopted.map_err(|error| definition.checkpoint.unusable(&file.path, &error))?;
                budget.take_in(&mut adopted).map_err(|error| plan_error(&definition.name, error.into()))?;
                files.push(adopted);
            }
            let over_us = match store.is_over_by() {
                OverBy::Watermark => is_over_us,
                OverBy::ProcessingTime => Some(last.timestamp_us),
                OverBy::Removal => None,
            };
            let restored = store.restore(files, |end| over_us.is_some_and(|over| end <= over));
            restored.map_err(|error| plan_error(&definition.name, error.into()))?;
        }
        Ok(())
    }
}
