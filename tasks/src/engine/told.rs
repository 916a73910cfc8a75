//! An operator that tells the errors of the plan below as errors of the task.

use super::sql::located_error;
use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;

/// Passes rows on. Whoever runs the plan need not know the query to tell its errors well.
#[derive(Debug)]
pub(crate) struct ToldExec {
    input: Arc<dyn ExecutionPlan>,
    /// Where the query stands, and its text.
    query: Arc<(String, String)>,
}

impl ToldExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, path: &str, sql: &str) -> Arc<Self> {
        Arc::new(ToldExec { input, query: Arc::new((path.to_owned(), sql.to_owned())) })
    }
}

impl DisplayAs for ToldExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToldExec: {}", self.query.0)
    }
}

impl ExecutionPlan for ToldExec {
    fn name(&self) -> &'static str {
        "ToldExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(ToldExec { input, query: self.query.clone() }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let query = self.query.clone();
        let rows = self.input.execute(partition, context)?;
        let told = move |batch: Result<RecordBatch>| {
            let (path, sql) = &*query;
            batch.map_err(|error| {
                DataFusionError::External(Box::new(located_error(path, sql, &error, &[])))
            })
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.map(told))))
    }
}
