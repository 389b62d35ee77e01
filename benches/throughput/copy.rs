//! Reads each request whole, sends the very bytes on, and gives the answer back. Looks at nothing.

use super::*;

pub(super) async fn run(output: String) -> anyhow::Result<()> {
    // As in `forward/client.rs`.
    let client =
        Client::builder().pool_max_idle_per_host(64).tcp_nodelay(true).no_proxy().build()?;
    serve(move |request| {
        let (client, url) = (client.clone(), format!("{output}/_bulk"));
        async move {
            match passed(&client, &url, request).await {
                Ok(reply) => reply,
                Err(error) => reply(StatusCode::BAD_GATEWAY, format!("{error:#}")),
            }
        }
    })
    .await
}

async fn passed(
    client: &Client,
    url: &str,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let mut headers = HeaderMap::new();
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        if let Some(value) = parts.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let body = gathered(body).await?;
    let mut answer = client.post(url).headers(headers).body(body).send().await?;
    let status = answer.status();
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(reply(status, body))
}
