//! A model with its KV cache.
use crate::call::{check, defaults, handle};
use crate::{error::Error, Model};
use std::ffi::c_void;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::ptr;

handle!(
    /// One sequence and its cache of keys and values.
    Session, qz_session, qz_session_free, Send
);

/// What layers multiply. Constants, not an enumeration: later libraries have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Products(pub i32);
impl Products {
    /// Inputs as they are, in float32.
    pub const EXACT: Products = Products(qz_sys::QZ_PRODUCTS_EXACT);
    /// Inputs rounded to bfloat16 where this CPU multiplies that faster.
    pub const BF16: Products = Products(qz_sys::QZ_PRODUCTS_BF16);
    /// Inputs rounded to 8 bits where weights are integers of 2, 4 or 8 bits.
    pub const INT8: Products = Products(qz_sys::QZ_PRODUCTS_INT8);
}

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct GenerateOptions {
    /// 0 = 128.
    pub max_tokens: i32,
    /// The most likely token every time.
    pub greedy: bool,
    /// 0 = 1.
    pub temperature: f64,
    /// 0 = off.
    pub top_k: i32,
    /// 0 = 1.
    pub top_p: f64,
    /// 0 = 1.
    pub repetition_penalty: f64,
    /// Of the sampling.
    pub seed: u64,
}

struct Sink<'a> {
    function: &'a mut dyn FnMut(i32) -> bool,
    panic: Option<Box<dyn std::any::Any + Send>>,
}

unsafe extern "C" fn on_token(user: *mut c_void, token: i32) -> i32 {
    let sink = &mut *(user as *mut Sink<'_>);
    match catch_unwind(AssertUnwindSafe(|| (sink.function)(token))) {
        Ok(go_on) => i32::from(!go_on),
        Err(panic) => {
            sink.panic = Some(panic);
            1
        }
    }
}

impl Session {
    /// max_seq: positions of the cache, 0 = the model's.
    pub fn new(model: &Model, max_seq: i64) -> Result<Session, Error> {
        let mut pointer = ptr::null_mut();
        check(unsafe { qz_sys::qz_session_create(model.pointer, max_seq, &mut pointer) })?;
        Ok(Session { pointer })
    }
    /// From now on layers multiply so; a new session's products are exact.
    pub fn set_products(&mut self, products: Products) -> Result<(), Error> {
        check(unsafe { qz_sys::qz_session_set_products(self.pointer, products.0) })
    }
    /// Feeds tokens; the logits of the last one. vocab: the model's.
    pub fn logits(&mut self, ids: &[i32], vocab: usize) -> Result<Vec<f32>, Error> {
        let mut out = vec![0f32; vocab];
        let tensor = crate::packed::view(&mut out, &[1, vocab as i64])?;
        check(unsafe {
            qz_sys::qz_session_logits(self.pointer, ids.as_ptr(), ids.len(), &tensor)
        })?;
        Ok(out)
    }
    /// Feeds the prompt and writes on. token: false stops.
    pub fn generate(
        &mut self,
        prompt: &[i32],
        options: &GenerateOptions,
        token: &mut dyn FnMut(i32) -> bool,
    ) -> Result<(), Error> {
        let mut o: qz_sys::qz_generate_options = defaults();
        o.max_tokens = options.max_tokens;
        o.greedy = i32::from(options.greedy);
        o.temperature = options.temperature;
        o.top_k = options.top_k;
        o.top_p = options.top_p;
        o.repetition_penalty = options.repetition_penalty;
        o.seed = options.seed;
        let mut sink = Sink {
            function: token,
            panic: None,
        };
        let user = &mut sink as *mut Sink<'_> as *mut c_void;
        let done = check(unsafe {
            qz_sys::qz_session_generate(
                self.pointer,
                prompt.as_ptr(),
                prompt.len(),
                &o,
                Some(on_token),
                user,
            )
        });
        if let Some(panic) = sink.panic {
            resume_unwind(panic);
        }
        done
    }
    /// Forgets everything that was fed.
    pub fn reset(&mut self) -> Result<(), Error> {
        check(unsafe { qz_sys::qz_session_reset(self.pointer) })
    }
}
