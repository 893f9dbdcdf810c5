//! Programs of this package find libqz where qz-sys found it.
fn main() {
    if let Ok(dir) = std::env::var("DEP_QZ_LIBDIR") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", dir);
    }
}
