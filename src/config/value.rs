use std::env;

use super::raw::RawSecret;
use crate::forward::Secret;

/// A secret as it is written: `env:NAME`, `file:PATH`, or the text itself. What is in a file can be read again
/// later; here it is only made sure that it can be read. The error never holds the text.
pub(super) fn resolve(written: &RawSecret) -> Result<Secret, String> {
    let RawSecret(written) = written;
    if let Some(name) = written.strip_prefix("env:") {
        return env::var(name)
            .map(Secret::new)
            .map_err(|_absent| format!("the environment has no variable {name}"));
    }
    if let Some(path) = written.strip_prefix("file:") {
        let secret = Secret::file(path.into());
        return secret.read().map(|_readable| secret);
    }
    Ok(Secret::new(written.clone()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn resolve(written: &str) -> Result<String, String> {
        super::resolve(&RawSecret(written.into()))?.read()
    }

    #[test]
    fn sources() {
        assert_eq!(resolve("plain"), Ok("plain".into()));
        assert!(resolve("env:K8SCOP_NOT_SET").unwrap_err().contains("K8SCOP_NOT_SET"));
        assert!(resolve("file:/not/there").unwrap_err().contains("/not/there"));
        let path = env::temp_dir().join(format!("k8scop-secret-{}", fastrand::u64(..)));
        fs::write(&path, "s3cret\n").unwrap();
        let written = format!("file:{}", path.display());
        assert_eq!(resolve(&written), Ok("s3cret".into()));
        let secret = super::resolve(&RawSecret(written)).unwrap();
        fs::write(&path, "later").unwrap();
        assert_eq!(secret.read(), Ok("later".into()));
        fs::remove_file(path).unwrap();
    }
}
