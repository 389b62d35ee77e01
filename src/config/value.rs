use std::{env, fs};

/// A secret as it is written: `env:NAME`, `file:PATH`, or the text itself. The error never holds the text.
pub(super) fn resolve(written: &str) -> Result<String, String> {
    if let Some(name) = written.strip_prefix("env:") {
        return env::var(name).map_err(|_absent| format!("the environment has no variable {name}"));
    }
    if let Some(path) = written.strip_prefix("file:") {
        let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        return Ok(text.trim_end_matches(['\n', '\r']).to_owned());
    }
    Ok(written.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        assert_eq!(resolve("plain"), Ok("plain".into()));
        assert!(resolve("env:K8SCOP_NOT_SET").unwrap_err().contains("K8SCOP_NOT_SET"));
        assert!(resolve("file:/not/there").unwrap_err().contains("/not/there"));
        let path = env::temp_dir().join(format!("k8scop-secret-{}", fastrand::u64(..)));
        fs::write(&path, "s3cret\n").unwrap();
        assert_eq!(resolve(&format!("file:{}", path.display())), Ok("s3cret".into()));
        fs::remove_file(path).unwrap();
    }
}
