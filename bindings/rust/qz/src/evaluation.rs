//! Is it still good?
use crate::call::{array_text, check, defaults};
use crate::{error::Error, Calibration, Model};
use std::ptr;

/// What an evaluation measured.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Evaluation {
    pub perplexity: f64,
    pub perplexity_error: f64,
    /// Nats; NaN without a reference.
    pub kl_to_reference: f64,
    pub top1_agreement: f64,
    pub tokens: i64,
    pub protocol: String,
}

/// Perplexity, and with a reference the divergence from it. window: tokens, 0 = the library's choice.
pub fn perplexity(
    model: &Model,
    reference: Option<&Model>,
    text: &Calibration,
    window: i32,
) -> Result<Evaluation, Error> {
    let mut options: qz_sys::qz_eval_options = defaults();
    options.window = window;
    let mut e: qz_sys::qz_eval = defaults();
    let reference = reference.map_or(ptr::null(), |r| r.pointer as *const _);
    check(unsafe {
        qz_sys::qz_eval_perplexity(model.pointer, reference, text.pointer, &options, &mut e)
    })?;
    Ok(Evaluation {
        perplexity: e.perplexity,
        perplexity_error: e.perplexity_error,
        kl_to_reference: e.kl_to_reference,
        top1_agreement: e.top1_agreement,
        tokens: e.tokens,
        protocol: array_text(&e.protocol),
    })
}
