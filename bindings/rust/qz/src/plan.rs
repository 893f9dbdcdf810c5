//! Per module: what is stored and how the codes are chosen; and the run.
use crate::call::{c_string, check, defaults, handle, long_text, Watch};
use crate::{error::Error, Calibration, Format, Model, Progress};
use std::ptr;

handle!(
    /// Rules for the linear layers of a model; the last that matches a module wins. Keeps its model alive.
    Plan, qz_plan, qz_plan_free, Send, Sync
);

/// How codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Method(pub i32);
impl Method {
    /// GPTQ when there are calibration tokens, else round to nearest.
    pub const DEFAULT: Method = Method(qz_sys::QZ_METHOD_DEFAULT);
    /// Leave the module as it is.
    pub const KEEP: Method = Method(qz_sys::QZ_METHOD_KEEP);
    /// Round to nearest.
    pub const RTN: Method = Method(qz_sys::QZ_METHOD_RTN);
    /// GPTQ.
    pub const GPTQ: Method = Method(qz_sys::QZ_METHOD_GPTQ);
}

/// What is stored for a matrix.
#[derive(Clone, Copy)]
pub struct Scheme(pub(crate) qz_sys::qz_scheme);
impl Scheme {
    /// "w4g128", "w3g64", "w4g32a" (asymmetric), "w8".
    pub fn preset(name: &str) -> Result<Scheme, Error> {
        let name = c_string(name)?;
        let mut scheme: qz_sys::qz_scheme = defaults();
        check(unsafe { qz_sys::qz_scheme_preset(name.as_ptr(), &mut scheme) })?;
        Ok(Scheme(scheme))
    }
    /// Bits of a code.
    pub fn bits(&self) -> i32 {
        self.0.bits
    }
    /// Columns that share a scale; -1 a row, -2 the matrix.
    pub fn group(&self) -> i32 {
        self.0.group
    }
}

/// The levers of the solver; the default is what measured best.
#[derive(Clone, Copy)]
pub struct GptqOptions(pub(crate) qz_sys::qz_gptq_options);
impl Default for GptqOptions {
    fn default() -> GptqOptions {
        GptqOptions(defaults())
    }
}
impl GptqOptions {
    /// Of mean diag(H).
    pub fn damp(mut self, damp: f64) -> GptqOptions {
        self.0.damp = damp;
        self
    }
    /// Coordinate-descent sweeps over the codes; 0 = none.
    pub fn sweeps(mut self, sweeps: i32) -> GptqOptions {
        self.0.sweeps = if sweeps == 0 { -1 } else { sweeps };
        self
    }
    /// Round a module whose Hessian no damping repairs.
    pub fn allow_rtn_fallback(mut self) -> GptqOptions {
        self.0.allow_rtn_fallback = 1;
        self
    }
}

/// How a run goes.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    format: Format,
    stream_to: Option<String>,
    overwrite: bool,
    strict: bool,
    seed: u64,
}
impl RunOptions {
    /// Defaults: compressed-tensors, the result in memory.
    pub fn new() -> RunOptions {
        RunOptions::default()
    }
    /// What the result will be stored as.
    pub fn format(mut self, format: Format) -> RunOptions {
        self.format = format;
        self
    }
    /// Writes this directory while the layers finish.
    pub fn stream_to(mut self, dir: &str) -> RunOptions {
        self.stream_to = Some(dir.to_string());
        self
    }
    /// The directory may exist.
    pub fn overwrite(mut self) -> RunOptions {
        self.overwrite = true;
        self
    }
    /// Warnings that mean a worse result are errors.
    pub fn strict(mut self) -> RunOptions {
        self.strict = true;
        self
    }
    /// Of the split into solving and judging tokens.
    pub fn seed(mut self, seed: u64) -> RunOptions {
        self.seed = seed;
        self
    }
}

impl Plan {
    /// One rule: everything but the head to 4 bit, group 128.
    pub fn new(model: &Model) -> Result<Plan, Error> {
        let mut pointer = ptr::null_mut();
        check(unsafe { qz_sys::qz_plan_create(model.pointer, &mut pointer) })?;
        Ok(Plan { pointer })
    }
    /// Rules as JSON.
    pub fn from_json(model: &Model, json: &str) -> Result<Plan, Error> {
        let mut pointer = ptr::null_mut();
        check(unsafe {
            qz_sys::qz_plan_from_json(
                model.pointer,
                json.as_ptr().cast(),
                json.len(),
                &mut pointer,
            )
        })?;
        Ok(Plan { pointer })
    }
    /// The rules as [`Plan::from_json`] takes them.
    pub fn to_json(&self) -> Result<String, Error> {
        long_text(|buf, cap, need| unsafe { qz_sys::qz_plan_to_json(self.pointer, buf, cap, need) })
    }
    /// A rule for the modules whose full name matches the glob.
    pub fn add_rule(
        &mut self,
        glob: &str,
        method: Method,
        scheme: Option<&Scheme>,
        gptq: Option<&GptqOptions>,
    ) -> Result<(), Error> {
        let glob = c_string(glob)?;
        let mut rule: qz_sys::qz_rule = defaults();
        rule.method = method.0;
        rule.scheme = scheme.map_or(ptr::null(), |s| &s.0);
        rule.gptq = gptq.map_or(ptr::null(), |g| &g.0);
        check(unsafe { qz_sys::qz_plan_add_rule(self.pointer, glob.as_ptr(), &rule) })
    }
    /// Quantizes. progress: false cancels, and nothing is left behind.
    pub fn run(
        &self,
        calibration: Option<&Calibration>,
        options: &RunOptions,
        progress: Option<&mut dyn FnMut(&Progress<'_>) -> bool>,
    ) -> Result<Model, Error> {
        let stream_to = options.stream_to.as_deref().map(c_string).transpose()?;
        let mut watch = Watch::new(progress);
        let mut run: qz_sys::qz_run_options = defaults();
        run.format = options.format.0;
        run.stream_to = stream_to.as_ref().map_or(ptr::null(), |s| s.as_ptr());
        run.overwrite = i32::from(options.overwrite);
        run.strict = i32::from(options.strict);
        run.seed = options.seed;
        run.progress = watch.callback();
        run.user = watch.user();
        let mut pointer = ptr::null_mut();
        let calib = calibration.map_or(ptr::null(), |c| c.pointer as *const _);
        let done = check(unsafe { qz_sys::qz_plan_run(self.pointer, calib, &run, &mut pointer) });
        watch.finish();
        done.map(|_| Model { pointer })
    }
}

/// GPTQ on every linear layer but the head.
pub fn gptq(
    model: &Model,
    calibration: &Calibration,
    scheme: &Scheme,
    options: &RunOptions,
) -> Result<Model, Error> {
    let mut plan = Plan::new(model)?;
    plan.add_rule("*", Method::GPTQ, Some(scheme), None)?;
    plan.run(Some(calibration), options, None)
}

/// Rounds every linear layer but the head to nearest.
pub fn rtn(model: &Model, scheme: &Scheme, options: &RunOptions) -> Result<Model, Error> {
    let mut plan = Plan::new(model)?;
    plan.add_rule("*", Method::RTN, Some(scheme), None)?;
    plan.run(None, options, None)
}
