//! The least that an operation can cost: a server that answers with hyper and does nothing else, except for the
//! signatures and hashes that the operation cannot do without, by the same libraries.
//!
//! It is a process of its own, this program started again, so that its processor time is read as Curfew's is.

use std::cell::{OnceCell, RefCell};
use std::convert::Infallible;
use std::io::Write as _;
use std::rc::Rc;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use bytes::Bytes;
use curfew_tokens::{SigningAlg, SigningKey};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::failed::{Failed, Result, While};
use crate::wire::Exchange;

/// The word that starts this program as the floor.
pub(crate) const COMMAND: &str = "floor";

/// The header by which a request says how long the answer is to be, and what work to do for it.
const HEADER: &str = "x-floor";

const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// About what stands before the signature of an access token.
const MESSAGE_BYTES: usize = 600;

/// Curfew's parameters of Argon2id (OWASP): memory in KiB, passes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// What an operation cannot be done without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A signature with this algorithm.
    Sign(SigningAlg),
    /// The check of an RS256 signature.
    VerifyRs256,
    /// The hash of a password.
    Argon2,
}

impl Work {
    const ALL: [Self; 5] = [
        Self::Sign(SigningAlg::RS256),
        Self::Sign(SigningAlg::ES256),
        Self::Sign(SigningAlg::EdDSA),
        Self::VerifyRs256,
        Self::Argon2,
    ];

    /// On the wire, and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sign(alg) => alg.as_str(),
            Self::VerifyRs256 => "verify-RS256",
            Self::Argon2 => "Argon2id",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.name() == text)
    }
}

/// The requests of one operation as Curfew got them, each with the header that makes the floor answer as long.
/// The work is done for the last one.
pub(crate) fn plan(exchanges: &[Exchange], work: &[Work]) -> Result<Vec<Vec<u8>>> {
    let last =
        exchanges.len().checked_sub(1).ok_or_else(|| Failed("an operation without a request".into()))?;
    let names: Vec<&str> = work.iter().map(|work| work.name()).collect();
    let requests = exchanges.iter().enumerate().map(|(at, exchange)| {
        let line_end = exchange.request.windows(2).position(|window| window == b"\r\n");
        let line_end = line_end.ok_or_else(|| Failed("a request without a line".into()))? + 2;
        let work = if at == last { names.join(",") } else { String::new() };
        let header = format!("{HEADER}: {} {work}\r\n", exchange.answer_bytes.min(ANSWER_BYTES_MAX));
        let mut request = Vec::with_capacity(exchange.request.len() + header.len());
        request.extend_from_slice(&exchange.request[..line_end]);
        request.extend_from_slice(header.as_bytes());
        request.extend_from_slice(&exchange.request[line_end..]);
        Ok(request)
    });
    requests.collect()
}

struct Floor {
    /// Made at the first signature, so that the start of a bare server can be measured too.
    keys: OnceCell<Keys>,
    message: Vec<u8>,
    blocks: RefCell<Vec<Block>>,
    answer: Bytes,
}

struct Keys {
    keys: Vec<SigningKey>,
    /// A signature to check, by the first key.
    signature: Vec<u8>,
}

impl Keys {
    fn generate(message: &[u8]) -> Result<Self> {
        let algs = [SigningAlg::RS256, SigningAlg::ES256, SigningAlg::EdDSA];
        let keys = algs.into_iter().map(|alg| {
            let generated = SigningKey::generate(alg)?;
            Ok(SigningKey::from_pkcs8("floor", alg, generated.pkcs8.expose())?)
        });
        let keys: Vec<SigningKey> = keys.collect::<Result<_>>()?;
        let signature = keys[0].sign(message)?;
        Ok(Self { keys, signature })
    }
}

impl Floor {
    fn new() -> Self {
        Self {
            keys: OnceCell::new(),
            message: vec![b'x'; MESSAGE_BYTES],
            blocks: RefCell::new(Vec::new()),
            answer: Bytes::from(vec![b' '; ANSWER_BYTES_MAX]),
        }
    }

    fn keys(&self) -> Result<&Keys> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let keys = Keys::generate(&self.message)?;
        Ok(self.keys.get_or_init(|| keys))
    }

    fn work(&self, work: Work) -> Result<()> {
        match work {
            Work::Sign(alg) => {
                let key = self.keys()?.keys.iter().find(|key| key.alg() == alg);
                let key = key.ok_or_else(|| Failed(format!("no key for {}", alg.as_str())))?;
                std::hint::black_box(key.sign(&self.message)?);
            }
            Work::VerifyRs256 => {
                let keys = self.keys()?;
                if !keys.keys[0].public().verify(&self.message, &keys.signature) {
                    return Err(Failed("the signature does not fit".into()));
                }
            }
            Work::Argon2 => {
                let parameters = Params::new(MEMORY_KIB, PASSES, 1, None).doing("Argon2id's parameters")?;
                let mut blocks = self.blocks.borrow_mut();
                blocks.resize(MEMORY_KIB as usize, Block::default());
                let mut hash = [0; 32];
                Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
                    .hash_password_into_with_memory(
                        b"a password",
                        b"a salt of 16 byt",
                        &mut hash,
                        &mut *blocks,
                    )
                    .doing("hashing")?;
                std::hint::black_box(hash);
            }
        }
        Ok(())
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let asked = request.headers().get(HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (length, work) = asked.split_once(' ').unwrap_or((asked, ""));
        let length = length.parse().unwrap_or(2_usize).min(ANSWER_BYTES_MAX);
        let done = work.split(',').filter_map(Work::parse).try_for_each(|work| self.work(work));
        let read = request.into_body().collect().await;
        let mut response = Response::new(Full::new(self.answer.slice(..length)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if done.is_err() || read.is_err() {
            *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        }
        response
    }
}

/// Listens on a free port of the loopback address, says which in the first line of output, and answers for ever.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    std::io::stdout().flush()?;
    accept(listener).await
}

/// Answers whoever connects.
pub(crate) async fn accept(listener: TcpListener) -> Result<()> {
    let floor = Rc::new(Floor::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let floor = Rc::clone(&floor);
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| {
                let floor = Rc::clone(&floor);
                async move { Ok::<_, Infallible>(floor.answer(request).await) }
            });
            // What goes wrong on a connection is its client's to notice.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_work_can_be_done() {
        let floor = Floor::new();
        for work in Work::ALL {
            assert_eq!(Work::parse(work.name()), Some(work));
            floor.work(work).unwrap();
        }
    }

    #[test]
    fn the_work_is_asked_for_once() {
        let exchange =
            |answer_bytes| Exchange { request: b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), answer_bytes };
        let plan = plan(&[exchange(7), exchange(9)], &[Work::Argon2, Work::Sign(SigningAlg::RS256)]).unwrap();
        let texts: Vec<_> = plan.iter().map(|request| String::from_utf8(request.clone()).unwrap()).collect();
        assert_eq!(texts[0], "GET / HTTP/1.1\r\nx-floor: 7 \r\nhost: x\r\n\r\n");
        assert_eq!(texts[1], "GET / HTTP/1.1\r\nx-floor: 9 Argon2id,RS256\r\nhost: x\r\n\r\n");
    }
}
