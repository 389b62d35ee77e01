//! Elasticsearch behind TLS.

use std::{fs, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::harness::{Folder, K8scop};

const ANSWER: &str =
    r#"{"took":1,"errors":false,"items":[{"create":{"_index":"a","_id":"x","status":201}}]}"#;
const BODY: &str = "{\"create\":{\"_index\":\"a\"}}\n{}\n";

#[tokio::test]
async fn only_a_trusted_certificate_is_spoken_to() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = Folder::new("tls");
    let ca = folder.0.join("ca.pem");
    fs::write(&ca, cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut got = Vec::new();
            while !String::from_utf8_lossy(&got).ends_with("{}\n") {
                if stream.read_buf(&mut got).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{ANSWER}",
                ANSWER.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.ok();
        }
    });
    let quick = "limits: {request_deadline_s: 2}\n";
    let output = format!("output: https://localhost:{port}\n{quick}");
    let trusting =
        K8scop::start(&format!("{output}elasticsearch: {{ca_file: {}}}\n", ca.display())).await;
    assert_eq!(trusting.bulk("/_bulk", BODY).await.0, 200);
    let other = K8scop::start(&output).await;
    let (status, answer) = other.bulk("/_bulk", BODY).await;
    assert_eq!(status, 503);
    assert!(answer["error"]["reason"].as_str().unwrap().contains("cannot be reached"), "{answer}");
}
