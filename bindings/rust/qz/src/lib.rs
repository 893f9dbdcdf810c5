#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
mod calibration;
mod call;
mod context;
mod error;
mod evaluation;
mod memory;
mod model;
mod packed;
mod plan;
mod session;

pub use calibration::Calibration;
pub use context::{Context, Device, Progress};
pub use error::{Error, Status};
pub use evaluation::{perplexity, Evaluation};
pub use memory::{Goal, Memory, MemoryQuery};
pub use model::{Format, Model, ModelInfo, Module, ModuleReport};
pub use packed::Packed;
pub use plan::{gptq, rtn, GptqOptions, Method, Plan, RunOptions, Scheme};
pub use session::{GenerateOptions, Products, Session};

/// Version of the loaded library: (major, minor, patch).
pub fn version() -> (u32, u32, u32) {
    let number = unsafe { qz_sys::qz_version() };
    (number / 1_000_000, number / 1000 % 1000, number % 1000)
}
