//! The way out to applications: the rules ask for a form to be sent, the one client sends it.

use curfew_core::outbound::{NoReply, Outbound, Reply};
use curfew_egress::{Egress, Outgoing, Policy, RootsError};
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method};
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
}

impl Outbound for Applications {
    fn admits(&self, url: &Url) -> Result<(), String> {
        self.egress.policy().admit(url).map_err(|refused| refused.to_string())
    }

    fn post_form(&self, url: Url, form: String) -> BoxFuture<'_, Result<Reply, NoReply>> {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let outgoing = Outgoing {
            method: Method::POST,
            url,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, kind)]),
            body: form.into(),
        };
        Box::pin(async move {
            match self.egress.send(outgoing).await {
                Ok(answer) => Ok(Reply {
                    status: answer.status.as_u16(),
                    retry_after: answer
                        .headers
                        .get(RETRY_AFTER)
                        .and_then(|value| value.to_str().ok())
                        .map(str::to_owned),
                }),
                Err(fault) => Err(NoReply(fault.to_string())),
            }
        })
    }
}
