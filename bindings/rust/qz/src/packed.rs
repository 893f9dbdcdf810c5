//! One quantized matrix.
use crate::call::{check, defaults, handle};
use crate::{error::Error, Context, Method, Scheme};
use std::ptr;

handle!(
    /// The codes, scales and zero points of one matrix.
    Packed, qz_packed, qz_packed_free, Send
);

/// A view of dense row-major float32 data.
pub(crate) fn view(data: &mut [f32], shape: &[i64]) -> Result<qz_sys::qz_tensor, Error> {
    let elements = shape.iter().try_fold(1i64, |n, &d| n.checked_mul(d));
    if shape.is_empty()
        || shape.len() > 4
        || shape.iter().any(|&d| d < 0)
        || elements != Some(data.len() as i64)
    {
        return Err(Error::argument(format!(
            "{} values do not have the shape {:?}",
            data.len(),
            shape
        )));
    }
    let mut tensor: qz_sys::qz_tensor = unsafe { std::mem::zeroed() };
    tensor.data = data.as_mut_ptr().cast();
    tensor.ndim = shape.len() as i32;
    tensor.dtype = qz_sys::QZ_DTYPE_F32;
    tensor.device = qz_sys::qz_device { kind: 1, index: 0 };
    let mut stride = 1;
    for (i, &d) in shape.iter().enumerate().rev() {
        tensor.shape[i] = d;
        tensor.stride[i] = stride;
        stride *= d;
    }
    Ok(tensor)
}

impl Packed {
    /// Rounds a rows x cols matrix, row-major, to nearest.
    pub fn round(
        context: &Context,
        weight: &[f32],
        rows: usize,
        cols: usize,
        scheme: &Scheme,
    ) -> Result<Packed, Error> {
        // The library reads through this pointer only.
        let data =
            unsafe { std::slice::from_raw_parts_mut(weight.as_ptr() as *mut f32, weight.len()) };
        let tensor = view(data, &[rows as i64, cols as i64])?;
        let mut rule: qz_sys::qz_rule = defaults();
        rule.method = Method::RTN.0;
        rule.scheme = &scheme.0;
        let mut pointer = ptr::null_mut();
        check(unsafe {
            qz_sys::qz_packed_quantize(context.pointer, &tensor, &rule, ptr::null(), &mut pointer)
        })?;
        Ok(Packed { pointer })
    }
    /// The matrix that the codes stand for.
    pub fn dequantize(&self, rows: usize, cols: usize) -> Result<Vec<f32>, Error> {
        let mut out = vec![0f32; rows * cols];
        let tensor = view(&mut out, &[rows as i64, cols as i64])?;
        check(unsafe { qz_sys::qz_packed_dequantize(self.pointer, &tensor) })?;
        Ok(out)
    }
}

#[cfg(feature = "ndarray")]
impl Packed {
    /// [`Packed::round`] of a view, without a copy where it is dense and row-major.
    pub fn round_array(
        context: &Context,
        weight: ndarray::ArrayView2<'_, f32>,
        scheme: &Scheme,
    ) -> Result<Packed, Error> {
        let (rows, cols) = weight.dim();
        let dense = weight.as_standard_layout();
        let slice = dense
            .as_slice()
            .ok_or_else(|| Error::argument("the array is not dense"))?;
        Packed::round(context, slice, rows, cols, scheme)
    }
    /// [`Packed::dequantize`] into an array of that shape.
    pub fn dequantize_into(&self, mut out: ndarray::ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        let (rows, cols) = out.dim();
        let slice = out
            .as_slice_mut()
            .ok_or_else(|| Error::argument("the array is not dense and row-major"))?;
        let tensor = view(slice, &[rows as i64, cols as i64])?;
        check(unsafe { qz_sys::qz_packed_dequantize(self.pointer, &tensor) })
    }
}
