//! Requests of an Action on their way to the host, and what is remembered of them.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{CacheAnswer, CacheRequest, FetchError, FetchRecord, FetchRequest, FetchResponse, Host, Limits};

/// What the worker asks.
#[derive(Debug)]
pub(crate) enum Request {
    Fetch(FetchRequest),
    Cache(CacheRequest),
}

/// What it is told.
#[derive(Debug)]
pub(crate) enum Answer {
    Fetched(Result<FetchResponse, FetchError>),
    Cached(CacheAnswer),
}

/// Bytes of a request, as they are counted against [`Limits::request_bytes_max`] on both sides.
pub(crate) fn size_of(request: &Request) -> usize {
    match request {
        Request::Fetch(fetch) => {
            let heads: usize = fetch.headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
            fetch.method.len() + fetch.url.len() + heads + fetch.body.len()
        }
        Request::Cache(CacheRequest::Set { key, value, .. }) => key.len() + value.len(),
        Request::Cache(CacheRequest::Get { key } | CacheRequest::Delete { key }) => key.len(),
    }
}

/// Most bytes of an address, of a method and of a code that are remembered.
const RECORDED_BYTES_MAX: usize = 512;

/// Asks the host. What it answers is cut to the execution's limits.
pub(crate) async fn ask(
    host: Arc<dyn Host>,
    request: Request,
    limits: Limits,
    started: Instant,
) -> (Answer, Option<FetchRecord>) {
    let request = match request {
        Request::Cache(request) => return (Answer::Cached(host.cache(request).await), None),
        Request::Fetch(request) => request,
    };
    let asked = Instant::now();
    let mut record = record_of(&request, asked - started);
    let mut fetched = host.fetch(request).await;
    if let Ok(response) = &fetched {
        record.status = Some(response.status);
        record.response_bytes = response.body.len() as u64;
        let heads: usize = response.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if response.body.len().saturating_add(heads) > limits.response_bytes_max {
            fetched = Err(FetchError::new(
                "ERR_RESPONSE_TOO_LARGE",
                "the answer is larger than an Action may read",
            ));
        }
    }
    if let Err(error) = &fetched {
        record.error = Some(cut(&error.code, RECORDED_BYTES_MAX));
    }
    record.duration = asked.elapsed();
    (Answer::Fetched(fetched), Some(record))
}

/// A request that has no answer yet.
pub(crate) fn record_of(request: &FetchRequest, at: std::time::Duration) -> FetchRecord {
    let without_query = request.url.split(['?', '#']).next().unwrap_or_default();
    FetchRecord {
        method: cut(&request.method, 32),
        url: cut(&without_credentials(without_query), RECORDED_BYTES_MAX),
        status: None,
        error: None,
        at,
        duration: std::time::Duration::ZERO,
        request_bytes: request.body.len() as u64,
        response_bytes: 0,
    }
}

/// The address without `user:password@`.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// The beginning of a text, ended at a character.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_an_address_holds_no_secret() {
        for (url, kept) in [
            ("https://api.example/v1?key=s3cret#x", "https://api.example/v1"),
            ("https://user:s3cret@api.example/v1", "https://api.example/v1"),
            ("https://user:s3cret@api.example", "https://api.example"),
            ("no address", "no address"),
        ] {
            let request = FetchRequest {
                method: "GET".into(),
                url: url.into(),
                headers: Vec::new(),
                body: bytes::Bytes::new(),
            };
            assert_eq!(record_of(&request, std::time::Duration::ZERO).url, kept);
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 3), "añ");
        assert_eq!(cut("añb", 30), "añb");
    }
}
