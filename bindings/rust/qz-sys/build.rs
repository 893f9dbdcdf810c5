//! Finds libqz: QZ_LIB_DIR, else pkg-config, else the source tree that this crate lies in. Tells dependents where it is
//! (DEP_QZ_LIBDIR), so that their programs can be linked with a run path.
use std::{env, path::Path, path::PathBuf, process::Command};

fn from_pkg_config() -> Option<PathBuf> {
    let out = Command::new("pkg-config")
        .args(["--variable=libdir", "libqz"])
        .output()
        .ok()?;
    let dir = String::from_utf8(out.stdout).ok()?.trim().to_string();
    (out.status.success() && !dir.is_empty()).then(|| PathBuf::from(dir))
}

fn from_source_tree() -> Option<PathBuf> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").ok()?)
        .ancestors()
        .nth(3)?
        .to_path_buf();
    let dir = root.join("build/release/lib");
    dir.join("libqz.so").is_file().then_some(dir)
}

fn main() {
    println!("cargo:rerun-if-env-changed=QZ_LIB_DIR");
    println!("cargo:rustc-link-lib=dylib=qz");
    let named = env::var("QZ_LIB_DIR").ok().map(PathBuf::from);
    match named.or_else(from_source_tree).or_else(from_pkg_config) {
        Some(dir) => {
            println!("cargo:rustc-link-search=native={}", dir.display());
            println!("cargo:libdir={}", dir.display());
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", dir.display());
        }
        None => println!("cargo:warning=libqz.so was not found: set QZ_LIB_DIR or install libqz with its libqz.pc"),
    }
}
