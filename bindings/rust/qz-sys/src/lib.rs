//! The C API of libqz as Rust sees it: `bindings.rs` is what bindgen makes of `include/qz/qz.h` (`./dev gen` where bindgen is
//! installed). Meanings, ownership and threads are documented in the headers; the crate `qz` is the safe side.
#![allow(non_camel_case_types, non_upper_case_globals, non_snake_case)]
#![allow(clippy::all)]
#![allow(rustdoc::all)]
mod bindings;
pub use bindings::*;

#[cfg(test)]
mod tests {
    #[test]
    fn the_library_is_the_one_that_was_declared() {
        let found = unsafe { super::qz_version() };
        assert_eq!(
            found / 1000,
            super::QZ_VERSION_MAJOR * 1000 + super::QZ_VERSION_MINOR
        );
    }
}
