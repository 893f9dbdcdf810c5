//! Token sequences.
use crate::call::{c_string, check, handle};
use crate::{error::Error, Context, Model};
use std::ptr;

handle!(
    /// Token sequences for calibration and evaluation.
    Calibration, qz_calib, qz_calib_free, Send, Sync
);

impl Calibration {
    /// Empty.
    pub fn new(context: &Context) -> Result<Calibration, Error> {
        let mut pointer = ptr::null_mut();
        check(unsafe { qz_sys::qz_calib_create(context.pointer, &mut pointer) })?;
        Ok(Calibration { pointer })
    }
    /// What [`Calibration::save`] wrote.
    pub fn load(context: &Context, path: &str) -> Result<Calibration, Error> {
        let path = c_string(path)?;
        let mut pointer = ptr::null_mut();
        check(unsafe { qz_sys::qz_calib_load(context.pointer, path.as_ptr(), &mut pointer) })?;
        Ok(Calibration { pointer })
    }
    /// Appends one sequence (copied).
    pub fn add_tokens(&mut self, ids: &[i32]) -> Result<(), Error> {
        check(unsafe { qz_sys::qz_calib_add_tokens(self.pointer, ids.as_ptr(), ids.len()) })
    }
    /// Appends text that the model writes itself.
    pub fn add_generated(
        &mut self,
        model: &Model,
        sequences: i64,
        length: i64,
        seed: u64,
    ) -> Result<(), Error> {
        check(unsafe {
            qz_sys::qz_calib_add_generated(
                self.pointer,
                model.pointer,
                sequences,
                length,
                seed,
                None,
                ptr::null_mut(),
            )
        })
    }
    /// One file, compressed, with a checksum.
    pub fn save(&self, path: &str) -> Result<(), Error> {
        let path = c_string(path)?;
        check(unsafe { qz_sys::qz_calib_save(self.pointer, path.as_ptr()) })
    }
    /// Of all sequences.
    pub fn tokens(&self) -> i64 {
        unsafe { qz_sys::qz_calib_tokens(self.pointer) }
    }
    /// The sequences, borrowed.
    pub fn sequences(&self) -> impl Iterator<Item = &[i32]> + '_ {
        (0..unsafe { qz_sys::qz_calib_sequences(self.pointer) }).map(move |i| {
            let (mut ids, mut count) = (ptr::null(), 0);
            unsafe { qz_sys::qz_calib_get(self.pointer, i, &mut ids, &mut count) };
            if ids.is_null() {
                &[][..]
            } else {
                // Valid until the calibration changes, which takes &mut.
                unsafe { std::slice::from_raw_parts(ids, count) }
            }
        })
    }
}
