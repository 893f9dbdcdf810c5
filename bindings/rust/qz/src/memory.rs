//! How much memory something will take, by arithmetic.
use crate::call::{c_string, check, defaults};
use crate::{error::Error, Model};
use std::ptr;

/// What the memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Goal(pub i32);
impl Goal {
    /// Inference.
    pub const INFER: Goal = Goal(qz_sys::QZ_GOAL_INFER);
    /// A quantization run, on the host.
    pub const QUANTIZE: Goal = Goal(qz_sys::QZ_GOAL_QUANTIZE);
    /// Training all parameters.
    pub const TRAIN_FULL: Goal = Goal(qz_sys::QZ_GOAL_TRAIN_FULL);
    /// Adapters on a 4-bit base.
    pub const TRAIN_QLORA: Goal = Goal(qz_sys::QZ_GOAL_TRAIN_QLORA);
}

/// What is asked; zeros and None are defaults.
#[derive(Clone, Debug, Default)]
pub struct MemoryQuery {
    /// What for.
    pub goal: Goal,
    /// Sequences at a time.
    pub batch: i64,
    /// Tokens of each.
    pub seq_len: i64,
    /// "w4g128", "bf16", "nf4-dq"; None = as stored.
    pub weights: Option<String>,
}

/// Bytes.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Memory {
    pub weights: u64,
    pub scales: u64,
    pub kv_cache: u64,
    pub device_total: u64,
    pub host_total: u64,
    pub disk_total: u64,
}

impl Model {
    /// Memory by arithmetic on shapes: nothing is loaded.
    pub fn estimate(&self, query: &MemoryQuery) -> Result<Memory, Error> {
        let weights = query.weights.as_deref().map(c_string).transpose()?;
        let mut q: qz_sys::qz_memory_query = defaults();
        q.goal = query.goal.0;
        q.batch = query.batch;
        q.seq_len = query.seq_len;
        q.weights = weights.as_ref().map_or(ptr::null(), |w| w.as_ptr());
        let mut m: qz_sys::qz_memory = defaults();
        check(unsafe { qz_sys::qz_memory_estimate(self.pointer, &q, &mut m) })?;
        Ok(Memory {
            weights: m.weights,
            scales: m.scales,
            kv_cache: m.kv_cache,
            device_total: m.device_total,
            host_total: m.host_total,
            disk_total: m.disk_total,
        })
    }
}
