//! What every call does: statuses to results, strings both ways, structs with their size, closures behind callbacks.
use crate::{error::Error, Progress};
use std::ffi::{c_void, CStr, CString};
use std::os::raw::c_char;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

pub(crate) fn check(code: i32) -> Result<(), Error> {
    if code == qz_sys::QZ_STATUS_OK {
        Ok(())
    } else {
        Err(Error::last(code))
    }
}

pub(crate) fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::argument(format!("{:?} contains a zero byte", text)))
}

/// The text behind a pointer that the library owns; "" for NULL.
pub(crate) fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

/// Text of a `char[]` that the library filled.
pub(crate) fn array_text(array: &[c_char]) -> String {
    let bytes: Vec<u8> = array
        .iter()
        .take_while(|&&c| c != 0)
        .map(|&c| c as u8)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All zero, with struct_size set: every default. T must begin with `struct_size: u32`, as the library's growing structs do.
pub(crate) fn defaults<T: Copy>() -> T {
    // Plain C data: integers, floats and pointers, for which zero is a value.
    let mut value: T = unsafe { std::mem::zeroed() };
    unsafe { *(&mut value as *mut T as *mut u32) = std::mem::size_of::<T>() as u32 };
    value
}

/// Calls f(buffer, capacity, need) with room enough.
pub(crate) fn long_text(
    mut f: impl FnMut(*mut c_char, usize, *mut usize) -> i32,
) -> Result<String, Error> {
    let (mut need, mut buffer) = (0usize, vec![0 as c_char; 1 << 16]);
    loop {
        let code = f(buffer.as_mut_ptr(), buffer.len(), &mut need);
        if code == qz_sys::QZ_STATUS_BUFFER_TOO_SMALL && need > buffer.len() {
            buffer.resize(need, 0);
            continue;
        }
        check(code)?;
        return Ok(array_text(&buffer));
    }
}

/// A progress function for the time of one call. A panic inside it cancels the call and goes on after it.
pub(crate) struct Watch<'a> {
    function: Option<&'a mut dyn FnMut(&Progress<'_>) -> bool>,
    panic: Option<Box<dyn std::any::Any + Send>>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(function: Option<&'a mut dyn FnMut(&Progress<'_>) -> bool>) -> Watch<'a> {
        Watch {
            function,
            panic: None,
        }
    }
    pub(crate) fn callback(&self) -> qz_sys::qz_progress_fn {
        self.function.as_ref().map(|_| {
            on_progress as unsafe extern "C" fn(*mut c_void, *const qz_sys::qz_progress) -> i32
        })
    }
    pub(crate) fn user(&mut self) -> *mut c_void {
        self as *mut Watch<'a> as *mut c_void
    }
    /// After the call.
    pub(crate) fn finish(self) {
        if let Some(panic) = self.panic {
            resume_unwind(panic);
        }
    }
}

unsafe extern "C" fn on_progress(user: *mut c_void, progress: *const qz_sys::qz_progress) -> i32 {
    let watch = &mut *(user as *mut Watch<'_>);
    let p = &*progress;
    let phase = text(p.phase);
    let module = text(p.module);
    let told = Progress {
        phase: &phase,
        module: &module,
        layer: p.layer,
        layers: p.layers,
        fraction: p.fraction,
        eta: p.eta_s,
    };
    let function = match watch.function.as_mut() {
        Some(function) => function,
        None => return 0,
    };
    match catch_unwind(AssertUnwindSafe(|| function(&told))) {
        Ok(go_on) => i32::from(!go_on),
        Err(panic) => {
            watch.panic = Some(panic);
            1
        }
    }
}

/// A handle type: freed once, by Drop.
macro_rules! handle {
    ($(#[$doc:meta])* $name:ident, $c:ident, $free:ident, $($marker:ident),*) => {
        $(#[$doc])*
        pub struct $name {
            pub(crate) pointer: *mut qz_sys::$c,
        }
        impl Drop for $name {
            fn drop(&mut self) {
                unsafe { qz_sys::$free(self.pointer) }
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
        // qz/base.h: a `const T *` may be used by many threads at once, a `T *` by one; any thread may make any call.
        $(unsafe impl $marker for $name {})*
    };
}
pub(crate) use handle;
