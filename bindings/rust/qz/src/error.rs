//! A status and one line of words.
use std::ffi::CStr;
use std::fmt;

/// What a call came to; libraries of later versions may have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The caller's mistake: a value, a shape, a token id, an existing target.
    InvalidArgument,
    /// Well formed, but not something this library can do.
    Unsupported,
    /// Memory ran out.
    OutOfMemory,
    /// The system refused: missing file, full disk, no permission.
    Io,
    /// A file is not what it must be.
    BadFile,
    /// A device failed.
    Device,
    /// NaN, infinity, or a Hessian that no damping makes positive definite.
    Numeric,
    /// The progress function said stop.
    Cancelled,
    /// A buffer was too small.
    BufferTooSmall,
    /// Another run holds the target, or the handle is inside a callback.
    Busy,
    /// Verification found a difference.
    Mismatch,
    /// A bug of the library.
    Internal,
    /// A status that this crate does not know.
    Other(i32),
}

impl From<i32> for Status {
    fn from(code: i32) -> Status {
        use qz_sys as c;
        match code {
            c::QZ_STATUS_INVALID_ARGUMENT => Status::InvalidArgument,
            c::QZ_STATUS_UNSUPPORTED => Status::Unsupported,
            c::QZ_STATUS_OUT_OF_MEMORY => Status::OutOfMemory,
            c::QZ_STATUS_IO => Status::Io,
            c::QZ_STATUS_BAD_FILE => Status::BadFile,
            c::QZ_STATUS_DEVICE => Status::Device,
            c::QZ_STATUS_NUMERIC => Status::Numeric,
            c::QZ_STATUS_CANCELLED => Status::Cancelled,
            c::QZ_STATUS_BUFFER_TOO_SMALL => Status::BufferTooSmall,
            c::QZ_STATUS_BUSY => Status::Busy,
            c::QZ_STATUS_MISMATCH => Status::Mismatch,
            c::QZ_STATUS_INTERNAL => Status::Internal,
            other => Status::Other(other),
        }
    }
}

/// A failed call: its status and what happened, in one line that names file, tensor, expected and found.
#[derive(Clone, Debug)]
pub struct Error {
    /// What kind of failure.
    pub status: Status,
    /// The words.
    pub text: String,
}

impl Error {
    pub(crate) fn last(code: i32) -> Error {
        let text = unsafe { CStr::from_ptr(qz_sys::qz_last_error()) };
        Error {
            status: code.into(),
            text: text.to_string_lossy().into_owned(),
        }
    }
    pub(crate) fn argument(text: impl Into<String>) -> Error {
        Error {
            status: Status::InvalidArgument,
            text: text.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl std::error::Error for Error {}
