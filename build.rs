//! Lists the rule files, so that a file in `pipelines/rules` is in the program without being named anywhere.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

const FOLDER: &str = "pipelines/rules";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let mut files = Vec::new();
    collect(Path::new(FOLDER), &mut files)?;
    files.sort();
    // Found from where the package is when it is compiled: a checkout may be moved with what was built.
    let entry = |file: &PathBuf| {
        let path = format!("/{}", file.display());
        format!("({file:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),\n")
    };
    let list: String = files.iter().map(entry).collect();
    let out = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    fs::write(out.join("rules.rs"), format!("&[\n{list}]"))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|it| it == "yml") {
            files.push(path);
        }
    }
    Ok(())
}
