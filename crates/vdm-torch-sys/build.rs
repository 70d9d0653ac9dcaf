//! Compiles the C++ files against the headers of the libtorch that torch-sys found.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=cpp");
    // Documentation is built where there is no libtorch: Cargo.toml.
    if env::var_os("CARGO_CFG_WITHOUT_LIBTORCH").is_some() {
        return;
    }
    // torch-sys declares `links = "tch"` and tells its direct dependents where libtorch lies.
    let lib = env::var("DEP_TCH_LIBTORCH_LIB").unwrap_or_else(|_| {
        panic!("torch-sys did not say where libtorch is; set LIBTORCH (in a checkout: `cargo xtask setup`), then build again")
    });
    let root = PathBuf::from(&lib).parent().map(PathBuf::from).unwrap_or_default();
    let include = env::var("LIBTORCH_INCLUDE").map_or(root, PathBuf::from).join("include");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        // libtorch's own headers warn by the hundred.
        .warnings(false)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        // A thin layer over libtorch's kernels: optimizing it costs build time and gains nothing.
        .opt_level(1)
        .debug(false)
        .file("cpp/shim.cpp")
        .file("cpp/waiting.cpp")
        .compile("vdm_torch_shim");
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
}
