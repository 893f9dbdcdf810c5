//! Threads, limits and devices.
use crate::call::{array_text, c_string, check, defaults, handle};
use crate::error::Error;
use std::ptr;

handle!(
    /// Threads and limits for everything that is made with it.
    Context, qz_context, qz_context_free, Send, Sync
);

/// Where a long call is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// "measure" "calibrate" "solve" "write" "evaluate" "sample" "verify"
    pub phase: &'a str,
    /// Full name of the module at hand, or "".
    pub module: &'a str,
    /// Block at hand.
    pub layer: i32,
    /// Number of blocks.
    pub layers: i32,
    /// Of the whole call, 0 ... 1.
    pub fraction: f64,
    /// Seconds left, 0 while unknown.
    pub eta: f64,
}

/// What there is to compute on.
#[derive(Clone, Debug)]
pub struct Device {
    /// "AMD EPYC"
    pub name: String,
    /// "avx512", "sm_90"
    pub arch: String,
    /// DLPack's code: 1 CPU, 2 CUDA.
    pub kind: i32,
    /// Number among its kind.
    pub index: i32,
    /// Bytes.
    pub memory_total: u64,
    /// Bytes available now.
    pub memory_free: u64,
    /// Bytes per second, 0 = not known.
    pub bandwidth: u64,
}

impl Context {
    /// threads: 0 = what the affinity mask and the cgroup's quota allow.
    pub fn new(threads: i32) -> Result<Context, Error> {
        let mut options: qz_sys::qz_context_options = defaults();
        options.threads = threads;
        let mut pointer = ptr::null_mut();
        check(unsafe { qz_sys::qz_context_create(&options, &mut pointer) })?;
        Ok(Context { pointer })
    }

    /// A limit or knob, before the context is shared: `set("limits.hidden", "65536")`.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let (key, value) = (c_string(key)?, c_string(value)?);
        check(unsafe { qz_sys::qz_context_set(self.pointer, key.as_ptr(), value.as_ptr()) })
    }

    /// The CPU, then NVIDIA GPUs.
    pub fn devices(&self) -> Result<Vec<Device>, Error> {
        let count = unsafe { qz_sys::qz_device_count(self.pointer) };
        (0..count).map(|i| self.device(i)).collect()
    }

    fn device(&self, i: usize) -> Result<Device, Error> {
        let mut d: qz_sys::qz_device_info = defaults();
        check(unsafe { qz_sys::qz_device_get(self.pointer, i, &mut d) })?;
        Ok(Device {
            name: array_text(&d.name),
            arch: array_text(&d.arch),
            kind: d.device.kind,
            index: d.device.index,
            memory_total: d.memory_total,
            memory_free: d.memory_free,
            bandwidth: d.bandwidth,
        })
    }
}
