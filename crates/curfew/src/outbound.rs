//! The way out to applications: the rules say what is sent, the one client sends it.

use curfew_core::outbound::{NoReply, Outbound, Post, Reply};
use curfew_egress::{Egress, Outgoing, Policy, RootsError};
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use crate::config::Config;

/// Applications, by way of the one client.
#[derive(Debug, Clone)]
pub struct Applications {
    egress: Egress,
}

impl Applications {
    /// A way out that keeps to the configured networks and authorities.
    pub fn new(config: &Config) -> Result<Self, RootsError> {
        let policy = Policy::new(config.egress_allow.clone());
        Ok(Self { egress: Egress::new(policy, config.egress_ca.as_deref())? })
    }

    /// The one client.
    pub fn egress(&self) -> Egress {
        self.egress.clone()
    }
}

impl Outbound for Applications {
    fn admits(&self, url: &Url) -> Result<(), String> {
        self.egress.policy().admit(url).map_err(|refused| refused.to_string())
    }

    fn post(&self, url: Url, post: Post) -> BoxFuture<'_, Result<Reply, NoReply>> {
        Box::pin(async move {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(post.content_type));
            for (name, value) in &post.headers {
                let mut value = HeaderValue::from_str(value.expose())
                    .map_err(|_| NoReply(format!("the configured {name} is no header value")))?;
                value.set_sensitive(true);
                let name = HeaderName::try_from(&**name)
                    .map_err(|_| NoReply(format!("{name} is no name of a header")))?;
                headers.insert(name, value);
            }
            let outgoing = Outgoing { method: Method::POST, url, headers, body: post.body.into() };
            let answer = self.egress.send(outgoing).await.map_err(|fault| NoReply(fault.to_string()))?;
            let retry_after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            Ok(Reply {
                status: answer.status.as_u16(),
                retry_after: retry_after.map(str::to_owned),
                body: String::from_utf8_lossy(&answer.body).into_owned(),
            })
        })
    }
}
