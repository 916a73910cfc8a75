//! An operator that tells of what passes: errors as the task's own, rows as its progress.

use super::sql::located_error;
use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use orchestrator::attempt::Progress;
use std::fmt;
use std::sync::Arc;

/// Passes rows on, each batch through a function.
pub(crate) struct ToldExec {
    input: Arc<dyn ExecutionPlan>,
    each: Arc<Each>,
}

type Each = dyn Fn(Result<RecordBatch>) -> Result<RecordBatch> + Send + Sync;

impl ToldExec {
    /// Whoever runs the plan need not know the query, which stands at `path`, to tell its errors.
    pub(crate) fn errors(input: Arc<dyn ExecutionPlan>, path: &str, sql: &str) -> Arc<Self> {
        let (path, sql) = (path.to_owned(), sql.to_owned());
        let each = move |batch: Result<RecordBatch>| {
            batch.map_err(|error| {
                DataFusionError::External(Box::new(located_error(&path, &sql, &error, &[])))
            })
        };
        Arc::new(ToldExec { input, each: Arc::new(each) })
    }

    /// Each row is a unit of work that is done.
    pub(crate) fn progress(input: Arc<dyn ExecutionPlan>, progress: Arc<Progress>) -> Arc<Self> {
        let each = move |batch: Result<RecordBatch>| {
            batch.inspect(|batch| progress.add_done(batch.num_rows() as u64))
        };
        Arc::new(ToldExec { input, each: Arc::new(each) })
    }
}

impl fmt::Debug for ToldExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToldExec").field("input", &self.input).finish_non_exhaustive()
    }
}

impl DisplayAs for ToldExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToldExec")
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
        Ok(Arc::new(ToldExec { input, each: self.each.clone() }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let each = self.each.clone();
        let rows = self.input.execute(partition, context)?.map(move |batch| each(batch));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
