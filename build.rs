//! Compiles the operations in C++, tells the program what it is built of, and writes LibTorch's folder into the binaries' run path, so that they start without LD_LIBRARY_PATH.
use std::path::PathBuf;
use std::process::Command;

const OPERATIONS: &str = "src/net/native";

fn main() {
    println!("cargo:rerun-if-changed={OPERATIONS}");
    tell_commit();
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    let Ok(lib) = lib.canonicalize() else {
        println!("cargo:warning=LibTorch is not at {}: run scripts/libtorch once", lib.display());
        return;
    };
    println!("cargo:rerun-if-changed={}", lib.join("libtorch.so").display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    if let Ok(version) = std::fs::read_to_string(lib.with_file_name("build-version")) {
        println!("cargo:rustc-env=SCORE_SDE_LIBTORCH={}", version.trim());
    }
    let include = lib.with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .opt_level(3)
        .debug(false)
        .flag_if_supported("-fno-math-errno")
        .flag_if_supported("-fno-trapping-math")
        .includes([include.join("torch/csrc/api/include"), include])
        .file(format!("{OPERATIONS}/norm.cpp"))
        .compile("score_sde_operations");
}

/// Tells a release which commit it is of. Other builds would be made anew with every commit.
fn tell_commit() {
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    println!("cargo:rustc-env=SCORE_SDE_COMMIT={commit}{}", if changed { "+" } else { "" });
    // It grows with every commit and every checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
}
