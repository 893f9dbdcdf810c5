//! A model in a directory, or what a run returned. Immutable.
use crate::call::{array_text, c_string, check, defaults, handle, long_text, text, Watch};
use crate::{error::Error, Context, Progress};
use std::ptr;

handle!(
    /// A language model: opened from a Hugging Face directory, or returned by a run.
    Model, qz_model, qz_model_free, Send, Sync
);

/// How a quantized model is stored. Constants, not an enumeration: later libraries have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Format(pub i32);
impl Format {
    /// The library's default: compressed-tensors.
    pub const DEFAULT: Format = Format(qz_sys::QZ_FORMAT_DEFAULT);
    /// GPTQ with stored zero points less one.
    pub const GPTQ: Format = Format(qz_sys::QZ_FORMAT_GPTQ);
    /// GPTQ with true zero points.
    pub const GPTQ_V2: Format = Format(qz_sys::QZ_FORMAT_GPTQ_V2);
    /// compressed-tensors, pack-quantized.
    pub const COMPRESSED: Format = Format(qz_sys::QZ_FORMAT_COMPRESSED);
    /// 16- or 32-bit safetensors, nothing quantized.
    pub const PLAIN: Format = Format(qz_sys::QZ_FORMAT_PLAIN);
}

/// What config.json and the tensors say.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ModelInfo {
    pub arch: String,
    pub format: Format,
    pub parameters: i64,
    pub layers: i64,
    pub hidden: i64,
    pub heads: i64,
    pub kv_heads: i64,
    pub head_dim: i64,
    pub intermediate: i64,
    pub vocab: i64,
    pub max_seq: i64,
}

/// A linear layer.
#[derive(Clone, Debug)]
pub struct Module {
    /// "model.layers.0.self_attn.q_proj"
    pub name: String,
    /// "q" "k" "v" "o" "gate" "up" "down" "head"
    pub role: String,
    /// -1: the head.
    pub layer: i64,
    /// Output features.
    pub rows: i64,
    /// Input features.
    pub cols: i64,
    /// Of its codes; 0 if it is not quantized.
    pub bits: i32,
}

/// What a run did to a module.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ModuleReport {
    pub name: String,
    pub bits: i32,
    pub group: i32,
    pub fell_back: bool,
    pub weight_error: f64,
    pub output_error: f64,
    pub rtn_output_error: f64,
    pub seconds: f64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

impl Model {
    /// A directory with config.json and safetensors, quantized or not. Headers only.
    pub fn open(context: &Context, path: &str) -> Result<Model, Error> {
        Model::open_with(context, path, false)
    }
    /// config.json alone: the model can be looked at and estimated, not run.
    pub fn open_config(context: &Context, path: &str) -> Result<Model, Error> {
        Model::open_with(context, path, true)
    }
    fn open_with(context: &Context, path: &str, config_only: bool) -> Result<Model, Error> {
        let path = c_string(path)?;
        let mut options: qz_sys::qz_model_options = defaults();
        options.config_only = i32::from(config_only);
        let mut pointer = ptr::null_mut();
        check(unsafe {
            qz_sys::qz_model_open(context.pointer, path.as_ptr(), &options, &mut pointer)
        })?;
        Ok(Model { pointer })
    }

    /// Sizes and names.
    pub fn info(&self) -> ModelInfo {
        let mut i: qz_sys::qz_model_info = defaults();
        // The only failures are NULL and a wrong size, which cannot be here.
        unsafe { qz_sys::qz_model_get_info(self.pointer, &mut i) };
        ModelInfo {
            arch: array_text(&i.arch),
            format: Format(i.format),
            parameters: i.parameters,
            layers: i.layers,
            hidden: i.hidden,
            heads: i.heads,
            kv_heads: i.kv_heads,
            head_dim: i.head_dim,
            intermediate: i.intermediate,
            vocab: i.vocab,
            max_seq: i.max_seq,
        }
    }

    /// Linear layers in the order of the forward pass, the head last.
    pub fn modules(&self) -> impl Iterator<Item = Module> + '_ {
        (0..unsafe { qz_sys::qz_model_module_count(self.pointer) }).map(move |i| {
            let mut m: qz_sys::qz_module_info = defaults();
            unsafe { qz_sys::qz_model_get_module(self.pointer, i, &mut m) };
            Module {
                name: text(m.name),
                role: text(m.role),
                layer: m.layer,
                rows: m.rows,
                cols: m.cols,
                bits: m.bits,
            }
        })
    }

    /// What a run did, module by module; nothing if the model carries no report.
    pub fn report(&self) -> impl Iterator<Item = ModuleReport> + '_ {
        (0..unsafe { qz_sys::qz_report_count(self.pointer) }).map(move |i| {
            let mut r: qz_sys::qz_module_report = defaults();
            unsafe { qz_sys::qz_report_get(self.pointer, i, &mut r) };
            ModuleReport {
                name: text(r.name),
                bits: r.bits,
                group: r.group,
                fell_back: r.fell_back != 0,
                weight_error: r.weight_error,
                output_error: r.output_error,
                rtn_output_error: r.rtn_output_error,
                seconds: r.seconds,
                bytes_before: r.bytes_before,
                bytes_after: r.bytes_after,
            }
        })
    }

    /// Writes the model as it is; the directory appears complete or not at all. progress: false cancels.
    pub fn save(
        &self,
        dir: &str,
        format: Format,
        overwrite: bool,
        progress: Option<&mut dyn FnMut(&Progress<'_>) -> bool>,
    ) -> Result<(), Error> {
        let dir = c_string(dir)?;
        let mut watch = Watch::new(progress);
        let mut options: qz_sys::qz_save_options = defaults();
        options.format = format.0;
        options.overwrite = i32::from(overwrite);
        options.progress = watch.callback();
        options.user = watch.user();
        let done = check(unsafe { qz_sys::qz_model_save(self.pointer, dir.as_ptr(), &options) });
        watch.finish();
        done
    }

    /// Is the directory what was written? The findings as JSON; [`crate::Status::Mismatch`] if one is an error.
    pub fn verify(&self, dir: &str) -> Result<String, Error> {
        let dir = c_string(dir)?;
        long_text(|buf, cap, need| unsafe {
            qz_sys::qz_model_verify(self.pointer, dir.as_ptr(), buf, cap, need)
        })
    }
}
